//! Restore: copies nodes back into tmpfs, hugetlbfs files and SysV segments, and gives the region's
//! memory back as it goes.
//!
//! ```text
//! names ─► last span: copy its data, give it back ─► … ─► first span: copy, attributes, give back
//! ```
//!
//! The region must not be mounted: its data are read from the devices past the page cache, on all
//! processors. The first span has the metadata and goes last, so until then a restore that was
//! interrupted is simply begun again: a journal in `/run/pkram` knows what an earlier run has made
//! or was making, spans that are still there are copied again, and those that were given back had
//! been copied. Where the region was written to, so that metadata lie in other spans too, nothing is
//! given back before everything is copied.
//!
//! What is being restored belongs to root alone until its attributes are set, lowest first.

mod copy;
mod error;
mod journal;
mod segment;
mod target;
mod tree;

pub use error::RestoreError;

use crate::machine;
use crate::manifest::{Manifest, Source};
use crate::progress::Progress;
use crate::region::contents::{Bytes, manifest, open_rest, verify};
use crate::region::{Region, discover, finish, part, release, release_span, returns, wake_all};
use copy::Copying;
use journal::Journal;
use physmem::PAGE_SIZE;
use regionfs::read::Filesystem;
use std::path::PathBuf;
use target::Target;
use tree::Trees;

/// Memory that copying leaves to the rest of the system, in bytes.
const SPARE: u64 = 32 << 20;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// The nodes; all if there are none.
    pub names: Vec<String>,
    /// Those of them that are in their places already, from an earlier restore that kept the region.
    pub restored: Vec<String>,
    /// A directory for them, each below its name; by default they go where they came from.
    pub to: Option<PathBuf>,
    /// Keep the region. It is kept as well if not all that it has is restored.
    pub keep: bool,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Nodes, and where they are now.
    pub nodes: Vec<(String, String)>,
    /// Bytes of data that were copied.
    pub copied: u64,
    /// Bytes of the region that are System RAM again.
    pub returned: u64,
    /// Bytes of it that stay aside until the next kexec.
    pub left: u64,
    /// What could not be as it was.
    pub notes: Vec<String>,
}

/// Copies nodes of `region` back.
///
/// # Errors
/// A region that is damaged, in use or not complete; a place that is taken or full. What was copied
/// stays, and so does the region but for the spans that were given back.
pub fn restore(
    region: &Region,
    options: &RestoreOptions,
    progress: &dyn Progress,
) -> Result<Restored, RestoreError> {
    let mut journal = Journal::open(region.uuid)?;
    let fs = open_rest(region)?;
    let manifest = manifest(&fs)?.ok_or(RestoreError::NoManifest { region: region.uuid })?;
    refuse_lost(region, &manifest)?;
    if region.missing.is_empty() {
        let problems = verify(region)?;
        if let Some(first) = problems.first() {
            let (count, first) = (problems.len(), first.to_string());
            return Err(RestoreError::Damaged { region: region.uuid, count, first });
        }
    }
    let mut done = Restored::default();
    let chosen = choose(&manifest, &options.names)?;
    let release = !options.keep && is_all(&fs, &chosen, &mut done.notes)?;
    let chosen: Vec<_> =
        chosen.into_iter().filter(|s| !options.restored.contains(&s.name)).collect();
    // What joined the spans for a mount that is over; a mount that is not shows next.
    let _ = part(region);
    if region.in_use() {
        return Err(RestoreError::InUse { region: region.uuid });
    }

    if !region.missing.is_empty() {
        // An earlier run was killed as it gave back a span.
        give_back(&mut done, finish()?);
    }

    if journal.is_copied() {
        let what = "an earlier run has restored everything; only memory was given back";
        done.notes.push(what.to_owned());
    } else {
        copy_all(region, &fs, &chosen, options, &mut journal, release, &mut done, progress)?;
        if release {
            journal.copied()?;
        }
    }
    drop(fs);
    if release {
        give_back(&mut done, self::release(&current(region)?)?);
    }
    journal.close();
    Ok(done)
}

#[expect(clippy::too_many_arguments, reason = "all that there is, in one place")]
fn copy_all(
    region: &Region,
    fs: &Fs,
    chosen: &[&Source],
    options: &RestoreOptions,
    journal: &mut Journal,
    release: bool,
    done: &mut Restored,
    progress: &dyn Progress,
) -> Result<(), RestoreError> {
    // All is looked at before anything is made.
    let partly = !region.missing.is_empty();
    let mut targets = Vec::new();
    for &source in chosen {
        let target = Target::of(source, options.to.as_deref(), journal)?;
        target.check(fs, source, options.to.is_none(), partly, journal)?;
        targets.push((source, target));
    }
    let mut trees = Trees::new(partly);
    for (source, target) in targets {
        let place = trees.make(fs, source, target, journal, &mut done.notes)?;
        done.nodes.push((source.name.clone(), place));
    }
    let copying = Copying::new(region, fs, &trees, progress)?;
    let first = region.spans.first().map_or(0, |s| s.head.range.len());
    let early = release && fs.reader().furthest() <= first;
    refuse_short(region, &copying, early)?;
    for (i, span) in region.spans.iter().enumerate().rev() {
        done.copied += copying.span(i)?;
        if i > 0 && early {
            give_back(done, release_span(span)?);
        }
    }
    progress.end();
    trees.attributes(fs, &mut done.notes)
}

fn give_back(done: &mut Restored, released: crate::region::Released) {
    done.returned += released.returned;
    done.left += released.left;
    done.notes.extend(released.troubles);
}

/// Refuses where memory would run out on the way: all that is copied takes memory, and a span gives
/// back no more than its whole memory blocks.
fn refuse_short(region: &Region, copying: &Copying<'_>, early: bool) -> Result<(), RestoreError> {
    let block = machine::memory_block()?;
    let available = machine::meminfo("MemAvailable")?;
    let there = copying.bytes_there()?;
    let (mut taken, mut returned) = (0u64, 0u64);
    for (i, span) in region.spans.iter().enumerate().rev() {
        taken += copying.bytes_in(i);
        let missing = (taken + SPARE).saturating_sub(available + returned + there);
        if missing > 0 {
            return Err(RestoreError::NoMemory { available, missing });
        }
        if early {
            returned += returns(&span.device, block);
        }
    }
    Ok(())
}

/// The region with the spans that it still has.
fn current(region: &Region) -> Result<Region, RestoreError> {
    let found = discover()?.regions.into_iter().find(|r| r.uuid == region.uuid);
    found.ok_or(RestoreError::Lost { region: region.uuid, missing: vec![0] })
}

/// Refuses a region whose missing spans were not given back by an earlier run.
fn refuse_lost(region: &Region, manifest: &Manifest) -> Result<(), RestoreError> {
    if region.missing.is_empty() {
        return Ok(());
    }
    let released = wake_all()?.released;
    let is_restored = |index: &u32| {
        let span = manifest.plan.spans.get(*index as usize);
        span.is_some_and(|span| released.iter().any(|d| d.range.to_string() == *span))
    };
    let lost: Vec<_> = region.missing.iter().copied().filter(|i| !is_restored(i)).collect();
    match lost.is_empty() {
        true => Ok(()),
        false => Err(RestoreError::Lost { region: region.uuid, missing: lost }),
    }
}

/// The nodes of these names, each once; all where there are no names.
fn choose<'a>(manifest: &'a Manifest, names: &[String]) -> Result<Vec<&'a Source>, RestoreError> {
    for name in names {
        if manifest.sources.iter().all(|s| s.name != *name) {
            let names: Vec<_> = manifest.sources.iter().map(|s| s.name.as_str()).collect();
            return Err(RestoreError::NoNode { name: name.clone(), names: names.join(", ") });
        }
    }
    let chosen = |s: &&Source| names.is_empty() || names.contains(&s.name);
    Ok(manifest.sources.iter().filter(chosen).collect())
}

/// Whether that is all that the region has.
fn is_all(fs: &Fs, chosen: &[&Source], notes: &mut Vec<String>) -> Result<bool, RestoreError> {
    let mut all = true;
    for entry in fs.read_dir(&fs.lookup(b"")?)? {
        let name = String::from_utf8_lossy(&entry.name);
        if name == ".pkram" || name == "lost+found" || chosen.iter().any(|s| s.name == name) {
            continue;
        }
        notes.push(format!("the region is kept: {name} in it was not restored"));
        all = false;
    }
    Ok(all)
}

/// How many pages so many bytes take.
fn pages(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE_SIZE)
}

/// A region's filesystem.
type Fs = Filesystem<Bytes>;
