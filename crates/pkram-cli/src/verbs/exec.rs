//! `pkram exec` and `pkram unload`: what becomes of what is loaded.

use crate::answer::print;
use anyhow::bail;
use pkram::holder::{Ask, Reply, ask};
use serde::Serialize;
use std::fmt;
use std::process::ExitCode;

pub(crate) fn exec() -> anyhow::Result<ExitCode> {
    match ask(Ask::Exec)? {
        Reply::Failed(why) => bail!("{why}; what was loaded is unloaded, and the sources are free"),
        other => bail!("the holder answered {other:?} instead of jumping"),
    }
}

pub(crate) fn unload(json: bool) -> anyhow::Result<ExitCode> {
    match ask(Ask::Unload)? {
        Reply::Done => print(json, &Unloaded { unloaded: true })?,
        Reply::Failed(why) => bail!("{why}"),
        Reply::Loaded(_) => bail!("the holder answered something else"),
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Serialize)]
struct Unloaded {
    unloaded: bool,
}

impl fmt::Display for Unloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "unloaded; the sources are free")
    }
}
