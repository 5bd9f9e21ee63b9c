//! After the boot: everything back in its place, before the services that need it start.
//!
//! ```text
//! regions ─► nodes that a source names ─┬─► copied to where they were, their region released
//!                                       └─► mounted where they are (bind mount of a DAX mount)
//! ```
//!
//! What became of each source is written to `/run/pkram/arrival.json`; who needs one asks there
//! ([`require`]).

use crate::attempt::{Attempt, Expected, STATE};
use crate::control::DIR;
use crate::generate::{NODES, has_mount_unit};
use crate::journal::Event;
use anyhow::{Context as _, bail};
use config::{Arrival, Config, Source, What};
use pkram::history::{self, Outcome};
use pkram::loaded::load_from;
use pkram::manifest::{self, Manifest, Origin};
use pkram::progress::Silent;
use pkram::region::{Region, contents, discover};
use pkram::restore::{RestoreOptions, restore};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// What became of every source, by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Arrivals {
    pub(crate) version: u32,
    pub(crate) sources: BTreeMap<String, Came>,
}

/// What became of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "came")]
pub(crate) enum Came {
    /// Its pages are where they were, and its files are here.
    InPlace { at: Vec<String> },
    /// It was copied back.
    Copied { to: Vec<String> },
    /// There was nothing of it to come.
    Absent,
    /// It was to come, and did not.
    Missing { why: String },
}

impl Came {
    fn is_here(&self) -> bool {
        matches!(self, Self::InPlace { .. } | Self::Copied { .. })
    }
}

impl Arrivals {
    /// What [`run`] wrote in this boot.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let text = fs::read(path()).context("what arrived is not known: pkram-arrive failed")?;
        serde_json::from_slice(&text).with_context(|| path().display().to_string())
    }

    /// In one word, and what is missing.
    fn outcome(&self) -> (Outcome, Option<String>) {
        let missing = |(name, came): (&String, &Came)| match came {
            Came::Missing { why } => Some(format!("{name}: {why}")),
            _ => None,
        };
        let missing: Vec<_> = self.sources.iter().filter_map(missing).collect();
        let came = |came: &Came| matches!(came, Came::InPlace { .. } | Came::Copied { .. });
        let outcome = match (missing.is_empty(), self.sources.values().any(came)) {
            (true, _) => Outcome::Back,
            (false, true) => Outcome::Partly,
            (false, false) => Outcome::Lost,
        };
        (outcome, (!missing.is_empty()).then(|| missing.join("; ")))
    }

    fn write(&self) -> anyhow::Result<()> {
        fs::create_dir_all(DIR)?;
        fs::write(path(), serde_json::to_vec(self)?).context("write what arrived")
    }
}

/// A node of a region.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    region: usize,
    created: u64,
    pub(crate) node: manifest::Source,
}

/// Brings back what came, notes what did not; in an initramfs (`early`) only sources that are for it,
/// and what did not come is left to a later run.
pub(crate) fn run(config: &Config, early: bool) -> anyhow::Result<()> {
    let here = here_already();
    let is_here = |source: &Source| here.contains_key(&source.name);
    let mut arrivals = Arrivals { version: 1, sources: here.clone() };
    let sources: Vec<_> = config.sources.iter().filter(|s| s.early || !early).collect();
    // What is noted on disks cannot be read yet.
    let attempt = if early { None } else { Attempt::take() };
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
    let mut expected = expected;
    for source in config.sources.iter().filter(|s| s.required) {
        if !matches!(arrivals.sources.get(&source.name), None | Some(Came::Absent)) {
            expected.add(&source.name);
        }
    }
    if !early && let Err(error) = expected.write() {
        Event::Note.tell(&format!("{STATE}: {error}; what is required may not be missed later"));
    }
    for (name, came) in &arrivals.sources {
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
    if attempt.is_some() {
        let (outcome, message) = arrivals.outcome();
        if let Err(error) = history::finish(outcome, message) {
            Event::Note.tell(&format!("the history has no word of this arrival: {error}"));
        }
    }
    if early {
        arrivals.sources.retain(|_, came| came.is_here());
    }
    arrivals.write()
}

/// Names the sources that come back in an initramfs.
pub(crate) fn early(config: &Config) -> anyhow::Result<()> {
    let names = config.sources.iter().filter(|s| s.early).map(|s| format!("{}\n", s.name));
    std::io::stdout().write_all(names.collect::<String>().as_bytes()).context("stdout")
}

/// What came earlier in this boot, in the initramfs above all: `/run` moves from there into the system.
fn here_already() -> BTreeMap<String, Came> {
    let mut arrivals = Arrivals::read().unwrap_or_default();
    arrivals.sources.retain(|_, came| came.is_here());
    arrivals.sources
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
    let text =
        fs::read(path()).context("what arrived is not known: pkram-arrive.service failed")?;
    let arrivals: Arrivals = serde_json::from_slice(&text).context("/run/pkram/arrival.json")?;
    match arrivals.sources.get(name) {
        Some(Came::Missing { why }) if source.required => bail!(
            "source {name} is required, but its memory is missing: {why}; to begin without it, \
             run `pkramd forget {name}`"
        ),
        _ => Ok(()),
    }
}

fn path() -> PathBuf {
    Path::new(DIR).join("arrival.json")
}

/// Whether a node is one of a source: the source by itself, or a match of its glob.
pub(crate) fn is_of(source: &Source, node: &str) -> bool {
    match &source.what {
        What::Glob(_) | What::Unit(_) => {
            let rest = node.strip_prefix(&source.name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        }
        _ => node == source.name,
    }
}

/// All nodes here; of those with one name the one that was saved last.
pub(crate) fn nodes(regions: &[Region]) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for (index, region) in regions.iter().enumerate() {
        let manifest = match manifest_of(region) {
            Ok(manifest) => manifest,
            Err(error) => {
                let uuid = region.uuid;
                Event::RegionLeft.tell(&format!("region {uuid} is left as it is: {error:#}"));
                continue;
            }
        };
        for node in manifest.sources {
            let new = Found { region: index, created: manifest.created, node };
            match found.iter_mut().find(|f| f.node.name == new.node.name) {
                Some(old) if old.created < new.created => *old = new,
                Some(_) => {}
                None => found.push(new),
            }
        }
    }
    found
}

fn manifest_of(region: &Region) -> anyhow::Result<Manifest> {
    if !region.missing.is_empty() {
        bail!("spans {:?} of it are missing", region.missing);
    }
    let fs = contents::open(region)?;
    contents::manifest(&fs)?.context("it has no manifest")
}

fn why_missing(attempt: Option<&Attempt>, regions: &[Region]) -> String {
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

/// Copies back all nodes of a region whose sources want that.
fn copy<'a>(
    sources: &[&Source],
    region: &Region,
    early: bool,
    is_here: &dyn Fn(&Source) -> bool,
    nodes_of: &dyn Fn(&Source) -> Vec<&'a Found>,
    arrivals: &mut Arrivals,
) {
    let (restored, wanted): (Vec<_>, Vec<_>) = sources
        .iter()
        .filter(|s| s.arrival == Arrival::Copy && !s.in_doubt)
        .map(|s| (s, nodes_of(s)))
        .filter(|(_, nodes)| !nodes.is_empty())
        .partition(|(s, _)| is_here(s));
    let names = |of: &[(_, Vec<&Found>)]| -> Vec<_> {
        of.iter().flat_map(|(_, nodes)| nodes.iter().map(|f| f.node.name.clone())).collect()
    };
    let restored = names(&restored);
    let names = [names(&wanted), restored.clone()].concat();
    if names.is_empty() {
        return;
    }
    // The region is given back when the system runs and everything else is in its place.
    let options = RestoreOptions { names, restored, to: None, keep: early };
    let restored = restore(region, &options, &Silent);
    if let Ok(done) = &restored {
        done.notes.iter().for_each(|note| Event::Note.tell(note));
    }
    for (source, nodes) in wanted {
        let came = match &restored {
            Ok(done) => {
                let of = |(name, place): &(String, String)| {
                    nodes.iter().any(|f| f.node.name == *name).then(|| place.clone())
                };
                Came::Copied { to: done.nodes.iter().filter_map(of).collect() }
            }
            Err(error) => Came::Missing { why: format!("it cannot be copied back: {error}") },
        };
        arrivals.sources.insert(source.name.clone(), came);
    }
}

/// Mounts the nodes of a source where they are to be.
fn in_place(source: &Source, nodes: &[&Found], regions: &[Region]) -> Came {
    let each = |found: &&Found| {
        let region = regions.get(found.region).context("no such region")?;
        if source.verify
            && let Some(problem) = contents::verify(region)?.first()
        {
            bail!("region {} is damaged: {problem}", region.uuid);
        }
        put_in_place(source, region, &found.node)
    };
    match nodes.iter().map(each).collect::<anyhow::Result<Vec<_>>>() {
        Ok(at) => Came::InPlace { at },
        Err(error) => Came::Missing { why: format!("it cannot be put in place: {error:#}") },
    }
}

/// Makes a node appear where it is to be, by default where it came from: the mount unit does it
/// where there is one.
fn put_in_place(
    source: &Source,
    region: &Region,
    node: &manifest::Source,
) -> anyhow::Result<String> {
    let loaded = load_from(region.clone(), &node.name)?;
    if loaded.is_read_only() {
        let path = loaded.path();
        bail!("region {} is damaged; it can only be read, at {}", region.uuid, path.display());
    }
    let (origin, is_file) = match &node.origin {
        Origin::Tmpfs { path, file } | Origin::Hugetlbfs { path, file, .. } => {
            (Some(PathBuf::from(path)), *file)
        }
        _ => (None, false),
    };
    let chosen = match &source.arrival {
        Arrival::InPlace { mount_point } => mount_point.clone(),
        Arrival::Copy => None,
    };
    let whole = chosen.is_some() || !is_file;
    let at = chosen.or(origin).with_context(|| format!("{} needs a mount-point", node.origin))?;
    let mut from = loaded.path();
    if whole {
        fs::create_dir_all(&at).with_context(|| at.display().to_string())?;
    } else {
        // The one file of the node goes over a file.
        from = from.join(at.file_name().context("the path has no last name")?);
        let parent = at.parent().context("the path has no folder")?;
        fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        File::options()
            .create(true)
            .append(true)
            .open(&at)
            .with_context(|| at.display().to_string())?;
    }
    if has_mount_unit(Path::new("/"), &at) {
        fs::create_dir_all(NODES)?;
        let link = Path::new(NODES).join(&source.name);
        symlink(&from, &link).with_context(|| link.display().to_string())?;
    } else {
        rustix::mount::mount_bind(&from, &at)
            .with_context(|| format!("mount {} on {}", from.display(), at.display()))?;
    }
    Ok(at.display().to_string())
}
