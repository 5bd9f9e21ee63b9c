//! `cargo xtask fleet`: what `docs/fleet.md` tells rolling updates to do, done to a machine.
//!
//! ```text
//! docs/fleet/kexec.yml  ── ansible-playbook ── ssh ─┐
//! docs/fleet/kured.yaml ── as kured runs it ────────┴─► Debian machine: refuses, keeps, loses
//! ```

mod ansible;
mod host;
mod kured;
mod scenario;

use std::time::Instant;

use anyhow::{Context, Result};
use comfy_table::Table;
use testbed::{Suite, Testbed};

use crate::deb;
use crate::page::{Page, now};

/// What a reader must know to read the table.
const METHOD: &str = "\
One Debian machine in QEMU with our package, in the inventory twice, as `first` and `second`: what stops at
`first` must not reach `second`. A required source holds 48 MiB, which are compared with all attributes
after every kexec. A step fails the run where anything else happens than the table says.
";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The host's Debian, bookworm or trixie; one after the other where it is given twice
    #[arg(long, default_value = "bookworm", value_parser = suite)]
    suite: Vec<Suite>,
    /// Also write the table to docs/fleet/seen.md
    #[arg(long)]
    save: bool,
}

fn suite(name: &str) -> Result<Suite, String> {
    let all = [Suite::Bookworm, Suite::Trixie];
    all.into_iter().find(|s| s.name() == name).ok_or_else(|| "bookworm or trixie".to_owned())
}

/// One thing that was tried, and what came of it.
struct Step {
    what: &'static str,
    seen: String,
    seconds: f64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    let say = move |text: &str| eprintln!("{:6.1} s  {text}", start.elapsed().as_secs_f64());
    let bed = Testbed::prepare(false, &say)?;
    let version = ansible::ensure(&say)?;
    let out = tempfile::tempdir()?;
    let packages = deb::make(out.path())?;
    let package = packages.first().context("no package was made")?;
    let mut table = Table::new();
    table.set_header(["Debian", "what", "seen", "seconds"]);
    let mut command = "cargo xtask fleet".to_owned();
    for &suite in &args.suite {
        command = format!("{command} --suite {}", suite.name());
        for Step { what, seen, seconds } in scenario::run(&bed, suite, package, &say)? {
            let seconds = format!("{seconds:.0}");
            table.add_row([suite.name(), what, seen.as_str(), seconds.as_str()]);
        }
    }
    let page = Page {
        title: "Rolling updates, as they were seen",
        command,
        method: METHOD,
        summary: format!("{}, {version}, machines {}.", now()?, bed.accelerator()),
        table,
    };
    if args.save {
        page.save("fleet/seen.md")?;
    } else {
        println!("{}", page.text());
    }
    Ok(())
}
