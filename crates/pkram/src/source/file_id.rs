//! Which file it is, whatever it is called.

use rustix::fs::Statx;

/// A file, as long as it is open or has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// Major and minor number.
    device: (u32, u32),
    inode: u64,
}

impl FileId {
    /// The one that this was asked of; `statx(2)` tells device and inode whatever the mask.
    #[must_use]
    pub fn of(stat: &Statx) -> Self {
        Self { device: (stat.stx_dev_major, stat.stx_dev_minor), inode: stat.stx_ino }
    }
}
