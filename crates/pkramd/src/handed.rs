//! What services handed over: taken in when the daemon starts.
//!
//! ```text
//! first start after a boot    regions' nodes fdstore-OWNER ─► Store      (copied, or in place)
//! any start                   systemd's fd store of pkramd ─► Store      (it held them meanwhile)
//! ```

use crate::arrive::is_of;
use crate::control::DIR;
use crate::journal::Event;
use anyhow::Context as _;
use config::{Config, Handover, Who};
use pkram::arrivals::{Arrivals, Came};
use pkram::loaded::load_from;
use pkram::region::{Region, contents, discover, find_mounted, release};
use pkramd::store;
use pkramd::store::{Arrived, Pid1, Rule, Store, listen_descriptors, owner_of};
use std::env;
use std::fs;
use std::path::Path;

/// Is there once this boot's regions have been looked through.
const TAKEN: &str = "taken";

/// The store as it is at the start, and systemd's second set of it.
pub(crate) fn take_in(config: &Config) -> (Store, Option<Pid1>) {
    let mut store = Store::new(rules(config));
    let told = |problem: &dyn std::fmt::Display| Event::Handover.tell(&problem.to_string());
    let descriptors = listen_descriptors().unwrap_or_else(|error| {
        told(&error);
        Vec::new()
    });
    let address = env::var("NOTIFY_SOCKET").ok();
    let mut pid1 = address.and_then(|a| Pid1::new(&a).map_err(|error| told(&error)).ok());
    if let Some(pid1) = &mut pid1 {
        let (inherited, outcome) = pid1.inherit(&mut store, descriptors);
        inherited.problems.iter().for_each(|problem| told(problem));
        let _ = outcome.map_err(|error| told(&error));
    }
    let mark = Path::new(DIR).join(TAKEN);
    if !mark.exists() {
        if let Err(error) = arrive(config, &mut store) {
            told(&format!("{error:#}"));
        }
        if let Some(pid1) = &mut pid1 {
            let _ = pid1.sync(&store).map_err(|error| told(&error));
        }
        let _ = fs::write(mark, "").map_err(|error| told(&error));
    }
    (store, pid1)
}

/// Takes in what the regions here have of it, and releases those that nobody needs any more.
fn arrive(config: &Config, store: &mut Store) -> anyhow::Result<()> {
    let known = Arrivals::read();
    let mut arrivals = known.as_ref().cloned().unwrap_or_default();
    let sources = arrivals.sources.clone();
    let copied = |node: &str| {
        let mut of = config.sources.iter().filter(|source| is_of(source, node));
        of.any(|source| matches!(sources.get(&source.name), Some(Came::Copied { .. })))
    };
    for region in discover()?.regions {
        let uuid = region.uuid;
        match arrive_from(&region, store, &copied, &mut arrivals) {
            Ok(false) => {}
            Ok(true) => {
                if let Err(error) = give_back(&region) {
                    Event::Note.tell(&format!("region {uuid} is not released: {error:#}"));
                }
            }
            Err(error) => {
                Event::RegionLeft.tell(&format!("region {uuid} is left as it is: {error:#}"));
            }
        }
    }
    // Where nobody knows what became of the sources, nothing may look as if they were well.
    if known.is_ok() { Ok(arrivals.write()?) } else { Ok(()) }
}

/// Takes in what one region has. Returns whether all of it is somewhere else now; of nodes that are
/// not the store's `copied` says it.
fn arrive_from(
    region: &Region,
    store: &mut Store,
    copied: &dyn Fn(&str) -> bool,
    arrivals: &mut Arrivals,
) -> anyhow::Result<bool> {
    if !region.missing.is_empty() {
        return Ok(false);
    }
    let manifest = contents::manifest(&contents::open(region)?)?.context("it has no manifest")?;
    let nodes: Vec<_> = manifest.sources.iter().map(|source| source.name.as_str()).collect();
    let owners: Vec<_> = nodes.iter().filter_map(|n| Some((*n, owner_of(n)?))).collect();
    if owners.is_empty() {
        return Ok(false);
    }
    let (mut objects, mut lost) = (Vec::new(), Vec::new());
    for (node, owner) in &owners {
        let loaded = load_from(region.clone(), node)?;
        for object in Arrived::all_of(&loaded)? {
            match object {
                Ok(object) => objects.push((owner.clone(), object)),
                Err(error) => lost.push((owner.clone(), error)),
            }
        }
    }
    let before = store.entries().len();
    lost.extend(store.arrive(objects));
    let arrived = store.entries().get(before..).unwrap_or_default();
    for (_, owner) in &owners {
        let came = arrivals.handovers.entry(owner.to_string()).or_default();
        let count = arrived.iter().filter(|entry| entry.owner == *owner).count();
        came.descriptors += count;
        Event::Arrived.tell(&format!("{count} descriptors of {owner} have arrived"));
        for (_, error) in lost.iter().filter(|(of, _)| of == owner) {
            let why = format!("a descriptor has not arrived: {error}");
            Event::Handover.tell(&format!("{owner}: {why}"));
            came.lost.push(why);
        }
    }
    let mut rest = nodes.iter().filter(|node| owner_of(node).is_none());
    let moved = arrived.iter().all(|entry| entry.region_file.is_none());
    Ok(lost.is_empty() && moved && rest.all(|node| copied(node)))
}

/// Gives a region back that is mounted for us alone.
fn give_back(region: &Region) -> anyhow::Result<()> {
    if let Some(mounted) = find_mounted(region)? {
        rustix::mount::unmount(&mounted.dir, rustix::mount::UnmountFlags::empty())
            .with_context(|| format!("unmount {}", mounted.dir.display()))?;
    }
    release(region)?;
    Ok(())
}

/// The rules as the store takes them: the first that matches counts there, the last one in
/// `pkram.toml`.
pub(crate) fn rules(config: &Config) -> Vec<Rule> {
    config.handovers.iter().rev().filter_map(rule).collect()
}

fn rule(handover: &Handover) -> Option<Rule> {
    let who = match &handover.who {
        Who::Unit(pattern) => glob::Pattern::new(pattern).ok().map(store::Who::Unit),
        Who::User(user) => uid_of(user).map(store::Who::User),
    };
    if who.is_none() {
        Event::Configuration.tell(&format!("{}: there is no {}", handover.place, handover.who));
    }
    let arrival = if handover.in_place { store::Arrival::InPlace } else { store::Arrival::Copy };
    Some(Rule {
        who: who?,
        max_size: handover.max_size,
        max_descriptors: usize::try_from(handover.max_descriptors).ok()?,
        arrival,
    })
}

/// The number of a local user (`passwd(5)`): a static program has no other way to look it up.
fn uid_of(user: &str) -> Option<u32> {
    let by_name = || {
        let table = fs::read_to_string("/etc/passwd").ok()?;
        let mut lines = table.lines().map(|line| line.split(':'));
        lines
            .find_map(|mut fields| (fields.next()? == user).then(|| fields.nth(1)?.parse().ok())?)
    };
    user.parse().ok().or_else(by_name)
}
