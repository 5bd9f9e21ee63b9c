//! `pkram report`: where the blackout went, how memory lies, and whether it is all here.

use crate::answer::print;
use crate::report::{html::Page, prometheus::Metrics, text::History, text::Text};
use anyhow::Context as _;
use pkram::report::Report;
use serde::Serialize;
use std::fmt;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

/// In which form.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form<'a> {
    /// Text or JSON.
    Answer,
    /// Text or JSON, of the last kexecs alone.
    History,
    Prometheus,
    Html(&'a Path),
}

pub(crate) fn run(json: bool, form: Form<'_>) -> anyhow::Result<ExitCode> {
    let has_json = matches!(form, Form::Answer | Form::History);
    anyhow::ensure!(
        has_json || !json,
        "--json is a form of its own, as --html and --prometheus are"
    );
    let report = Report::collect();
    match form {
        Form::Answer => print(json, &Answer(&report))?,
        Form::History => print(json, &History { history: &report.history })?,
        Form::Prometheus => say(&Metrics(&report).to_string())?,
        Form::Html(path) if path == Path::new("-") => say(&Page(&report).to_string())?,
        Form::Html(path) => std::fs::write(path, Page(&report).to_string())
            .with_context(|| path.display().to_string())?,
    }
    // A collector reads its metrics, and a browser its page, whatever they tell.
    let told = matches!(form, Form::Answer) && !report.is_whole();
    Ok(if told { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Answer<'a>(&'a Report);

impl fmt::Display for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Text(self.0).fmt(f)
    }
}
