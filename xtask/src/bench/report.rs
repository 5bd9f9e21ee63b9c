//! All rows, as a table, as JSON and as `docs/bench.md`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use comfy_table::presets::{ASCII_MARKDOWN, UTF8_FULL_CONDENSED};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use serde::Serialize;

use super::figure::Row;
use super::machine::Machine;

/// What a reader must know to read the table.
const METHOD: &str = "\
- `census`, `copy`, `compose`, `plan` run on this machine as it is: processor time of one thread,
  each run in a process of its own.
- `copy` is the mover's instruction (`rep movsq`) on this machine's memory, beside the C library's
  `memcpy`; the mover itself cannot run under an operating system.
- `kexec`, `mount` and `restore` run in virtual machines, on the host's clock. Both ways of `kexec` start
  from the same system with a file in half of memory, or in three quarters of it, loaded beforehand. The blackout begins with the order to jump
  (`pkram exec`, `kexec -e`), the last thing that the old system does for anyone, and ends when the
  next one's first program answers; for pkram only when the file is mounted again. The file is
  compared afterwards, and plain kexec has lost it.
- kexec-tools hashes what it loads (SHA-256) and checks it between the kernels; `unchecked` is
  without. pkram's mover checks its orders and leaves the pages alone.
- TCG runs every instruction at about the same speed, so what processors are built to do quickly,
  such as copying, weighs more in these ratios than on hardware.
- A ratio's row is the median of the runs' own ratios, not the ratio of the medians. On a machine
  that does other work the two differ: then believe neither more than the range allows.
";

/// The JSON object's shape is version 1.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    version: u32,
    /// UTC.
    date: String,
    command: &'static str,
    pub(super) machine: Machine,
    pub(super) rows: Vec<Row>,
    pub(super) left_out: Vec<LeftOut>,
}

/// A group that could not be measured.
#[derive(Debug, Serialize)]
pub(super) struct LeftOut {
    group: String,
    why: String,
}

impl LeftOut {
    pub(super) fn new(group: String, why: &anyhow::Error) -> Self {
        Self { group, why: format!("{why:#}") }
    }
}

impl Report {
    pub(super) fn begin(machine: Machine, quick: bool) -> Result<Self> {
        let output = Command::new("date").args(["-u", "+%F %R"]).output().context("date")?;
        let date = String::from_utf8(output.stdout)?.trim().to_owned();
        let command = if quick { "cargo xtask bench --quick" } else { "cargo xtask bench" };
        Ok(Self { version: 1, date, command, machine, rows: Vec::new(), left_out: Vec::new() })
    }

    /// Writes `docs/bench.md`.
    pub(super) fn save(&self) -> Result<()> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/bench.md");
        fs::write(&path, self.page()).with_context(|| format!("write {}", path.display()))
    }

    /// For a terminal.
    pub(super) fn text(&self) -> String {
        let mut table = self.table();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        format!("{}\n{table}\n{}", self.origin(), self.gaps())
    }

    fn page(&self) -> String {
        let mut table = self.table();
        table.load_style(ASCII_MARKDOWN);
        format!(
            "# What pkram costs\n\n\
             Written by `{} --save`; do not edit.\n\n{METHOD}\n{}\n\n{table}\n\n{}",
            self.command,
            self.origin(),
            self.gaps()
        )
    }

    fn origin(&self) -> String {
        let Machine { processor, processors, memory_mib, kernel, load_before, load_after } =
            &self.machine;
        format!(
            "{} UTC, `{}`: {processors} × {processor}, {memory_mib} MiB, Linux {kernel}, \
             load average {load_before} before and {load_after} after.",
            self.date, self.command
        )
    }

    fn gaps(&self) -> String {
        let mut text = String::new();
        for LeftOut { group, why } in &self.left_out {
            text += &format!("Not measured: {group}: {why}\n");
        }
        text
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.set_header(["figure", "median", "unit", "runs", "least", "greatest", "what exactly"]);
        let number = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        for row in &self.rows {
            let least = row.runs.iter().copied().fold(f64::INFINITY, f64::min);
            let greatest = row.runs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let limit = match row.at_most {
                Some(limit) if row.holds() => format!("; at most {limit} {} promised", row.unit),
                Some(limit) => format!("; ABOVE the promised {limit} {}", row.unit),
                None => String::new(),
            };
            table.add_row([
                Cell::new(&row.name),
                number(digits(row.value)),
                Cell::new(&row.unit),
                number(row.runs.len().to_string()),
                number(digits(least)),
                number(digits(greatest)),
                Cell::new(format!("{}{limit}", row.about)),
            ]);
        }
        table
    }
}

/// Three digits that say something, and all before the point.
fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        v if v >= 0.1 => 3,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figure::{Figure, repeat};

    fn report(value: f64) -> Report {
        let figure = Figure::new("share", value, "%", "metadata").at_most(0.02);
        let machine = Machine {
            processor: "P".into(),
            processors: 2,
            memory_mib: 9,
            kernel: "6".into(),
            load_before: 0.5,
            load_after: 1.0,
        };
        Report {
            version: 1,
            date: "2026-01-01 00:00".into(),
            command: "cargo xtask bench",
            machine,
            rows: repeat("g", 2, || Ok(vec![figure.clone()])).unwrap(),
            left_out: vec![LeftOut::new("kexec".into(), &anyhow::anyhow!("no QEMU"))],
        }
    }

    #[test]
    fn the_page_says_what_was_not_measured_and_which_promise_broke() {
        let page = report(0.019).page();
        let row = "| share  | 0.0190 | %    |    2 | 0.0190 |   0.0190 | metadata; at most 0.02 %";
        assert!(page.contains(row), "{page}");
        assert!(page.contains("Not measured: kexec: no QEMU"), "{page}");
        assert!(report(0.021).page().contains("ABOVE the promised 0.02 %"));
    }

    #[test]
    fn numbers_keep_three_digits() {
        let texts = [12345.6, 99.95, 1.234, 0.5, 0.0149].map(digits);
        assert_eq!(texts, ["12346", "100.0", "1.23", "0.500", "0.0149"]);
    }
}
