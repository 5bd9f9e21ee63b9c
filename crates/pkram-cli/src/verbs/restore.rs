//! `pkram restore`: nodes back to where they came from.

use crate::answer::print;
use crate::bar::Bars;
use config::size::show;
use pkram::history;
use pkram::region::{RegionError, discover};
use pkram::restore::{self, RestoreOptions};
use serde::Serialize;
use std::fmt;
use std::process::ExitCode;

pub(crate) fn run(
    json: bool,
    region: Option<&str>,
    options: &RestoreOptions,
    bars: &Bars,
) -> anyhow::Result<ExitCode> {
    let found = discover()?;
    let region = match found.choose(region) {
        Ok(region) => region,
        // Some of its spans may have been given back by an interrupted restore.
        Err(RegionError::Incomplete { region, .. }) => {
            let known = found.regions.iter().find(|r| r.uuid == region);
            known.ok_or(RegionError::None { damaged: String::new() })?
        }
        Err(error) => return Err(error.into()),
    };
    let uuid = region.uuid.to_string();
    let done = restore::restore(region, options, bars)?;
    // It is back, whether or not that can be written down.
    let _ = history::came_back(region.uuid);
    let nodes = done.nodes.into_iter().map(|(name, place)| Node { name, place }).collect();
    let restore::Restored { copied, returned, left, notes, .. } = done;
    print(json, &Restored { region: uuid, nodes, copied, returned, left, notes })?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Serialize)]
struct Restored {
    region: String,
    nodes: Vec<Node>,
    copied: u64,
    returned: u64,
    /// Aside until the next kexec.
    left: u64,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Node {
    name: String,
    place: String,
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Node { name, place } in &self.nodes {
            writeln!(f, "{name} restored to {place}")?;
        }
        let (copied, returned) = (show(self.copied), show(self.returned));
        writeln!(f, "{copied} copied, {returned} given back to the system")?;
        if self.left > 0 {
            writeln!(f, "{} stay aside until the next kexec", show(self.left))?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
    }
}
