//! `cargo xtask soak`: many kexecs in a row in one machine, each adding and releasing something.
//!
//! ```text
//! boot ─► [ new source ─► release a region ─► pkram kexec ─► check everything ] × hops
//! ```
//!
//! Kernels alternate. After every hop every byte of every region is compared, and memory is counted
//! against the map that the firmware gave: nothing may be lost, and the map may not grow.

mod report;
mod scenario;

use std::time::Instant;

use anyhow::Result;
use testbed::Testbed;

use report::Report;
use scenario::Soak;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many kexecs
    #[arg(long, default_value_t = 30)]
    hops: u32,
    /// Boot the machine through UEFI
    #[arg(long)]
    uefi: bool,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Also write the table to docs/soak.md
    #[arg(long)]
    save: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    let say = move |text: &str| eprintln!("{:6.1} s  {text}", start.elapsed().as_secs_f64());
    let bed = Testbed::prepare(false, &say)?;
    let mut report = Report::begin(args.hops, args.uefi, bed.accelerator())?;
    let mut soak = Soak::begin(&bed, args.uefi)?;
    for _ in 0..args.hops {
        let step = soak.step(&say)?;
        report.steps.push(step);
    }
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}", report.text());
    }
    if args.save {
        report.save()?;
    }
    Ok(())
}
