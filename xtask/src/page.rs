//! A table with what a reader must know: on a terminal, and as a page of `docs/`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use comfy_table::Table;
use comfy_table::presets::{ASCII_MARKDOWN, UTF8_FULL_CONDENSED};

/// A generated page.
pub(crate) struct Page<'a> {
    pub(crate) title: &'a str,
    /// What writes it, with `--save`.
    pub(crate) command: String,
    pub(crate) method: &'a str,
    pub(crate) summary: String,
    pub(crate) table: Table,
}

impl Page<'_> {
    /// For a terminal.
    pub(crate) fn text(mut self) -> String {
        self.table.load_style(UTF8_FULL_CONDENSED);
        format!("{}\n{}", self.summary, self.table)
    }

    /// Writes it to a file of `docs/`.
    pub(crate) fn save(mut self, file: &str) -> Result<()> {
        self.table.load_style(ASCII_MARKDOWN);
        let Self { title, command, method, summary, table } = self;
        let text = format!(
            "# {title}\n\nWritten by `{command} --save`; do not edit.\n\n{method}\n{summary}\n\n{table}\n"
        );
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }
}

/// The time, UTC, to the minute.
pub(crate) fn now() -> Result<String> {
    let output = Command::new("date").args(["-u", "+%F %R"]).output().context("date")?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
