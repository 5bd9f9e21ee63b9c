//! `cargo xtask test`: every test but the long ones, with everything that tests can ask for.
//!
//! The last line on standard output is `N passed, N failed`, over all test programs.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use testbed::Testbed;

/// Test machines run this many at once; each keeps one processor busy.
const THREADS: &str = "2";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fetch kernels and programs anew
    #[arg(long)]
    refresh: bool,
    /// Run only tests whose name contains this
    filter: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    cargo_test(args.refresh, &args.filter, &[], |_| ())
}

/// `cargo test`, with `more` for each test program. Prints all that these say, and counts.
///
/// # Errors
/// A test fails, or none runs.
pub(crate) fn cargo_test(
    refresh: bool,
    filter: &Option<String>,
    more: &[&str],
    mut each_line: impl FnMut(&str),
) -> Result<()> {
    let bed = Testbed::prepare(refresh, &|step| eprintln!("testbed: {step}"))?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["test", "--workspace", "--no-fail-fast"])
        .args(filter)
        .args(["--", "--test-threads", THREADS])
        .args(more)
        // A missing tool is a failure, and nothing is skipped.
        .env("PKRAM_TEST_REQUIRE", "1")
        .env("PKRAM_E2E", "1")
        .env("PKRAM_KERNELS", bed.kernel_folder()?)
        .stdout(Stdio::piped());
    let mut child = cargo.spawn().context("start cargo test")?;
    let mut total = Totals::default();
    for line in BufReader::new(child.stdout.take().context("no stdout")?).lines() {
        let line = line?;
        println!("{line}");
        total.add(&line);
        each_line(&line);
    }
    let status = child.wait()?;
    println!("{} passed, {} failed", total.passed, total.failed);
    if !status.success() {
        bail!("cargo test: {status}");
    }
    if total.passed == 0 {
        bail!("no test ran; is the filter right?");
    }
    Ok(())
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    passed: u64,
    failed: u64,
}

impl Totals {
    /// Counts a test program's own last line, such as
    /// `test result: ok. 12 passed; 0 failed; 1 ignored; …`.
    fn add(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ") else { return };
        let words: Vec<_> = counts.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(count) = pair[0].parse::<u64>() else { continue };
            match pair[1] {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_up_over_test_programs() {
        let mut total = Totals::default();
        for line in [
            "running 3 tests",
            "test tests::a ... ok",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.04s",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
        ] {
            total.add(line);
        }
        assert_eq!(total, Totals { passed: 15, failed: 2 });
    }
}
