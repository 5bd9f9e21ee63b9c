//! `pkram verify`: whether a region is whole.

use crate::answer::print;
use pkram::region::{Discovered, contents, discover};
use serde::Serialize;
use std::fmt;
use std::process::ExitCode;

pub(crate) fn run(json: bool, region: Option<&str>) -> anyhow::Result<ExitCode> {
    let found = discover()?;
    let region = found.choose(region)?;
    let mut problems: Vec<_> = contents::verify(region)?.iter().map(ToString::to_string).collect();
    problems.extend(damaged(&found));
    let answer = Verdict {
        region: region.uuid.to_string(),
        whole: problems.is_empty(),
        in_use: region.in_use(),
        problems,
    };
    print(json, &answer)?;
    Ok(if answer.whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Devices that may have been spans: whatever was asked for, they are worth a word.
fn damaged(found: &Discovered) -> impl Iterator<Item = String> {
    found.damaged.iter().map(|d| format!("{} at {}: {}", d.device.name(), d.device.range, d.error))
}

#[derive(Debug, Serialize)]
struct Verdict {
    region: String,
    whole: bool,
    /// Mounted or otherwise taken: what is found may be half written.
    in_use: bool,
    problems: Vec<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.whole {
            return writeln!(f, "{} is whole", self.region);
        }
        writeln!(f, "{} is damaged; it is left as it is", self.region)?;
        if self.in_use {
            writeln!(f, "  (it is in use, and may be half written: unmount it and look again)")?;
        }
        self.problems.iter().try_for_each(|p| writeln!(f, "  {p}"))
    }
}
