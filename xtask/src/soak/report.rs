//! Every hop as a row: on a terminal, as JSON, and as `docs/soak.md`.

use anyhow::Result;
use comfy_table::{Cell, CellAlignment, Table};
use serde::Serialize;

use crate::page::{Page, now};

/// What a reader must know to read the table.
const METHOD: &str = "\
One machine, one boot through the firmware, then one kexec by pkram after the other. Before each a new
source is made, and from the fifth hop on a region of an earlier kernel is released. After each:

- every region is mounted, all at once, and every byte and attribute compared with what the source was;
- `pkram verify` finds every region whole, and `pkram list` knows its age in kernels;
- RAM and spans together are, to the byte, the RAM of the firmware's memory map;
- the map has at most two entries more for each span than the firmware's;
- `MemTotal` and the spans together are what they were when this kernel first ran (`difference`), to
  within 1 MiB: the kernel itself takes a little more or less with the place that it lies in.

The run stops at the first that does not hold.
";

/// One hop; sizes in bytes.
#[derive(Debug, Default, Clone, Serialize)]
pub(super) struct Step {
    pub(super) hop: u32,
    pub(super) kernel: String,
    pub(super) regions: usize,
    pub(super) spans: usize,
    pub(super) span_bytes: u64,
    /// Of a region that was released before the hop.
    pub(super) released: u64,
    pub(super) checked: u64,
    pub(super) mem_total: u64,
    /// `MemTotal` and spans together, compared with the first time that this kernel ran.
    pub(super) difference: i64,
    pub(super) entries: usize,
    pub(super) seconds: f64,
}

impl Step {
    pub(super) fn line(&self) -> String {
        let Self { hop, kernel, regions, checked, entries, difference, .. } = self;
        let mib = checked >> 20;
        format!(
            "hop {hop}: {kernel}, {regions} regions, {mib} MiB checked, {entries} entries, \
             MemTotal off by {} KiB",
            difference / 1024
        )
    }
}

/// The JSON object's shape is version 1.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    version: u32,
    /// UTC.
    date: String,
    command: String,
    accelerator: &'static str,
    pub(super) steps: Vec<Step>,
}

impl Report {
    pub(super) fn begin(hops: u32, uefi: bool, accelerator: &'static str) -> Result<Self> {
        let date = now()?;
        let firmware = if uefi { " --uefi" } else { "" };
        let command = format!("cargo xtask soak --hops {hops}{firmware}");
        Ok(Self { version: 1, date, command, accelerator, steps: Vec::new() })
    }

    /// For a terminal.
    pub(super) fn text(&self) -> String {
        self.page().text()
    }

    /// Writes `docs/soak.md`.
    pub(super) fn save(&self) -> Result<()> {
        self.page().save("soak.md")
    }

    fn page(&self) -> Page<'static> {
        Page {
            title: "Many kexecs in a row",
            command: self.command.clone(),
            method: METHOD,
            summary: self.summary(),
            table: self.table(),
        }
    }

    fn summary(&self) -> String {
        let checked: u64 = self.steps.iter().map(|s| s.checked).sum();
        let released: u64 = self.steps.iter().map(|s| s.released).sum();
        let worst = self.steps.iter().map(|s| s.difference.unsigned_abs()).max().unwrap_or(0);
        format!(
            "{} UTC, {}: {} hops, {} MiB compared, {} MiB released, `MemTotal` never off by more \
             than {} KiB.",
            self.date,
            self.accelerator,
            self.steps.len(),
            checked >> 20,
            released >> 20,
            worst >> 10
        )
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.set_header([
            "hop",
            "kernel",
            "regions",
            "spans",
            "spans MiB",
            "released MiB",
            "checked bytes",
            "MemTotal KiB",
            "difference KiB",
            "entries",
            "seconds",
        ]);
        for s in &self.steps {
            let number = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
            table.add_row([
                number(s.hop.to_string()),
                Cell::new(&s.kernel),
                number(s.regions.to_string()),
                number(s.spans.to_string()),
                number((s.span_bytes >> 20).to_string()),
                number((s.released >> 20).to_string()),
                number(s.checked.to_string()),
                number((s.mem_total >> 10).to_string()),
                number((s.difference / 1024).to_string()),
                number(s.entries.to_string()),
                number(format!("{:.1}", s.seconds)),
            ]);
        }
        table
    }
}
