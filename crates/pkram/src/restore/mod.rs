//! Restore: copies nodes back into tmpfs, hugetlbfs files and SysV segments, and gives the region's
//! memory back as it goes.
//!
//! ```text
//! names ─► last span: copy its data, give it back ─► … ─► first span: copy, attributes, give back
//! ```
//!
//! The region must not be mounted: its data are read from the devices past the page cache, on all
//! processors. The first span has the metadata and goes last, so until then a restore that was
//! interrupted is simply begun again: names that are there already are taken as its own, spans that
//! are still there are copied again, and those that were given back had been copied.

mod copy;
mod error;
mod target;
mod tree;

pub use error::RestoreError;

use crate::manifest::{Manifest, Source};
use crate::progress::Progress;
use crate::region::contents::{Bytes, manifest, open_rest, verify};
use crate::region::{Region, discover, release, release_span};
use copy::Copying;
use physmem::PAGE_SIZE;
use regionfs::read::Filesystem;
use std::path::PathBuf;
use target::{Journal, Target};
use tree::Trees;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// The nodes; all if there are none.
    pub names: Vec<String>,
    /// A directory for them, each below its name; by default they go where they came from.
    pub to: Option<PathBuf>,
    /// Keep the region. It is kept as well if not all of its nodes are restored.
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
    let chosen = choose(&manifest, &options.names)?;
    let all = chosen.len() == manifest.sources.len();
    let release = all && !options.keep;
    if region.in_use() {
        return Err(RestoreError::InUse { region: region.uuid });
    }

    let mut journal = Journal::open(region.uuid)?;
    let mut done = Restored::default();
    let mut trees = Trees::default();
    for source in chosen {
        let target = Target::of(source, options.to.as_deref(), &mut journal)?;
        done.nodes.push((source.name.clone(), target.to_string()));
        trees.make(&fs, &source.name, target, &mut journal, &mut done.notes)?;
    }
    let copying = Copying::new(region, &fs, &trees, progress)?;
    copying.refuse_full()?;
    for (i, span) in region.spans.iter().enumerate().rev() {
        done.copied += copying.span(i)?;
        if i > 0 && release {
            let released = release_span(span)?;
            done.returned += released.returned;
            done.left += released.left;
        }
    }
    progress.end();
    trees.attributes(&fs, &mut done.notes)?;
    drop((copying, fs));
    if release {
        let first =
            Region { spans: region.spans.iter().take(1).cloned().collect(), ..region.clone() };
        let released = self::release(&first)?;
        done.returned += released.returned;
        done.left += released.left;
    }
    journal.close();
    Ok(done)
}

/// Refuses a region whose missing spans were not given back by an earlier run.
fn refuse_lost(region: &Region, manifest: &Manifest) -> Result<(), RestoreError> {
    if region.missing.is_empty() {
        return Ok(());
    }
    let released = discover()?.released;
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

fn choose<'a>(manifest: &'a Manifest, names: &[String]) -> Result<Vec<&'a Source>, RestoreError> {
    if names.is_empty() {
        return Ok(manifest.sources.iter().collect());
    }
    let find = |name: &String| {
        let found = manifest.sources.iter().find(|s| s.name == *name);
        found.ok_or_else(|| {
            let names: Vec<_> = manifest.sources.iter().map(|s| s.name.as_str()).collect();
            RestoreError::NoNode { name: name.clone(), names: names.join(", ") }
        })
    };
    names.iter().map(find).collect()
}

/// How many pages fit into so many bytes.
fn pages(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE_SIZE)
}

/// A region's filesystem.
type Fs = Filesystem<Bytes>;
