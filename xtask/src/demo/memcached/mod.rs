//! `cargo xtask demo`: a real memcached's memory survives the replacement of the kernel under it.
//!
//! ```text
//! old kernel:  memcached fills a file on tmpfs ─► stops ─► pkram kexec
//! next kernel: pkram mount ─► memcached opens the same file, in place ─► every item is asked for
//! ```

mod report;
mod scenario;

use anyhow::Result;
use testbed::Testbed;

use super::Options;
use report::Report;

/// Fewer would not say much.
const LEAST_ITEMS: u64 = 100_000;

#[derive(clap::Args)]
#[group(skip)] // its name is taken by what it is flattened into
pub(super) struct Args {
    #[command(flatten)]
    options: Options,
    /// How many items memcached gets
    #[arg(long, default_value_t = LEAST_ITEMS, value_parser = clap::value_parser!(u64).range(LEAST_ITEMS..))]
    items: u64,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let bed = Testbed::prepare(false, &|step| eprintln!("testbed: {step}"))?;
    let report = scenario::play(&bed, &args.options, args.items)?;
    super::show(&report, Report::table, &args.options, report.ok)
}
