//! After the boot: everything back in its place, before the services that need it start.
//!
//! ```text
//! regions ─► nodes that a source names ─┬─► copied to where they were, their region released
//!                                       └─► mounted where they are (bind mount of a DAX mount)
//! ```
//!
//! What became of each source is written to `/run/pkram/arrival.json`; who needs one asks there
//! ([`require`]).

mod copy;
mod nodes;
mod place;

pub(crate) use nodes::{is_of, nodes};

use crate::attempt::{Attempt, Expected, STATE};
use crate::journal::Event;
use anyhow::{Context as _, bail};
use config::{Arrival, Config, Source};
use copy::copy;
use nodes::Found;
use pkram::arrivals::{Arrivals, Came};
use pkram::history::{self, Outcome};
use pkram::region::{Region, discover};
use pkramd::store::{node_name, owner_of};
use place::in_place;
use std::io::Write as _;

/// Brings back what came, notes what did not; in an initramfs (`early`) only sources that are for it,
/// and what did not come is left to a later run.
pub(crate) fn run(config: &Config, early: bool) -> anyhow::Result<()> {
    let mut arrivals = here_already();
    let here = arrivals.sources.clone();
    let is_here = |source: &Source| here.contains_key(&source.name);
    let sources: Vec<_> = config.sources.iter().filter(|s| s.early || !early).collect();
    // What is noted on disks cannot be read yet.
    let attempt = if early { None } else { Attempt::take() };
    if let Some(why) = attempt.as_ref().and_then(|attempt| attempt.failed.as_ref()) {
        Event::JumpFailed.tell(&format!("the last shutdown kept no memory: {why}"));
    }
    let expected = if early { Expected::default() } else { Expected::read() };
    let regions = discover().context("look for regions")?.regions;
    let found = nodes(&regions);
    let promised = |source: &Source| {
        let by_attempt = |a: &Attempt| a.nodes.iter().any(|node| is_of(source, node));
        attempt.as_ref().is_some_and(by_attempt) || expected.has(&source.name)
    };
    let of = |source: &Source| -> Vec<&Found> {
        found.iter().filter(|f| is_of(source, &f.node.name)).collect()
    };
    for &source in sources.iter().filter(|source| !is_here(source)) {
        if !of(source).is_empty() && source.in_doubt {
            let why = "it waits in its region until its configuration is right";
            arrivals.sources.insert(source.name.clone(), Came::Missing { why: why.to_owned() });
        } else if of(source).is_empty() {
            let came = if promised(source) {
                Came::Missing { why: why_missing(attempt.as_ref(), &regions) }
            } else {
                Came::Absent
            };
            arrivals.sources.insert(source.name.clone(), came);
        }
    }
    // A copy needs its region unmounted, so copies come first.
    for (index, region) in regions.iter().enumerate() {
        copy(
            &sources,
            region,
            early,
            &is_here,
            &|source| of(source).into_iter().filter(|f| f.region == index).collect(),
            &mut arrivals,
        );
    }
    for &source in sources.iter().filter(|source| !is_here(source)) {
        if matches!(source.arrival, Arrival::InPlace { .. }) && !source.in_doubt {
            let nodes = of(source);
            if !nodes.is_empty() {
                let came = in_place(source, &nodes, &regions);
                arrivals.sources.insert(source.name.clone(), came);
            }
        }
    }
    for owner in attempt.iter().flat_map(|attempt| &attempt.nodes).filter_map(|node| owner_of(node))
    {
        let node = node_name(&owner);
        if !found.iter().any(|f| f.node.name == node) {
            let why = why_missing(attempt.as_ref(), &regions);
            Event::Missing.tell(&format!("what {owner} had handed over is missing: {why}"));
            arrivals.handovers.entry(owner.to_string()).or_default().lost.push(why);
        }
    }
    let mut expected = expected;
    for source in config.sources.iter().filter(|s| s.required) {
        if !matches!(arrivals.sources.get(&source.name), None | Some(Came::Absent)) {
            expected.add(&source.name);
        }
    }
    if !early && let Err(error) = expected.write() {
        Event::Note.tell(&format!("{STATE}: {error}; what is required may not be missed later"));
    }
    arrivals.sources.iter().for_each(|(name, came)| tell(name, came));
    let whose = |node: &str| config.sources.iter().any(|source| is_of(source, node));
    for found in found.iter().filter(|_| !early) {
        let name = &found.node.name;
        if !whose(name) && owner_of(name).is_none() {
            let uuid = regions.get(found.region).map_or_else(String::new, |r| r.uuid.to_string());
            Event::Note.tell(&format!("region {uuid} has {name}, which no source is called"));
        }
    }
    if attempt.is_some() {
        let (outcome, message) = outcome(&arrivals);
        if let Err(error) = history::finish(outcome, message) {
            Event::Note.tell(&format!("the history has no word of this arrival: {error}"));
        }
    }
    if early {
        arrivals.sources.retain(|_, came| came.is_here());
    }
    Ok(arrivals.write()?)
}

/// In one word, and what is missing.
fn outcome(arrivals: &Arrivals) -> (Outcome, Option<String>) {
    let missing: Vec<_> = arrivals.missing().map(|(name, why)| format!("{name}: {why}")).collect();
    let outcome = match (missing.is_empty(), arrivals.sources.values().any(Came::is_here)) {
        (true, _) => Outcome::Back,
        (false, true) => Outcome::Partly,
        (false, false) => Outcome::Lost,
    };
    (outcome, (!missing.is_empty()).then(|| missing.join("; ")))
}

fn tell(name: &str, came: &Came) {
    match came {
        Came::InPlace { at } => {
            Event::InPlace.tell_of(name, &format!("is in place at {}", at.join(", ")));
        }
        Came::Copied { to } => {
            Event::Copied.tell_of(name, &format!("was copied to {}", to.join(", ")));
        }
        Came::Absent => {}
        Came::Missing { why } => Event::Missing.tell_of(name, &format!("is missing: {why}")),
    }
}

/// Names the sources that come back in an initramfs.
pub(crate) fn early(config: &Config) -> anyhow::Result<()> {
    let names = config.sources.iter().filter(|s| s.early).map(|s| format!("{}\n", s.name));
    std::io::stdout().write_all(names.collect::<String>().as_bytes()).context("stdout")
}

/// What came earlier in this boot, in the initramfs above all: `/run` moves from there into the system.
fn here_already() -> Arrivals {
    let mut arrivals = Arrivals::read().unwrap_or_default();
    arrivals.version = 1;
    arrivals.sources.retain(|_, came| came.is_here());
    arrivals
}

/// Expects the memory of a source no more: its service begins without it.
pub(crate) fn forget(name: &str) -> anyhow::Result<()> {
    let mut expected = Expected::read();
    let mut arrivals = Arrivals::read().unwrap_or_default();
    let was = expected.remove(name);
    let missing = matches!(arrivals.sources.get(name), Some(Came::Missing { .. }));
    if !was && !missing {
        bail!("source {name} is not missing");
    }
    expected.write()?;
    if missing {
        arrivals.sources.insert(name.to_owned(), Came::Absent);
        arrivals.write()?;
    }
    Ok(())
}

/// Fails where memory that `name` stands for is required, but missing.
pub(crate) fn require(config: &Config, name: &str) -> anyhow::Result<()> {
    let source = config.sources.iter().find(|s| s.name == name);
    let source = source.with_context(|| format!("pkram.toml has no [source.{name}]"))?;
    match Arrivals::read()?.sources.get(name) {
        Some(Came::Missing { why }) if source.required => bail!(
            "source {name} is required, but its memory is missing: {why}; to begin without it, \
             run `pkramd forget {name}`"
        ),
        _ => Ok(()),
    }
}

fn why_missing(attempt: Option<&Attempt>, regions: &[Region]) -> String {
    if let Some(why) = attempt.and_then(|attempt| attempt.failed.as_ref()) {
        return format!("the last shutdown could not keep it: {why}");
    }
    match attempt.and_then(|attempt| attempt.region.as_ref()) {
        Some(made) if regions.iter().any(|r| r.uuid.to_string() == *made) => {
            format!("region {made} does not have it")
        }
        Some(made) => format!(
            "region {made}, which was made for it, is not here: the jump did not happen, or \
             another kernel was started"
        ),
        None => "the machine came up without a kexec by pkram".to_owned(),
    }
}
