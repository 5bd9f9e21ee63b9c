//! The command line.

use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Holds what is to be kept over kexec, and takes it through `systemctl kexec`.
///
/// Started by systemd, without arguments, as pkramd.service.
#[derive(Debug, Parser)]
#[command(name = "pkramd", version)]
pub struct Cli {
    /// What to do; without it: be the daemon.
    #[command(subcommand)]
    pub part: Option<Part>,
}

/// What units and hooks run.
#[derive(Clone, Debug, Subcommand)]
pub enum Part {
    /// Bring back what came through the last kexec (pkram-arrive.service)
    Arrive {
        /// Only sources that come back before the root filesystem is mounted (in an initramfs)
        #[arg(long)]
        early: bool,
    },
    /// Name the sources that come back in an initramfs (for what makes one)
    Early,
    /// Fail if the memory of this source is missing (pkram-source@NAME.service)
    Await {
        /// The source
        name: String,
    },
    /// Begin without the memory of a source that is missing
    Forget {
        /// The source
        name: String,
    },
    /// Write units from the configuration (in system-generators/)
    Generate {
        /// Where, three folders of rising precedence; the first is written to
        #[arg(required = true, num_args = 1..=3)]
        dirs: Vec<PathBuf>,
    },
    /// `systemctl kexec`, where reboot = "firmware" keeps that from beginning by itself
    Kexec,
    /// Read the configuration anew, or fail where it has mistakes (`systemctl reload pkramd`)
    Reload,
    /// Make everything ready for the jump (when pkram-shutdown.service stops)
    Stage,
    /// Jump, or return where that is not to be (in system-shutdown/)
    Jump {
        /// How the shutdown ends: kexec, reboot, poweroff, halt
        verb: String,
    },
    /// Note for the next boot why memory is not kept (by a jump that failed)
    #[command(hide = true)]
    NoteFailure {
        /// Why
        why: String,
    },
}
