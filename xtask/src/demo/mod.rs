//! `cargo xtask demo`: a real memcached's memory survives the replacement of the kernel under it.
//!
//! ```text
//! old kernel:  memcached fills a file on tmpfs ─► stops ─► pkram kexec
//! next kernel: pkram mount ─► memcached opens the same file, in place ─► every item is asked for
//! ```

mod frames;
mod report;
mod scenario;

use std::time::Instant;

use anyhow::{Result, ensure};
use testbed::Testbed;

use scenario::Scenario;

/// Fewer would not say much.
const LEAST_ITEMS: u64 = 100_000;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The kernel to begin with: 6.1, 6.12 or 7.3
    #[arg(long, default_value = "6.1")]
    from: String,
    /// The kernel to replace it with
    #[arg(long, default_value = "6.12")]
    to: String,
    /// How many items memcached gets
    #[arg(long, default_value_t = LEAST_ITEMS, value_parser = clap::value_parser!(u64).range(LEAST_ITEMS..))]
    items: u64,
    /// Boot the machine through UEFI
    #[arg(long)]
    uefi: bool,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    let say = move |text: &str| eprintln!("{:6.1} s  {text}", start.elapsed().as_secs_f64());
    let bed = Testbed::prepare(false, &say)?;
    let report = Scenario {
        bed: &bed,
        from: bed.kernel(&args.from)?,
        to: bed.kernel(&args.to)?,
        items: args.items,
        uefi: args.uefi,
        say: &say,
    }
    .play()?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}", report.table());
    }
    ensure!(report.ok, "not everything came through: see above");
    Ok(())
}
