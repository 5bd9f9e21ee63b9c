//! One file: opened, its data found, its page frames read.

use super::look::Change;
use super::{CensusError, PageExtent};
use crate::pagemap::{Frame, Pagemap};
use crate::sys::{BYTES_PER_BUFFER, FileMap};
use physmem::PAGE_SIZE;
use rustix::fs::{Mode, OFlags, SeekFrom, open, seek};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Opens a file for writing, which pins and all mappings of ours need.
pub(super) fn open_file(path: &Path) -> Result<OwnedFd, CensusError> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOATIME;
    open(path, flags, Mode::empty()).map_err(|e| match e {
        Errno::TXTBSY => CensusError::Busy { path: path.to_owned() },
        e => CensusError::Io { path: path.to_owned(), source: e.into() },
    })
}

pub(super) enum FrameError {
    Io(io::Error),
    Lost { offset: u64 },
}

pub(super) fn at_path(error: FrameError, path: impl Fn() -> PathBuf) -> CensusError {
    match error {
        FrameError::Io(source) => CensusError::Io { path: path(), source },
        FrameError::Lost { offset } => {
            CensusError::Unsteady { path: path(), change: Change::Frames { offset } }
        }
    }
}

/// Appends the extents of one mapping to those of its file.
pub(super) fn read_frames(
    map: &FileMap,
    offset: u64,
    extents: &mut Vec<PageExtent>,
    pagemap: &mut Pagemap,
) -> Result<(), FrameError> {
    // Pinned pages may be missing from the page table; reading maps the same frame again.
    map.populate().map_err(|e| match e.raw_os_error() {
        Some(libc::EFAULT) => FrameError::Lost { offset },
        _ => FrameError::Io(e),
    })?;
    let mut page = offset / PAGE_SIZE;
    let mut lost = None;
    let each = |frame| {
        match (frame, extents.last_mut()) {
            (Frame::Absent, _) => lost = lost.or(Some(page)),
            (Frame::Present(pfn), Some(last))
                if last.page + last.len == page && last.pfn + last.len == pfn =>
            {
                last.len += 1;
            }
            (Frame::Present(pfn), _) => extents.push(PageExtent { page, pfn, len: 1 }),
        }
        page += 1;
    };
    pagemap.read(map.address(), map.len(), each).map_err(FrameError::Io)?;
    match lost {
        Some(page) => Err(FrameError::Lost { offset: page * PAGE_SIZE }),
        None => Ok(()),
    }
}

/// A part of a file that holds data.
pub(super) struct DataRange {
    pub(super) start: u64,
    pub(super) len: u64,
}

/// The parts of a file that hold data, page-aligned, none longer than one buffer may be.
pub(super) fn data_ranges(fd: &OwnedFd, size: u64) -> io::Result<Vec<DataRange>> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match seek(fd, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(e) => return Err(e.into()),
        };
        let hole = seek(fd, SeekFrom::Hole(start)).or_else(|e| match e {
            // Truncated between the two calls: the size check will say so.
            Errno::NXIO => Ok(start),
            e => Err(e),
        })?;
        let (mut from, end) = (start & !(PAGE_SIZE - 1), hole.next_multiple_of(PAGE_SIZE));
        while from < end {
            let len = (end - from).min(BYTES_PER_BUFFER);
            ranges.push(DataRange { start: from, len });
            from += len;
        }
        at = hole.max(start + 1);
    }
    Ok(ranges)
}
