//! `pkram release`: a region's memory back to the system.

use crate::answer::print;
use crate::size::show;
use pkram::machine::mem_total;
use pkram::region::{discover, release};
use serde::Serialize;
use std::fmt;
use std::process::ExitCode;

pub(crate) fn run(json: bool, region: &str) -> anyhow::Result<ExitCode> {
    let found = discover()?;
    let region = found.choose(Some(region))?;
    let before = mem_total()?;
    let released = release(region)?;
    let answer = Released {
        region: region.uuid.to_string(),
        returned: released.returned,
        left: released.left,
        mem_total_before: before,
        mem_total: mem_total()?,
    };
    print(json, &answer)?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Serialize)]
struct Released {
    region: String,
    returned: u64,
    left: u64,
    mem_total_before: u64,
    mem_total: u64,
}

impl fmt::Display for Released {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} given back to the system", show(self.returned))?;
        if self.left > 0 {
            writeln!(f, "{} stay aside until the next kexec", show(self.left))?;
        }
        Ok(())
    }
}
