//! Every machine as a row: on a terminal, as JSON, and as `docs/machines.md`.

use anyhow::Result;
use comfy_table::Table;
use serde::Serialize;

use super::machine::Machine;
use crate::page::{Page, now};

/// What a reader must know to read the table.
const METHOD: &str = "\
Each machine is booted, filled, and asked with `pkram check`. Where check passes, `pkram kexec` is done with
the same arguments, and then all of this must hold:

- the next kernel is there, and has the RAM that check promised, to the MiB;
- `MemAvailable` is at least what check promised for programs;
- every source is equal in every byte and attribute, and `pkram verify` finds the region whole;
- `pkram release` gives back what check promised, to the byte.

Where check refuses, the same is tried by force, and check was right if

- for want of memory (`--reserve-ram` lowered): there is no plan at all, or the next kernel does not come up, or
  it comes up with less for programs than check is to leave them, 192 MiB and 1/256 of RAM, or at most 48 MiB
  more (what check counts for the kernel's own is an upper bound);
- for want of free memory in the old kernel: what is to be staged there, and 32 MiB, are not available;
- for huge pages that would have to move: with `--move-huge` they do, and all of the above holds;
- for a word on the command line (`--force`): the next kernel does not come up, or has no region, or less
  memory than RAM and region together;
- for a prohibition: kexec-tools is refused as well.
";

/// One machine.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    number: usize,
    machine: String,
    kernels: String,
    load: String,
    /// What check said.
    pub(super) said: String,
    /// What happened.
    pub(super) happened: String,
    /// Whether check was right.
    pub(super) right: bool,
    pub(super) seconds: f64,
}

impl Row {
    pub(super) fn of(machine: &Machine) -> Self {
        Self {
            number: machine.number,
            machine: machine.name(),
            kernels: format!("{} → {}", machine.from, machine.to),
            load: format!("{:?} {} %", machine.load, machine.percent).to_lowercase(),
            said: String::new(),
            happened: String::new(),
            right: false,
            seconds: 0.0,
        }
    }

    pub(super) fn line(&self) -> String {
        let Self { number, machine, kernels, load, said, happened, right, .. } = self;
        let right = if *right { "right" } else { "WRONG" };
        format!("{number:2} {machine}, {kernels}, {load}: {said}; {happened}: {right}")
    }
}

/// The JSON object's shape is version 1.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    version: u32,
    /// UTC.
    date: String,
    accelerator: &'static str,
    machines: Vec<Row>,
}

impl Report {
    pub(super) fn of(mut machines: Vec<Row>, accelerator: &'static str) -> Result<Self> {
        machines.sort_by_key(|row| row.number);
        Ok(Self { version: 1, date: now()?, accelerator, machines })
    }

    pub(super) fn ok(&self) -> bool {
        self.machines.iter().all(|row| row.right)
    }

    /// For a terminal.
    pub(super) fn text(&self) -> String {
        self.page().text()
    }

    /// Writes `docs/machines.md`.
    pub(super) fn save(&self) -> Result<()> {
        self.page().save("machines.md")
    }

    fn page(&self) -> Page<'static> {
        let right = self.machines.iter().filter(|row| row.right).count();
        let passed = self.machines.iter().filter(|row| row.said == "yes").count();
        Page {
            title: "What `pkram check` says, and what happens",
            command: "cargo xtask machines".to_owned(),
            method: METHOD,
            summary: format!(
                "{} UTC, {}: {} machines, {passed} passed and {} refused; check was right about {right}.",
                self.date,
                self.accelerator,
                self.machines.len(),
                self.machines.len() - passed,
            ),
            table: self.table(),
        }
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.set_header([
            "",
            "machine",
            "kernels",
            "kept",
            "check said",
            "what happened",
            "right",
        ]);
        for row in &self.machines {
            table.add_row([
                row.number.to_string().as_str(),
                &row.machine,
                &row.kernels,
                &row.load,
                &row.said,
                &row.happened,
                if row.right { "yes" } else { "NO" },
            ]);
        }
        table
    }
}
