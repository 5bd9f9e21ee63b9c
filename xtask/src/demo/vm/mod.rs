//! `cargo xtask demo vm`: a running virtual machine goes on after its host's kernel was replaced.
//!
//! ```text
//! old kernel:  QEMU, the guest's memory a file on hugetlbfs ─► pkram kexec --load-only
//!              ─► stop ─► device state to a file on tmpfs ─► quit ─► pkram exec
//! next kernel: pkram mount ─► QEMU on the same file, in place ─► device state back ─► cont
//! ```
//!
//! The test machine is the host; the guest runs in it under KVM, on virtualisation that may itself be
//! emulated. The guest says a line a second on its serial port: the lines are the witness.

mod beats;
mod qemu;
mod report;
mod scenario;

use anyhow::Result;
use testbed::Testbed;

use super::Options;
use report::Report;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    options: Options,
    /// The kernel in the virtual machine
    #[arg(long, default_value = "6.1")]
    guest: String,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let bed = Testbed::prepare(false, &|step| eprintln!("testbed: {step}"))?;
    let report = scenario::play(&bed, &args.options, bed.kernel(&args.guest)?)?;
    super::show(&report, Report::table, &args.options, report.ok)
}
