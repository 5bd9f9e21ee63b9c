//! `cargo xtask long`: the tests that would take CI too long, which are marked `#[ignore]`.

use anyhow::Result;
use comfy_table::Table;

use crate::page::{Page, now};
use crate::test::cargo_test;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write docs/long.md
    #[arg(long)]
    save: bool,
    /// Run only tests whose name contains this
    filter: Option<String>,
}

const METHOD: &str = "\
CI leaves these tests out, because each replaces or restarts the kernel of a Debian system many times, or
has it make an initramfs under emulation. What they try is in the files that are named like them, in
`crates/pkramd/tests/service` and `xtask/tests/package`.
";

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut table = Table::new();
    table.set_header(["test", "result"]);
    let done = cargo_test(false, &args.filter, &["--ignored"], |line| {
        if let Some((test, result)) = result(line) {
            table.add_row([test, result]);
        }
    });
    if args.save {
        let page = Page {
            title: "The long tests",
            command: "cargo xtask long".to_owned(),
            method: METHOD,
            summary: format!("{}, under TCG (every instruction translated).", now()?),
            table,
        };
        page.save("long.md")?;
    }
    done
}

/// `test store::a ... ok` is that `store::a` is ok.
fn result(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("test ")?.split_once(" ... ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_told_from_other_lines() {
        assert_eq!(result("test reboots::on_a ... ok"), Some(("reboots::on_a", "ok")));
        assert_eq!(result("test a ... FAILED"), Some(("a", "FAILED")));
        assert_eq!(result("test a has been running for over 60 seconds"), None);
        assert_eq!(result("test result: ok. 1 passed; 0 failed"), None);
    }
}
