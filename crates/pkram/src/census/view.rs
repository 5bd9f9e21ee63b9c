//! The files of one object, opened: where its data are, and what may be done to them.

use super::{CensusError, io_at};
use crate::filesystem::{Kind, kind_of};
use crate::nodes::{Backing, ObjectFile, Save};
use crate::sys::{Access, BYTES_PER_BUFFER, FileMap, resident};
use physmem::PAGE_SIZE;
use rustix::fs::{
    Mode, OFlags, SealFlags, SeekFrom, Stat, fcntl_get_seals, fcntl_getfl, fstat, open, seek,
};
use rustix::io::Errno;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// A part of an object, in one open file.
#[derive(Clone, Debug)]
pub(super) struct View<'a> {
    file: Handle<'a>,
    /// Where the part begins in the file, in bytes.
    pub(super) offset: u64,
    /// Its length in bytes.
    pub(super) len: u64,
    /// Where it begins in the object, in bytes.
    pub(super) at: u64,
    /// Bytes in a page of the file: 4 KiB, or that of its hugetlbfs.
    pub(super) page: u64,
    /// What mappings of it can be.
    pub(super) access: Access,
}

#[derive(Clone, Debug)]
enum Handle<'a> {
    Own(Arc<OwnedFd>),
    Lent(&'a OwnedFd),
}

impl AsFd for View<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.file {
            Handle::Own(file) => file.as_fd(),
            Handle::Lent(file) => file.as_fd(),
        }
    }
}

/// Opens the files of an object; that of a path must still be the one that was found.
pub(super) fn views<'a>(
    save: &Save,
    object: &'a ObjectFile,
) -> Result<Option<Vec<View<'a>>>, CensusError> {
    let path = || save.path_of(object);
    let view = |file: Handle<'a>, offset: u64, len, at| -> io::Result<View<'a>> {
        let mut view = View { file, offset, len, at, page: PAGE_SIZE, access: Access::Write };
        view.access = access(&view)?;
        if let Kind::Hugetlbfs { page } = kind_of(&view)? {
            view.page = page;
            // A mapping of its last page would make it grow (`hugetlbfs_file_mmap`).
            let size = size(&view.stat()?)?;
            if !size.is_multiple_of(page) {
                let why = format!("{size} bytes are not whole huge pages of {page}; truncate it");
                return Err(io::Error::other(why));
            }
        }
        Ok(view)
    };
    match &object.backing {
        Backing::Path { .. } => {
            let path = path();
            let file = open_file(&path).map_err(io_at(&path))?;
            let stat = fstat(&file).map_err(io::Error::from).map_err(io_at(&path))?;
            if !object.is(&stat) {
                return Ok(None);
            }
            let len = size(&stat).map_err(io_at(&path))?;
            let view = view(Handle::Own(Arc::new(file)), 0, len, 0).map_err(io_at(&path))?;
            Ok(Some(vec![view]))
        }
        Backing::Open { pieces, .. } => {
            let views = pieces.iter().map(|p| view(Handle::Lent(&p.file), p.offset, p.len, p.at));
            Ok(Some(views.collect::<io::Result<_>>().map_err(io_at(&path()))?))
        }
    }
}

/// Opens for writing, which pins need, or where that cannot be, such as for a program that runs,
/// for reading.
fn open_file(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOATIME;
    Ok(open(path, flags | OFlags::RDWR, Mode::empty()).or_else(|e| match e {
        Errno::TXTBSY | Errno::ROFS => open(path, flags | OFlags::RDONLY, Mode::empty()),
        e => Err(e),
    })?)
}

/// A seal against writing forbids writable mappings (`memfd_create(2)`).
fn access(view: &View<'_>) -> io::Result<Access> {
    let read_only = fcntl_getfl(view)? & OFlags::ACCMODE == OFlags::RDONLY;
    let seals = fcntl_get_seals(view).unwrap_or(SealFlags::empty());
    let sealed = seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE);
    Ok(if read_only || sealed { Access::Read } else { Access::Write })
}

pub(super) fn size(stat: &Stat) -> io::Result<u64> {
    u64::try_from(stat.st_size).map_err(io::Error::other)
}

impl View<'_> {
    /// What `stat(2)` says of the file now.
    pub(super) fn stat(&self) -> io::Result<Stat> {
        Ok(fstat(self)?)
    }

    /// Maps a part of the file.
    pub(super) fn map(&self, part: &Range<u64>) -> io::Result<FileMap> {
        FileMap::new(self.as_fd(), part.start, part.end - part.start, self.access)
    }

    /// The parts of the file that hold data of this view: whole pages, none longer than `most`,
    /// which is a multiple of every page size.
    pub(super) fn data(&self, most: u64) -> io::Result<Vec<Range<u64>>> {
        let end = (self.offset + self.len).next_multiple_of(self.page);
        let data = if self.page > PAGE_SIZE { self.huge(end)? } else { self.sought(end)? };
        let cut = |r: Range<u64>| {
            let starts = (r.start..r.end).step_by(usize::try_from(most).unwrap_or(usize::MAX));
            starts.map(move |start| start..r.end.min(start + most))
        };
        Ok(data.into_iter().flat_map(cut).collect())
    }

    /// By `SEEK_DATA` and `SEEK_HOLE`.
    fn sought(&self, end: u64) -> io::Result<Vec<Range<u64>>> {
        let mut found = Vec::new();
        let mut at = self.offset;
        while at < end {
            let start = match seek(self, SeekFrom::Data(at)) {
                Ok(start) => start & !(PAGE_SIZE - 1),
                Err(Errno::NXIO) => break,
                Err(e) => return Err(e.into()),
            };
            let hole = seek(self, SeekFrom::Hole(start.max(at))).or_else(|e| match e {
                // Truncated between the two calls: the size check will say so.
                Errno::NXIO => Ok(start),
                e => Err(e),
            })?;
            let stop = hole.next_multiple_of(PAGE_SIZE).min(end);
            if start.max(self.offset) < stop {
                found.push(start.max(self.offset)..stop);
            }
            at = hole.max(at + 1);
        }
        Ok(found)
    }

    /// hugetlbfs knows no holes by seeking. A file that has as many blocks as its size has none.
    fn huge(&self, end: u64) -> io::Result<Vec<Range<u64>>> {
        if self.offset == end {
            return Ok(Vec::new());
        }
        let stat = self.stat()?;
        let blocks = u64::try_from(stat.st_blocks).map_err(io::Error::other)?;
        if blocks.checked_mul(512) == Some(size(&stat)?) {
            return Ok(std::iter::once(self.offset..end).collect());
        }
        let map = self.map(&(self.offset..end))?;
        let found = resident(&map, self.page)?;
        Ok(found.into_iter().map(|r| self.offset + r.start..self.offset + r.end).collect())
    }
}

/// Data of one file that are handed to one thread at a time, in bytes.
pub(super) const TASK_BYTES: u64 = BYTES_PER_BUFFER;
