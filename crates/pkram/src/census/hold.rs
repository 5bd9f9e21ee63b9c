//! Hold: takes every page of every object, and reads where it lies.

use super::frames::{Part, populate, push, read_frames};
use super::grip::{Grip, pins_work};
use super::stamp::{Stamp, restore_mtime};
use super::view::{TASK_BYTES, View, views};
use super::{Census, CensusError, FileCensus, PageExtent, io_at};
use crate::nodes::{Backing, ObjectFile, Save};
use crate::pagemap::Pagemap;
use crate::progress::Progress;
use crate::workers::{each, processors};
use physmem::PAGE_SIZE;
use std::io;
use std::ops::Range;

use super::look::Change;

/// What holds all pages of a census; dropping it lets them move again.
#[derive(Debug, Default)]
pub struct Hold {
    grips: Vec<Grip>,
}

/// How much is held, and how, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Held {
    /// Pinned by io_uring.
    pub pinned: u64,
    /// Kept by a reference to each page: no writable mapping, or no io_uring.
    pub referenced: u64,
}

impl Hold {
    /// How much is held, and how.
    #[must_use]
    pub fn held(&self) -> Held {
        self.grips.iter().fold(Held::default(), |sum, grip| Held {
            pinned: sum.pinned + grip.bytes.0,
            referenced: sum.referenced + grip.bytes.1,
        })
    }
}

/// How to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// Threads; as many as there are processors if it is 0.
    pub threads: usize,
    /// Keep pages by references even where they could be pinned.
    pub no_pins: bool,
}

/// Objects above this size are shared between threads, in bytes.
const LARGE: u64 = 64 << 20;

/// What is taken at once, in bytes: what the kernel knows of so many pages stays in the
/// processor's cache from the mapping of a page to the reading of its frame.
const CHUNK: u64 = 2 << 20;

/// A large object that several threads work on.
struct Large<'a> {
    file: usize,
    before: Vec<Stamp>,
    views: Vec<View<'a>>,
}

/// A part of a large object for one thread.
struct Task {
    large: usize,
    view: usize,
    part: Range<u64>,
}

/// What one thread has found.
struct Worker {
    pagemap: Pagemap,
    grip: Grip,
    files: Vec<(usize, FileCensus)>,
    parts: Vec<(usize, Vec<PageExtent>)>,
}

/// Holds every page of every object, and reads where it lies.
///
/// # Errors
/// An object that cannot be opened, mapped or held, or that changed meanwhile.
pub fn hold(
    save: &Save,
    manner: Manner,
    progress: &dyn Progress,
) -> Result<(Hold, Census), CensusError> {
    let pins = !manner.no_pins && pins_work()?;
    let threads = if manner.threads == 0 { processors() } else { manner.threads };
    progress.begin("hold", save.files.iter().map(|f| f.size).sum());
    let (larges, tasks) = split(save)?;
    let is_large = |f: &ObjectFile| f.size > LARGE || matches!(f.backing, Backing::Open { .. });
    let small: Vec<usize> = (0..save.files.len()).filter(|&i| !is_large(&save.files[i])).collect();
    let make = || {
        let pagemap = Pagemap::open().map_err(io_at("/proc/self/pagemap"))?;
        let grip = Grip::default();
        Ok(Worker { pagemap, grip, files: Vec::new(), parts: Vec::new() })
    };
    let work = |worker: &mut Worker, i: usize| match tasks.get(i) {
        Some(task) => {
            let large = &larges[task.large];
            let path = || save.path_of(&save.files[large.file]);
            let mut extents = Vec::new();
            worker.take(&large.views[task.view], &task.part, pins, &mut extents, path)?;
            progress.advance(task.part.end - task.part.start);
            worker.parts.push((large.file, extents));
            Ok(())
        }
        None => {
            let file = small[i - tasks.len()];
            progress.advance(save.files[file].size);
            worker.small(save, file, pins)
        }
    };
    let workers = each(tasks.len() + small.len(), threads, make, work)?;
    let mut census = Census { files: vec![FileCensus::default(); save.files.len()] };
    let mut hold = Hold::default();
    let mut parts = Vec::new();
    for worker in workers {
        worker.files.into_iter().for_each(|(i, file)| census.files[i] = file);
        parts.extend(worker.parts);
        hold.grips.push(worker.grip);
    }
    parts.sort_unstable_by_key(|(file, extents)| (*file, extents.first().map(|e| e.page)));
    for (file, extents) in parts {
        let known = &mut census.files[file].extents;
        extents.into_iter().for_each(|extent| push(known, extent));
    }
    for large in larges {
        let object = &save.files[large.file];
        let file = &mut census.files[large.file];
        (file.size, file.page) =
            (object.size, large.views.iter().map(|v| v.page).max().unwrap_or(PAGE_SIZE));
        settle(save, object, &large.views, &large.before)?;
        file.stamps = large.before;
    }
    progress.end();
    census.refuse_shared(save)?;
    Ok((hold, census))
}

/// Opens the large objects and cuts them into tasks.
fn split(save: &Save) -> Result<(Vec<Large<'_>>, Vec<Task>), CensusError> {
    let (mut larges, mut tasks) = (Vec::new(), Vec::new());
    for (i, object) in save.files.iter().enumerate() {
        if object.size <= LARGE && matches!(object.backing, Backing::Path { .. }) {
            continue;
        }
        let path = save.path_of(object);
        let views = views(save, object)?.ok_or_else(|| gone(save, object))?;
        let before = stamps(save, object, &views)?;
        for (v, view) in views.iter().enumerate() {
            let data = view.data(TASK_BYTES).map_err(io_at(&path))?;
            let large = larges.len();
            tasks.extend(data.into_iter().map(|part| Task { large, view: v, part }));
        }
        larges.push(Large { file: i, before, views });
    }
    Ok((larges, tasks))
}

impl Worker {
    /// Takes all of a small object.
    fn small(&mut self, save: &Save, i: usize, pins: bool) -> Result<(), CensusError> {
        let object = &save.files[i];
        let path = || save.path_of(object);
        let views = views(save, object)?.ok_or_else(|| gone(save, object))?;
        let before = stamps(save, object, &views)?;
        let mut file = FileCensus { size: object.size, ..FileCensus::default() };
        for view in &views {
            file.page = view.page;
            for part in view.data(TASK_BYTES).map_err(|e| io_at(&path())(e))? {
                self.take(view, &part, pins, &mut file.extents, path)?;
            }
        }
        settle(save, object, &views, &before)?;
        // Those from before any frame was read: what changed since is looked at again.
        file.stamps = before;
        self.files.push((i, file));
        Ok(())
    }

    /// Maps, takes and reads one part of a file.
    fn take(
        &mut self,
        view: &View<'_>,
        part: &Range<u64>,
        pins: bool,
        extents: &mut Vec<PageExtent>,
        path: impl Fn() -> std::path::PathBuf,
    ) -> Result<(), CensusError> {
        let map = view.map(part).map_err(|e| io_at(&path())(e))?;
        let chunk = CHUNK.max(view.page);
        let mut offset = 0;
        while offset < map.len() {
            let len = chunk.min(map.len() - offset);
            let at = part.start + offset - view.offset + view.at;
            let chunk = Part { offset, len, at, page: view.page };
            populate(&map, chunk).map_err(|e| e.at_path(&path))?;
            self.grip.take(&map, chunk, pins).map_err(|source| CensusError::Hold {
                path: path(),
                pages: len / PAGE_SIZE,
                source,
            })?;
            read_frames(&map, chunk, extents, &mut self.pagemap).map_err(|e| e.at_path(&path))?;
            offset += len;
        }
        self.grip.keep(map);
        Ok(())
    }
}

fn stamps(save: &Save, object: &ObjectFile, views: &[View<'_>]) -> Result<Vec<Stamp>, CensusError> {
    let stamps = views.iter().map(|v| Ok(Stamp::new(&v.stat()?)));
    stamps.collect::<io::Result<_>>().map_err(|e| io_at(&save.path_of(object))(e))
}

/// Sees that the object has the size it was found with, and puts back the time that pinning may
/// have changed.
fn settle(
    save: &Save,
    object: &ObjectFile,
    views: &[View<'_>],
    before: &[Stamp],
) -> Result<(), CensusError> {
    let at = |e| io_at(&save.path_of(object))(e);
    for (view, before) in views.iter().zip(before) {
        restore_mtime(view, before).map_err(at)?;
    }
    let after = stamps(save, object, views)?;
    let whole = matches!(object.backing, Backing::Path { .. });
    for (before, after) in before.iter().zip(&after) {
        let was = if whole { object.size } else { before.size };
        if was != after.size {
            let change = Change::Size { was, now: after.size };
            return Err(CensusError::Unsteady { path: save.path_of(object), change });
        }
    }
    Ok(())
}

fn gone(save: &Save, object: &ObjectFile) -> CensusError {
    CensusError::Unsteady { path: save.path_of(object), change: Change::Gone }
}
