//! `pkram mount`: a region in place.

use crate::answer::print;
use pkram::history;
use pkram::region::{discover, mount};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

pub(crate) fn run(json: bool, what: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let (region, dir) = match what {
        [dir] => (None, dir),
        [region, dir] => (region.to_str(), dir),
        _ => anyhow::bail!("expected [REGION] DIR"),
    };
    let found = discover()?;
    let region = found.choose(region)?;
    let mounted = mount(region, dir)?;
    // It is mounted, whether or not that can be written down.
    let _ = history::came_back(region.uuid);
    let (device, dir) = (mounted.device.display().to_string(), mounted.dir.display().to_string());
    print(json, &Mounted { region: region.uuid.to_string(), device, dir })?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Serialize)]
struct Mounted {
    region: String,
    device: String,
    dir: String,
}

impl fmt::Display for Mounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} mounted on {}", self.device, self.dir)
    }
}
