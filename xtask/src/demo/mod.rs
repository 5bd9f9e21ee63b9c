//! `cargo xtask demo`: memory that is in use survives the replacement of the kernel under it.
//!
//! | verb | whose memory |
//! |---|---|
//! | `demo` | a memcached's, on tmpfs |
//! | `demo vm` | a running virtual machine's, on hugetlbfs |
//! | `demo service` | several services', on a Debian system that just runs `systemctl kexec` |

mod frames;
mod items;
mod journey;
mod memcached;
mod rows;
mod service;
mod vm;

use anyhow::{Result, ensure};
use clap::Subcommand;
use comfy_table::Table;
use serde::Serialize;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(flatten)]
    memcached: memcached::Args,
    #[command(subcommand)]
    other: Option<Other>,
}

#[derive(Subcommand)]
enum Other {
    /// Watch a running virtual machine go on after its host's kernel was replaced
    Vm(vm::Args),
    /// Watch a Debian system's services stay warm over `systemctl kexec`
    Service(service::Args),
}

/// What every demonstration can be told.
#[derive(clap::Args)]
struct Options {
    /// The kernel to begin with: 6.1, 6.12 or 7.3
    #[arg(long, default_value = "6.1")]
    from: String,
    /// The kernel to replace it with
    #[arg(long, default_value = "6.12")]
    to: String,
    /// Boot the machine through UEFI
    #[arg(long)]
    uefi: bool,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.other {
        None => memcached::run(&args.memcached),
        Some(Other::Vm(args)) => vm::run(args),
        Some(Other::Service(args)) => service::run(args),
    }
}

/// Prints what a demonstration found, and fails unless all of it is right.
fn show<T: Serialize>(
    report: &T,
    table: fn(&T) -> Table,
    options: &Options,
    ok: bool,
) -> Result<()> {
    if options.json {
        println!("{}", serde_json::to_string(report)?);
    } else {
        println!("{}", table(report));
    }
    ensure!(ok, "not everything came through: see above");
    Ok(())
}
