//! The project's own verbs, one file each: `cargo xtask VERB`.

#![deny(unsafe_code)]

mod bench;
mod deb;
mod demo;
mod fleet;
mod guest;
mod html;
mod long;
mod machines;
mod man;
mod page;
mod soak;
mod test;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "pkram's own verbs")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Measure what pkram costs
    Bench(bench::Args),
    /// Make the Debian package
    Deb(deb::Args),
    /// Watch a real memcached's memory, with `vm` a running guest, or with `service` a Debian system's
    /// services survive the replacement of the kernel under them
    Demo(demo::Args),
    /// Run the recipes for rolling updates, Ansible's and kured's, against a Debian machine
    Fleet(fleet::Args),
    /// Look at the page of `pkram report` in headless Chromium; installs it where it is missing
    Html(html::Args),
    /// Run the tests that take CI too long
    Long(long::Args),
    /// Ask `pkram check` on many machines, and see whether it was right
    Machines(machines::Args),
    /// Write the manual
    Man(man::Args),
    /// Replace the kernel many times over, adding and releasing regions, and count every byte
    Soak(soak::Args),
    /// Run every test but the long ones: unit, property, rig, end to end on stock kernels
    Test(test::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().verb {
        Verb::Bench(args) => bench::run(&args),
        Verb::Deb(args) => deb::run(&args),
        Verb::Demo(args) => demo::run(&args),
        Verb::Fleet(args) => fleet::run(&args),
        Verb::Html(args) => html::run(&args),
        Verb::Long(args) => long::run(&args),
        Verb::Machines(args) => machines::run(&args),
        Verb::Man(args) => man::run(&args),
        Verb::Soak(args) => soak::run(&args),
        Verb::Test(args) => test::run(&args),
    }
}
