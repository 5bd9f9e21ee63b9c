//! Page references: pages of a mapping lent to a pipe that nobody reads.
//!
//! `vmsplice(2)` takes a reference on each page and needs no writable mapping. A page with a
//! reference more than expected is neither migrated (`folio_migrate_mapping`, `mm/migrate.c`) nor
//! reclaimed (`is_page_cache_freeable`, `mm/vmscan.c`) nor collapsed into a huge page
//! (`collapse_file`, `mm/khugepaged.c`).

use super::map::FileMap;
use physmem::{PAGE_BYTES, PAGE_SIZE};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// Pages that one pipe should hold: its table then takes 320 KiB
/// (40 bytes each, `struct pipe_buffer`, `include/linux/pipe_fs_i.h`).
const PAGES_PER_PIPE: usize = 1 << 13;

/// References to page frames. Dropping it lets the pages go.
#[derive(Debug, Default)]
pub(crate) struct PageRefs {
    pipes: Vec<Pipe>,
}

#[derive(Debug)]
struct Pipe {
    _out: OwnedFd,
    into: OwnedFd,
    room: usize,
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Without CAP_SYS_RESOURCE a pipe has at most `fs.pipe-max-size`: then there are more pipes.
        let bytes = match fcntl_setpipe_size(&into, PAGES_PER_PIPE * PAGE_BYTES) {
            Err(Errno::PERM | Errno::NOMEM) => fcntl_setpipe_size(&into, 256 * PAGE_BYTES)?,
            other => other?,
        };
        Ok(Self { _out: out, into, room: bytes / PAGE_BYTES })
    }
}

impl PageRefs {
    /// Takes a reference to every page of a part of `map`. The references outlive the mapping.
    pub(crate) fn hold(&mut self, map: &FileMap, mut offset: u64, mut len: u64) -> io::Result<()> {
        while len > 0 {
            if self.pipes.last().is_none_or(|p| p.room == 0) {
                self.pipes.push(Pipe::new()?);
            }
            let Some(pipe) = self.pipes.last_mut() else { continue };
            let part = len.min(pipe.room as u64 * PAGE_SIZE);
            let iovec = map.iovec(offset, part);
            // SAFETY: the one iovec is part of a live mapping. Its pages may be written by others
            // while the pipe has them, which is as it should be: nobody ever reads the pipe.
            let taken = unsafe {
                libc::vmsplice(pipe.into.as_raw_fd(), &raw const iovec, 1, libc::SPLICE_F_NONBLOCK)
            };
            let taken = usize::try_from(taken).map_err(|_| io::Error::last_os_error())?;
            if taken == 0 || !taken.is_multiple_of(PAGE_BYTES) {
                return Err(io::Error::other(format!("a pipe took {taken} bytes, not pages")));
            }
            pipe.room -= taken / PAGE_BYTES;
            offset += taken as u64;
            len -= taken as u64;
        }
        Ok(())
    }
}
