//! What `stat(2)` says of a file, to see later whether its pages can have changed.

use super::view::View;
use rustix::fs::{Stat, Timespec, Timestamps, UTIME_OMIT, futimens};
use std::io;

/// What changes when pages come, go or are replaced.
///
/// A hole that is punched changes the ctime (`shmem_truncate_range`, `mm/shmem.c`), a truncation
/// that and the size, and a page that is put into a hole the number of blocks. Plain writes through
/// a mapping change nothing, and `write(2)` the ctime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) size: u64,
    /// Units of 512 bytes.
    pub(super) blocks: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
    /// The clock of file times (`current_time`, `fs/inode.c`) when it was taken, in nanoseconds.
    taken: i128,
}

impl Stamp {
    #[expect(
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        reason = "no size, count or nanosecond is negative or large"
    )]
    pub(super) fn new(stat: &Stat) -> Self {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        Self {
            size: stat.st_size as u64,
            blocks: stat.st_blocks as u64,
            mtime: (stat.st_mtime, stat.st_mtime_nsec as i64),
            ctime: (stat.st_ctime, stat.st_ctime_nsec as i64),
            taken: nanos((now.tv_sec, now.tv_nsec)),
        }
    }

    /// Whether no page of a file that had this stamp once and has `now` was replaced since. A change
    /// in the tick in which the stamp was taken may not show.
    pub(super) fn proves_the_same(&self, now: &Self) -> bool {
        let settled = nanos(self.ctime) < self.taken;
        settled && (self.size, self.blocks, self.ctime) == (now.size, now.blocks, now.ctime)
    }
}

fn nanos((secs, nanos): (i64, i64)) -> i128 {
    i128::from(secs) * 1_000_000_000 + i128::from(nanos)
}

/// Where a page had to be faulted in for writing to be pinned, that counts as a write, which the
/// file's owner did not make. A file that was written a moment ago may be written now: then its
/// time is left alone, so that no real write is hidden.
pub(super) fn restore_mtime(view: &View<'_>, before: &Stamp) -> io::Result<()> {
    let now = Stamp::new(&view.stat()?);
    if now.mtime == before.mtime || now.taken - nanos(before.mtime) < 2_000_000_000 {
        return Ok(());
    }
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let last_modification = Timespec { tv_sec: before.mtime.0, tv_nsec: before.mtime.1 };
    Ok(futimens(view, &Timestamps { last_access, last_modification })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_within_a_tick_proves_nothing() {
        let stamp =
            |ctime: (i64, i64), taken| Stamp { size: 4096, blocks: 8, mtime: (0, 0), ctime, taken };
        let old = stamp((100, 0), 101_000_000_000);
        assert!(old.proves_the_same(&stamp((100, 0), 999_000_000_000)));
        assert!(!old.proves_the_same(&stamp((100, 1), 999_000_000_000)));
        assert!(!old.proves_the_same(&Stamp { blocks: 16, ..old }));
        let fresh = stamp((100, 0), 100_000_000_000);
        assert!(!fresh.proves_the_same(&fresh));
    }
}
