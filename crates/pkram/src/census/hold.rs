//! Hold: pins every page of every file, and reads where it lies.

use super::file::{at_path, data_ranges, open_file, read_frames};
use super::look::Change;
use super::{Census, CensusError, FileCensus, io_at};
use crate::pagemap::Pagemap;
use crate::progress::Progress;
use crate::source::Sources;
use crate::sys::{BUFFERS_PER_RING, FileMap, Pins};
use physmem::PAGE_SIZE;
use rustix::fs::{AtFlags, CWD, Stat, Timespec, Timestamps, UTIME_OMIT, fstat, utimensat};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

/// The pins on all pages of a census; dropping it lets the pages move again.
#[derive(Debug, Default)]
pub struct Hold {
    pins: Vec<Pins>,
}

/// Memory that is pinned at once, so that progress shows.
const BATCH_BYTES: u64 = 4 << 30;

/// Pins every page of every file and reads where it lies.
pub fn hold(sources: &Sources, progress: &dyn Progress) -> Result<(Hold, Census), CensusError> {
    let mut held = Hold::default();
    let mut census = Census { files: vec![FileCensus::default(); sources.files.len()] };
    let mut pagemap = Pagemap::open().map_err(io_at("/proc/self/pagemap"))?;
    progress.begin("hold", sources.files.iter().map(|f| f.size).sum());
    let mut batch = Batch::default();
    for (i, file) in sources.files.iter().enumerate() {
        let path = sources.path_of(file);
        let fd = open_file(&path)?;
        let stat = fstat(&fd).map_err(|e| io_at(&path)(e.into()))?;
        if !file.is(&stat) {
            return Err(CensusError::Unsteady { path, change: Change::Gone });
        }
        let size = u64::try_from(stat.st_size).map_err(io::Error::other).map_err(io_at(&path))?;
        census.files[i].size = size;
        let mut holes = size;
        for data in data_ranges(&fd, size).map_err(io_at(&path))? {
            let map = FileMap::new(fd.as_fd(), data.start, data.len).map_err(io_at(&path))?;
            // Pinning faults pages in one by one; reading maps those around as well, and makes
            // hold a third quicker. What is wrong, the pin will say.
            let _ = map.populate();
            holes = holes.saturating_sub(data.len);
            batch.bytes += data.len;
            batch.maps.push(map);
            batch.owners.push(Owner { file: i, offset: data.start, mtime: mtime_of(&stat) });
            if batch.maps.len() == BUFFERS_PER_RING || batch.bytes >= BATCH_BYTES {
                progress.advance(batch.bytes);
                batch.pin(sources, &mut held, &mut census, &mut pagemap)?;
            }
        }
        progress.advance(holes);
    }
    batch.pin(sources, &mut held, &mut census, &mut pagemap)?;
    progress.end();
    check_sizes(sources, &census)?;
    Ok((held, census))
}

/// Mappings that are to be pinned together, with the owner of each.
#[derive(Default)]
struct Batch {
    bytes: u64,
    maps: Vec<FileMap>,
    owners: Vec<Owner>,
}

/// Which part of which file a mapping shows, and when that file was last written.
#[derive(Clone, Copy)]
struct Owner {
    file: usize,
    offset: u64,
    mtime: Timespec,
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
            read_frames(map, owner.offset, &mut file.extents, pagemap)
                .map_err(|e| at_path(e, path))?;
            restore_mtime(&path(), owner.mtime).map_err(io_at(&path()))?;
        }
        *self = Self::default();
        Ok(())
    }
}

/// Pinning for writing counts as a write, which the file's owner did not make. A file that was
/// written a moment ago may be written now: then its time is left alone, so that no real write is
/// hidden.
fn restore_mtime(path: &Path, mtime: Timespec) -> io::Result<()> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    if now.tv_sec.saturating_sub(mtime.tv_sec) < 2 {
        return Ok(());
    }
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let times = Timestamps { last_access, last_modification: mtime };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
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

#[expect(clippy::cast_possible_wrap, reason = "nanoseconds are below a billion")]
fn mtime_of(stat: &Stat) -> Timespec {
    Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as i64 }
}
