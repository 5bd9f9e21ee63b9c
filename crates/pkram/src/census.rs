//! Hold and census: pins every page of every source file, and reads which page lies where.
//!
//! ```text
//! file ─► SEEK_DATA ranges ─► map ─► pin (io_uring) ─► pagemap ─► extents
//! ```
//!
//! Page frame numbers are read *after* pinning, because pinning moves pages out of movable zones.
//! A second, unpinned reading ([`Census::changes`]) is the last look before the jump.

use crate::pagemap::{Frame, Pagemap};
use crate::progress::Progress;
use crate::source::Sources;
use crate::sys::{BUFFERS_PER_RING, BYTES_PER_BUFFER, FileMap, Pins};
use physmem::{PAGE_BYTES, PAGE_SIZE, PhysRange, RangeSet};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, UTIME_OMIT, fstat, open,
    seek, utimensat,
};
use rustix::io::Errno;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A run of file pages that is contiguous in the file and in physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageExtent {
    /// First page of the file, in units of 4 KiB.
    pub page: u64,
    /// Page frame number of it.
    pub pfn: u64,
    /// How many pages.
    pub len: u64,
}

/// Where one file lies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileCensus {
    /// Size in bytes.
    pub size: u64,
    /// Its data, ascending by page; what is missing is a hole.
    pub extents: Vec<PageExtent>,
}

/// Where all files lie, in the order of [`Sources::files`].
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// One for each file.
    pub files: Vec<FileCensus>,
}

/// The pins on all pages of a census; dropping it lets the pages move again.
#[derive(Debug, Default)]
pub struct Hold {
    pins: Vec<Pins>,
}

/// Why the sources cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum CensusError {
    /// A file cannot be opened, mapped or read.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program file that runs cannot be opened for writing, which pinning needs.
    #[error("{path} is being executed, so its pages cannot be pinned; stop the program first", path = .path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// io_uring is switched off.
    #[error(
        "io_uring is not allowed here ({source}), and pkram pins pages with it; \
         allow it for this boot with `sysctl kernel.io_uring_disabled=0`"
    )]
    NoIoUring {
        /// What the kernel said.
        source: io::Error,
    },
    /// The pages cannot be pinned.
    #[error("cannot pin {pages} pages, the first of them in {path}: {source}", path = .path.display())]
    Pin {
        /// The first file of the batch.
        path: PathBuf,
        /// How many pages were to be pinned.
        pages: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file changed while it was being read.
    #[error("{path} {change} while it was being read; stop what writes to it and try again", path = .path.display())]
    Unsteady {
        /// The file.
        path: PathBuf,
        /// How.
        change: Change,
    },
}

/// How a file differs from its census.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is gone.
    Gone,
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
    /// All page frames that the files lie in.
    pub fn frames(&self) -> RangeSet {
        let extents = self.files.iter().flat_map(|f| &f.extents);
        extents.filter_map(|e| PhysRange::from_pfn(e.pfn, e.len).ok()).collect()
    }

    /// How many pages there are.
    pub fn pages(&self) -> u64 {
        self.files.iter().flat_map(|f| &f.extents).map(|e| e.len).sum()
    }

    /// How many extents there are.
    pub fn extents(&self) -> u64 {
        self.files.iter().map(|f| f.extents.len() as u64).sum()
    }

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
            let now = match look(&path, &mut pagemap) {
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
        progress.end();
        Ok(None)
    }
}

/// Pins every page of every file and reads where it lies.
pub fn hold(sources: &Sources, progress: &dyn Progress) -> Result<(Hold, Census), CensusError> {
    let mut held = Hold::default();
    let mut census = Census { files: vec![FileCensus::default(); sources.files.len()] };
    let mut pagemap = Pagemap::open().map_err(io_at("/proc/self/pagemap"))?;
    progress.begin("hold", sources.files.iter().map(|f| f.size).sum());
    let mut batch = Batch::default();
    for (i, file) in sources.files.iter().enumerate() {
        let path = sources.path_of(file);
        let fd = open_file(&path, OFlags::RDWR)?;
        let stat = fstat(&fd).map_err(|e| io_at(&path)(e.into()))?;
        let size = u64::try_from(stat.st_size).map_err(io::Error::other).map_err(io_at(&path))?;
        let times = times_of(&stat);
        census.files[i].size = size;
        for data in data_ranges(&fd, size).map_err(io_at(&path))? {
            let map = FileMap::new(fd.as_fd(), data.start, data.len).map_err(io_at(&path))?;
            // Pinning faults pages in one by one; reading maps those around as well, and makes
            // hold a third quicker. What is wrong, the pin will say.
            let _ = map.populate();
            batch.maps.push(map);
            batch.owners.push(Owner { file: i, offset: data.start, times });
            if batch.maps.len() == BUFFERS_PER_RING {
                batch.pin(sources, &mut held, &mut census, &mut pagemap)?;
            }
        }
        progress.advance(size);
    }
    batch.pin(sources, &mut held, &mut census, &mut pagemap)?;
    progress.end();
    check_sizes(sources, &census)?;
    Ok((held, census))
}

/// Mappings that are to be pinned together, with the owner of each.
#[derive(Default)]
struct Batch {
    maps: Vec<FileMap>,
    owners: Vec<Owner>,
}

/// Which part of which file a mapping shows.
#[derive(Clone, Copy)]
struct Owner {
    file: usize,
    offset: u64,
    times: (i64, i64),
}

impl Batch {
    fn pin(
        &mut self,
        sources: &Sources,
        hold: &mut Hold,
        census: &mut Census,
        pagemap: &mut Pagemap,
    ) -> Result<(), CensusError> {
        let Some(&Owner { file: first, .. }) = self.owners.first() else { return Ok(()) };
        let pins = Pins::new(&self.maps).map_err(|source| match source.raw_os_error() {
            Some(libc::EPERM | libc::ENOSYS) => CensusError::NoIoUring { source },
            _ => CensusError::Pin {
                path: sources.path_of(&sources.files[first]),
                pages: self.maps.iter().map(|m| m.len() / PAGE_SIZE).sum(),
                source,
            },
        })?;
        hold.pins.push(pins);
        for (map, owner) in self.maps.iter().zip(&self.owners) {
            let path = || sources.path_of(&sources.files[owner.file]);
            let file = &mut census.files[owner.file];
            zero_tail(map, owner.offset, file.size);
            read_frames(map, owner.offset, &mut file.extents, pagemap)
                .map_err(|e| at_path(e, path))?;
            restore_mtime(&path(), owner.times).map_err(io_at(&path()))?;
        }
        *self = Self::default();
        Ok(())
    }
}

/// Pinning for writing counts as a write, which the file's owner did not make.
fn restore_mtime(path: &Path, (secs, nanos): (i64, i64)) -> io::Result<()> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: secs, tv_nsec: nanos },
    };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// What lies in the last page behind the end of the file is nobody's data, but would show when the
/// file grows on the region filesystem: ext4 relies on zeros there.
fn zero_tail(map: &FileMap, offset: u64, size: u64) {
    let end = offset + map.len();
    if (end - PAGE_SIZE + 1..end).contains(&size) {
        let tail = usize::try_from(end - size).unwrap_or(0);
        map.write(size - offset, &[0; PAGE_BYTES][..tail]);
    }
}

/// Looks where a file lies now, without pinning or changing anything.
fn look(path: &Path, pagemap: &mut Pagemap) -> Result<FileCensus, CensusError> {
    // Writable, as every mapping of ours, but only ever read through.
    let fd = open_file(path, OFlags::RDWR)?;
    let size = size_of(&fd).map_err(io_at(path))?;
    let mut extents = Vec::new();
    for data in data_ranges(&fd, size).map_err(io_at(path))? {
        let map = FileMap::new(fd.as_fd(), data.start, data.len).map_err(io_at(path))?;
        read_frames(&map, data.start, &mut extents, pagemap)
            .map_err(|e| at_path(e, || path.to_owned()))?;
    }
    Ok(FileCensus { size, extents })
}

enum FrameError {
    Io(io::Error),
    Lost { offset: u64 },
}

fn at_path(error: FrameError, path: impl Fn() -> PathBuf) -> CensusError {
    match error {
        FrameError::Io(source) => CensusError::Io { path: path(), source },
        FrameError::Lost { offset } => {
            CensusError::Unsteady { path: path(), change: Change::Frames { offset } }
        }
    }
}

/// Appends the extents of one mapping to those of its file.
fn read_frames(
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

struct DataRange {
    start: u64,
    len: u64,
}

/// The parts of a file that hold data, page-aligned, none longer than one buffer may be.
fn data_ranges(fd: &OwnedFd, size: u64) -> io::Result<Vec<DataRange>> {
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

/// A file that grew or shrank between the reading of its size and its pin.
fn check_sizes(sources: &Sources, census: &Census) -> Result<(), CensusError> {
    for (file, held) in sources.files.iter().zip(&census.files) {
        if file.size != held.size {
            let change = Change::Size { was: file.size, now: held.size };
            return Err(CensusError::Unsteady { path: sources.path_of(file), change });
        }
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

fn open_file(path: &Path, access: OFlags) -> Result<OwnedFd, CensusError> {
    let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOATIME;
    open(path, flags, Mode::empty()).map_err(|e| match e {
        Errno::TXTBSY => CensusError::Busy { path: path.to_owned() },
        e => CensusError::Io { path: path.to_owned(), source: e.into() },
    })
}

#[expect(clippy::cast_possible_wrap, reason = "nanoseconds are below a billion")]
fn times_of(stat: &Stat) -> (i64, i64) {
    (stat.st_mtime, stat.st_mtime_nsec as i64)
}

fn size_of(fd: &OwnedFd) -> io::Result<u64> {
    u64::try_from(fstat(fd)?.st_size).map_err(io::Error::other)
}

fn io_at<P: AsRef<Path> + ?Sized>(path: &P) -> impl Fn(io::Error) -> CensusError + '_ {
    move |source| CensusError::Io { path: path.as_ref().to_owned(), source }
}

#[cfg(test)]
mod tests {
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
