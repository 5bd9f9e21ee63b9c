//! `pkram exec` and `pkram unload`: what becomes of what is loaded.

use crate::answer::print;
use anyhow::bail;
use pkram::holder::{Ask, HolderError, Reply, ask};
use serde::Serialize;
use std::fmt;
use std::path::Path;
use std::process::ExitCode;

pub(crate) fn exec() -> anyhow::Result<ExitCode> {
    match ask(Ask::Exec)? {
        Reply::Failed(why) => {
            bail!("{why}; what was loaded is taken back, and the sources are free")
        }
        other => bail!("the holder answered {other:?} instead of jumping"),
    }
}

pub(crate) fn unload(json: bool) -> anyhow::Result<ExitCode> {
    let answer = match ask(Ask::Unload) {
        // The holder was killed: what it loaded would jump into pages that are no longer held.
        Err(HolderError::None) if pkram::is_loaded(Path::new("/sys")).unwrap_or(false) => {
            pkram::unload()?;
            Reply::Done
        }
        other => other?,
    };
    match answer {
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
