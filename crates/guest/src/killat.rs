//! Kills a program at a chosen system call, before the kernel has done it: what is left behind when
//! a program dies at the worst moment.
//!
//! ```text
//! --call pwrite64 --nth 2 --then 0     at the second pwrite64
//! --call pwrite64 --nth 1 --then 3     at the third system call after the first pwrite64
//! ```

use std::process::{Command, exit};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::sys::Traced;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The system call that is counted
    #[arg(long)]
    call: Call,
    /// Which of them, from 1
    #[arg(long, default_value_t = 1)]
    nth: u32,
    /// How many system calls of any kind later
    #[arg(long, default_value_t = 0)]
    then: u32,
    /// Program and arguments
    #[arg(required = true, trailing_var_arg = true)]
    argv: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Call {
    Ftruncate,
    Linkat,
    Pwrite64,
    Shmctl,
    Shmget,
    Write,
}

impl Call {
    fn number(self) -> u64 {
        let number = match self {
            Self::Ftruncate => libc::SYS_ftruncate,
            Self::Linkat => libc::SYS_linkat,
            Self::Pwrite64 => libc::SYS_pwrite64,
            Self::Shmctl => libc::SYS_shmctl,
            Self::Shmget => libc::SYS_shmget,
            Self::Write => libc::SYS_write,
        };
        number.unsigned_abs()
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let (program, arguments) = args.argv.split_first().context("no program")?;
    let mut command = Command::new(program);
    command.args(arguments);
    let mut traced = Traced::spawn(&mut command).with_context(|| format!("start {program}"))?;
    let (mut seen, mut later) = (0, 0);
    while let Some(call) = traced.next_call()? {
        if seen == args.nth {
            later += 1;
        } else if call == args.call.number() {
            seen += 1;
        }
        if seen == args.nth && later == args.then {
            traced.kill()?;
            exit(9);
        }
    }
    exit(traced.status().and_then(|s| s.code()).unwrap_or(1));
}
