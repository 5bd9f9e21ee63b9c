//! `cargo xtask demo service`: a Debian system's services stay warm over `systemctl kexec`.
//!
//! ```text
//! old kernel:  apt-get install pkram ─► memcached, Redis and a keeper of a memfd are filled
//!              ─► systemctl kexec
//! next kernel: all of them answer ─► every item is asked for ─► pkram report
//! ```

mod report;
mod scenario;

use anyhow::Result;
use testbed::{Suite, Testbed};

use super::Options;
use report::Report;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    options: Options,
    /// The release of Debian: bookworm or trixie
    #[arg(long, default_value = "bookworm", value_parser = suite)]
    suite: Suite,
    /// How many items memcached gets
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    items: u64,
}

fn suite(name: &str) -> Result<Suite, String> {
    let known = [Suite::Bookworm, Suite::Trixie];
    let found = known.into_iter().find(|suite| suite.name() == name);
    found.ok_or_else(|| format!("there are {}", known.map(Suite::name).join(" and ")))
}

pub(super) fn run(args: &Args) -> Result<()> {
    let bed = Testbed::prepare(false, &|step| eprintln!("testbed: {step}"))?;
    let (text, report) = scenario::play(&bed, args)?;
    if !args.options.json {
        println!("{text}");
    }
    super::show(&report, Report::table, &args.options, report.ok)
}
