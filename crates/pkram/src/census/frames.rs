//! Page frame numbers of a mapping's pages, as extents of the object.

use super::{CensusError, Change, PageExtent};
use crate::pagemap::{Frame, Pagemap};
use crate::sys::FileMap;
use physmem::PAGE_SIZE;
use std::io;
use std::path::PathBuf;

/// A part of a mapping, and where in the object it belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Where in the mapping it begins, in bytes.
    pub(super) offset: u64,
    /// Its length in bytes.
    pub(super) len: u64,
    /// Where in the object it begins, in bytes.
    pub(super) at: u64,
    /// Bytes in a page.
    pub(super) page: u64,
}

pub(super) enum FrameError {
    Io(io::Error),
    /// A page went away; where in the object.
    Lost(u64),
}

impl FrameError {
    pub(super) fn at_path(self, path: impl Fn() -> PathBuf) -> CensusError {
        match self {
            Self::Io(source) => CensusError::Io { path: path(), source },
            Self::Lost(offset) => {
                CensusError::Unsteady { path: path(), change: Change::Frames { offset } }
            }
        }
    }
}

/// Maps the pages for reading. Those around each are mapped with it, so that what comes after
/// need not fault them in one by one.
pub(super) fn populate(map: &FileMap, part: Part) -> Result<(), FrameError> {
    map.populate(part.offset, part.len).map_err(|e| match e.raw_os_error() {
        Some(libc::EFAULT) => FrameError::Lost(part.at),
        _ => FrameError::Io(e),
    })
}

/// Appends the extents of a part that was populated to those of its object.
pub(super) fn read_frames(
    map: &FileMap,
    part: Part,
    extents: &mut Vec<PageExtent>,
    pagemap: &mut Pagemap,
) -> Result<(), FrameError> {
    let mut found = Vec::new();
    match try_read(map, part, &mut found, pagemap) {
        Err(FrameError::Lost(_)) => {
            // A pinned page may be missing from the page table for a moment; reading maps the same
            // frame again.
            found.clear();
            populate(map, part)?;
            try_read(map, part, &mut found, pagemap)?;
        }
        done => done?,
    }
    found.into_iter().for_each(|extent| push(extents, extent));
    Ok(())
}

fn try_read(
    map: &FileMap,
    part: Part,
    extents: &mut Vec<PageExtent>,
    pagemap: &mut Pagemap,
) -> Result<(), FrameError> {
    let (mut page, len) = (part.at / PAGE_SIZE, part.page / PAGE_SIZE);
    let mut lost = None;
    let each = |frame| {
        match frame {
            Frame::Absent => lost = lost.or(Some(page)),
            Frame::Present(pfn) => push(extents, PageExtent { page, pfn, len }),
        }
        page += len;
    };
    let address = map.address() + part.offset;
    pagemap.read(address, part.len, part.page, each).map_err(FrameError::Io)?;
    lost.map_or(Ok(()), |page| Err(FrameError::Lost(page * PAGE_SIZE)))
}

/// Appends an extent, as part of the last one where it continues it.
pub(super) fn push(extents: &mut Vec<PageExtent>, next: PageExtent) {
    match extents.last_mut() {
        Some(last) if last.page + last.len == next.page && last.pfn + last.len == next.pfn => {
            last.len += next.len;
        }
        _ => extents.push(next),
    }
}
