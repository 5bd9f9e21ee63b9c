//! The last look: whether every file is still as the census found it.

use super::file::{at_path, data_ranges, open_file, read_frames};
use super::{Census, CensusError, FileCensus, io_at};
use crate::pagemap::Pagemap;
use crate::progress::Progress;
use crate::source::{SourceFile, Sources};
use crate::sys::FileMap;
use physmem::PAGE_SIZE;
use rustix::fs::fstat;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

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

impl Census {
    /// The last look: reads everything again and finds the first file that is not as it was. That
    /// bytes changed in place does not matter.
    pub fn changes(
        &self,
        sources: &Sources,
        progress: &dyn Progress,
    ) -> Result<Option<(PathBuf, Change)>, CensusError> {
        let mut pagemap = Pagemap::open().map_err(io_at("/proc/self/pagemap"))?;
        progress.begin("last look", sources.files.len() as u64);
        for (file, before) in sources.files.iter().zip(&self.files) {
            let path = sources.path_of(file);
            let now = match look(file, &path, &mut pagemap) {
                Err(CensusError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    return Ok(Some((path, Change::Gone)));
                }
                Err(CensusError::Unsteady { path, change }) => return Ok(Some((path, change))),
                other => other?,
            };
            if let Some(change) = difference(before, &now) {
                return Ok(Some((path, change)));
            }
            progress.advance(1);
        }
        for folder in &sources.folders {
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

/// Looks where a file lies now, without pinning or changing anything.
fn look(file: &SourceFile, path: &Path, pagemap: &mut Pagemap) -> Result<FileCensus, CensusError> {
    let fd = open_file(path)?;
    let stat = fstat(&fd).map_err(io::Error::from).map_err(io_at(path))?;
    if !file.is(&stat) {
        return Err(CensusError::Unsteady { path: path.to_owned(), change: Change::Gone });
    }
    let size = u64::try_from(stat.st_size).map_err(io::Error::other).map_err(io_at(path))?;
    let mut extents = Vec::new();
    for data in data_ranges(&fd, size).map_err(io_at(path))? {
        let map = FileMap::new(fd.as_fd(), data.start, data.len).map_err(io_at(path))?;
        read_frames(&map, data.start, &mut extents, pagemap)
            .map_err(|e| at_path(e, || path.to_owned()))?;
    }
    Ok(FileCensus { size, extents })
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
        FileCensus { size: 1 << 20, extents: extents.collect() }
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
