//! `pkram config`: what the files say, and whether it can be so.
//!
//! ```text
//! files ─► Config or everything that is wrong ─┬─► check: and what this machine does not have
//!                                              └─► show
//! ```

mod machine;
mod unit;

use crate::answer::print;
use crate::args;
use ::config::{Config, ConfigError, Place, Rejected, Warning};
use serde::Serialize;
use std::fmt;
use std::path::Path;
use std::process::ExitCode;

pub(crate) fn run(json: bool, verb: &args::Config) -> anyhow::Result<ExitCode> {
    match verb {
        args::Config::Check(files) => {
            let checked = Checked::of(read(files), &files.root);
            print(json, &checked)?;
            Ok(if checked.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        args::Config::Show(files) => {
            print(json, &read(files)?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn read(files: &args::ConfigFiles) -> Result<Config, Rejected> {
    match &files.file {
        Some(file) => Config::read_file(file),
        None => Config::read(&files.root),
    }
}

/// All that there is to say.
#[derive(Debug, Default, Serialize)]
struct Checked {
    ok: bool,
    errors: Vec<Line>,
    warnings: Vec<Line>,
    sources: usize,
    handovers: usize,
}

/// One message.
#[derive(Debug, Serialize)]
struct Line {
    file: String,
    /// Counted from 1; none for the whole file.
    line: Option<u32>,
    message: String,
}

impl Line {
    fn new(place: &Place, message: String) -> Self {
        let line = (place.line > 0).then_some(place.line);
        Self { file: place.file.display().to_string(), line, message }
    }
}

impl From<&ConfigError> for Line {
    fn from(error: &ConfigError) -> Self {
        Self::new(&error.place, error.problem.to_string())
    }
}

impl From<&Warning> for Line {
    fn from(warning: &Warning) -> Self {
        Self::new(&warning.place, warning.text.clone())
    }
}

impl Checked {
    fn of(config: Result<Config, Rejected>, root: &Path) -> Self {
        let mut checked = Self::default();
        match config {
            Ok(config) => {
                checked.warnings = config.warnings.iter().map(Line::from).collect();
                checked.sources = config.sources.len();
                checked.handovers = config.handovers.len();
                machine::look(&config, root, &mut checked);
            }
            Err(Rejected { errors, rest }) => {
                checked.errors = errors.iter().map(Line::from).collect();
                checked.warnings = rest.warnings.iter().map(Line::from).collect();
            }
        }
        checked.ok = checked.errors.is_empty();
        checked
    }

    fn error(&mut self, place: &Place, message: String) {
        self.errors.push(Line::new(place, message));
    }

    fn warning(&mut self, place: &Place, message: String) {
        self.warnings.push(Line::new(place, message));
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self.errors.iter().map(|line| ("error", line));
        let warnings = self.warnings.iter().map(|line| ("warning", line));
        for (kind, Line { file, line, message }) in errors.chain(warnings) {
            let line = line.map_or_else(String::new, |line| format!(":{line}"));
            writeln!(f, "{kind:<8} {file}{line}: {message}")?;
        }
        let count = |number: usize, what| {
            let plural = if number == 1 { "" } else { "s" };
            format!("{number} {what}{plural}")
        };
        let (errors, warnings) = (self.errors.len(), self.warnings.len());
        let found = format!("{}, {}", count(errors, "error"), count(warnings, "warning"));
        match self.ok {
            true => {
                let sources = count(self.sources, "source");
                let handovers = count(self.handovers, "handover");
                writeln!(f, "ok       {sources}, {handovers}; {found}")
            }
            false => writeln!(f, "NO       {found}"),
        }
    }
}
