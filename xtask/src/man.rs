//! `cargo xtask man`: writes the man page anew.
//!
//! The page is made where the command line is known, by the test that it is current.

use std::process::Command;

use anyhow::{Context, Result, ensure};

pub(crate) fn run() -> Result<()> {
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["test", "--quiet", "--package", "pkram-cli", "--bin", "pkram", "man::"])
        .env("PKRAM_WRITE_MAN", "1")
        .status()
        .context("start cargo test")?;
    ensure!(status.success(), "the man page was not written: {status}");
    eprintln!("docs/man/pkram.8 is written");
    Ok(())
}
