//! `pkram release`: a region's memory back to the system; without a region, what was released
//! before and waits.

use crate::answer::print;
use config::size::show;
use pkram::machine::mem_total;
use pkram::region::{discover, finish, release, release_remains};
use serde::Serialize;
use std::fmt;
use std::process::ExitCode;

pub(crate) fn run(json: bool, region: Option<&str>, force: bool) -> anyhow::Result<ExitCode> {
    let before = mem_total()?;
    let (region, released) = match region {
        None => (None, finish()?),
        Some(name) => {
            let found = discover()?;
            match (found.choose(Some(name)), found.remains(name)) {
                (Ok(region), _) => (Some(region.uuid.to_string()), release(region)?),
                (Err(_), remains) if force && !remains.is_empty() => {
                    (None, release_remains(&remains)?)
                }
                (Err(error), _) => return Err(error.into()),
            }
        }
    };
    let answer = Released {
        region,
        returned: released.returned,
        left: released.left,
        troubles: released.troubles,
        mem_total_before: before,
        mem_total: mem_total()?,
    };
    print(json, &answer)?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Serialize)]
struct Released {
    region: Option<String>,
    returned: u64,
    /// Aside until the next kexec.
    left: u64,
    /// Why less came back than could have.
    troubles: Vec<String>,
    mem_total_before: u64,
    mem_total: u64,
}

impl fmt::Display for Released {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} given back to the system", show(self.returned))?;
        if self.left > 0 {
            writeln!(f, "{} stay aside until the next kexec", show(self.left))?;
        }
        self.troubles.iter().try_for_each(|t| writeln!(f, "not given back now: {t}"))
    }
}
