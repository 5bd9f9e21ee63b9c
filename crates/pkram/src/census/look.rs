//! The last look: whether every file is still as the census found it.

use super::frames::{Part, populate, read_frames};
use super::stamp::Stamp;
use super::view::{TASK_BYTES, View, views};
use super::{Census, CensusError, FileCensus, io_at};
use crate::nodes::{Backing, ObjectFile, Save};
use crate::pagemap::Pagemap;
use crate::progress::Progress;
use crate::workers::{each, processors};
use physmem::PAGE_SIZE;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// How a file differs from its census.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is gone, or another took its name.
    Gone,
    /// It is a folder, and names in it came or went.
    Names,
    /// It has another size now.
    Size {
        /// Bytes at the census.
        was: u64,
        /// Bytes now.
        now: u64,
    },
    /// Its permissions, owner or extended attributes.
    Attributes,
    /// A page lies elsewhere, came or went.
    Frames {
        /// Offset in the file of the first such page.
        offset: u64,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("disappeared"),
            Self::Names => f.write_str("got or lost names"),
            Self::Attributes => f.write_str("got other permissions, owner or extended attributes"),
            Self::Size { was, now } if now < was => {
                write!(f, "shrank from {was} to {now} bytes")
            }
            Self::Size { was, now } => write!(f, "grew from {was} to {now} bytes"),
            Self::Frames { offset } => {
                write!(f, "got other page frames at offset {offset:#x}")
            }
        }
    }
}

/// Why looking at one object ended.
enum End {
    Changed(PathBuf, Change),
    Failed(CensusError),
}

impl From<CensusError> for End {
    fn from(error: CensusError) -> Self {
        match error {
            CensusError::Unsteady { path, change } => Self::Changed(path, change),
            CensusError::Io { path, source } if source.kind() == io::ErrorKind::NotFound => {
                Self::Changed(path, Change::Gone)
            }
            error => Self::Failed(error),
        }
    }
}

impl Census {
    /// The last look: finds an object that is not as it was. That bytes changed in place does not
    /// matter. What size, blocks and times show to be untouched is not read again.
    ///
    /// # Errors
    /// An object that cannot be opened, mapped or read.
    pub fn changes(
        &self,
        save: &Save,
        progress: &dyn Progress,
    ) -> Result<Option<(PathBuf, Change)>, CensusError> {
        self.compare(save, false, progress)
    }

    /// The last look at every page, whatever the times say.
    ///
    /// # Errors
    /// As [`Self::changes`].
    pub fn changes_in_full(
        &self,
        save: &Save,
        progress: &dyn Progress,
    ) -> Result<Option<(PathBuf, Change)>, CensusError> {
        self.compare(save, true, progress)
    }

    fn compare(
        &self,
        save: &Save,
        full: bool,
        progress: &dyn Progress,
    ) -> Result<Option<(PathBuf, Change)>, CensusError> {
        progress.begin("last look", save.files.len() as u64);
        let make = || Pagemap::open().map_err(|e| End::Failed(io_at("/proc/self/pagemap")(e)));
        let looked = each(save.files.len(), processors(), make, |pagemap, i| {
            let (object, before) = (&save.files[i], &self.files[i]);
            if let Some(change) = look(save, object, before, full, pagemap)? {
                return Err(End::Changed(save.path_of(object), change));
            }
            progress.advance(1);
            Ok(())
        });
        match looked {
            Ok(_) => {}
            Err(End::Changed(path, change)) => return Ok(Some((path, change))),
            Err(End::Failed(error)) => return Err(error),
        }
        for folder in &save.folders {
            match folder.is_unchanged() {
                Ok(true) => {}
                Ok(false) => return Ok(Some((folder.path.clone(), Change::Names))),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    return Ok(Some((folder.path.clone(), Change::Gone)));
                }
                Err(e) => return Err(io_at(&folder.path)(e)),
            }
        }
        progress.end();
        Ok(None)
    }
}

/// Looks whether an object is as it was, without holding or changing anything.
fn look(
    save: &Save,
    object: &ObjectFile,
    before: &FileCensus,
    full: bool,
    pagemap: &mut Pagemap,
) -> Result<Option<Change>, CensusError> {
    let path = || save.path_of(object);
    let Some(views) = views(save, object)? else { return Ok(Some(Change::Gone)) };
    let mut same = !full && views.len() == before.stamps.len();
    for (view, was) in views.iter().zip(&before.stamps) {
        let stat = view.stat().map_err(|e| io_at(&path())(e))?;
        if let Backing::Path { as_found, .. } = &object.backing
            && !as_found.still(&stat, &path()).map_err(|e| io_at(&path())(e))?
        {
            return Ok(Some(Change::Attributes));
        }
        let now = Stamp::new(&stat);
        if was.size != now.size {
            return Ok(Some(Change::Size { was: was.size, now: now.size }));
        }
        // hugetlbfs does not change the ctime of a file when a hole is punched.
        same &= view.page == PAGE_SIZE && was.proves_the_same(&now);
    }
    // Blocks without data (`fallocate(2)`) may get some without a trace.
    let blocks: u64 = before.stamps.iter().map(|s| s.blocks * 512).sum();
    let data: u64 = before.extents.iter().map(|e| e.len * PAGE_SIZE).sum();
    if same && blocks == data {
        return Ok(None);
    }
    let mut now = FileCensus { size: before.size, ..FileCensus::default() };
    for view in &views {
        read_again(view, &mut now, pagemap, path)?;
    }
    Ok(difference(before, &now))
}

fn read_again(
    view: &View<'_>,
    now: &mut FileCensus,
    pagemap: &mut Pagemap,
    path: impl Fn() -> PathBuf,
) -> Result<(), CensusError> {
    for data in view.data(TASK_BYTES).map_err(|e| io_at(&path())(e))? {
        let map = view.map(&data).map_err(|e| io_at(&path())(e))?;
        let at = data.start - view.offset + view.at;
        let part = Part { offset: 0, len: map.len(), at, page: view.page };
        populate(&map, part).map_err(|e| e.at_path(&path))?;
        read_frames(&map, part, &mut now.extents, pagemap).map_err(|e| e.at_path(&path))?;
    }
    Ok(())
}

fn difference(before: &FileCensus, now: &FileCensus) -> Option<Change> {
    if before.size != now.size {
        return Some(Change::Size { was: before.size, now: now.size });
    }
    let (a, b) = (&before.extents, &now.extents);
    let same = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let page = match (a.get(same), b.get(same)) {
        // They begin alike, so they differ where the shorter one ends.
        (Some(x), Some(y)) if x.page == y.page && x.pfn == y.pfn => x.page + x.len.min(y.len),
        (x, y) => [x, y].into_iter().flatten().map(|e| e.page).min()?,
    };
    Some(Change::Frames { offset: page * PAGE_SIZE })
}

#[cfg(test)]
mod tests {
    use super::super::PageExtent;
    use super::*;

    fn census(extents: &[(u64, u64, u64)]) -> FileCensus {
        let extents = extents.iter().map(|&(page, pfn, len)| PageExtent { page, pfn, len });
        FileCensus { size: 1 << 20, extents: extents.collect(), ..FileCensus::default() }
    }

    #[test]
    fn names_the_first_page_that_differs() {
        let before = census(&[(0, 100, 10), (20, 500, 10)]);
        let at = |now: &[(u64, u64, u64)]| match difference(&before, &census(now)) {
            Some(Change::Frames { offset }) => Some(offset / PAGE_SIZE),
            other => {
                assert_eq!(other, None);
                None
            }
        };
        assert_eq!(at(&[(0, 100, 10), (20, 500, 10)]), None);
        assert_eq!(at(&[(0, 100, 4), (5, 105, 5), (20, 500, 10)]), Some(4));
        assert_eq!(at(&[(0, 100, 10), (20, 501, 10)]), Some(20));
        assert_eq!(at(&[(0, 100, 10)]), Some(20));
        assert_eq!(at(&[(0, 100, 10), (12, 7, 1), (20, 500, 10)]), Some(12));
        let grown = FileCensus { size: 2 << 20, ..before.clone() };
        let size = Change::Size { was: 1 << 20, now: 2 << 20 };
        assert_eq!(difference(&before, &grown), Some(size));
    }
}
