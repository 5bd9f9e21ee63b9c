//! Hold: pins every page of every file, and reads where it lies.

use super::file::{at_path, data_ranges, open_file, read_frames};
use super::look::Change;
use super::{Census, CensusError, FileCensus, io_at};
use crate::pagemap::Pagemap;
use crate::progress::Progress;
use crate::source::Sources;
use crate::sys::{BUFFERS_PER_RING, FileMap, Pins};
use physmem::{PAGE_BYTES, PAGE_SIZE};
use rustix::fs::{AtFlags, CWD, Stat, Timespec, Timestamps, UTIME_OMIT, fstat, utimensat};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

/// The pins on all pages of a census; dropping it lets the pages move again.
#[derive(Debug, Default)]
pub struct Hold {
    pins: Vec<Pins>,
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
        let fd = open_file(&path)?;
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
fn times_of(stat: &Stat) -> (i64, i64) {
    (stat.st_mtime, stat.st_mtime_nsec as i64)
}
