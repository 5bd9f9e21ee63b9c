//! Where the pages of an object are now.

use crate::attributes::{mark, mark_now, of_file};
use regionfs::Attributes;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat, StatxFlags, major, minor, openat, statx};
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// An object: an inode of the tree that gets its data from pages.
#[derive(Debug)]
pub(crate) struct ObjectFile {
    /// Its inode in the tree.
    pub(crate) node: regionfs::NodeId,
    /// Its size in bytes when it was found.
    pub(crate) size: u64,
    pub(crate) backing: Backing,
}

/// Where the pages are.
#[derive(Debug)]
pub(crate) enum Backing {
    /// In a file that is opened when it is needed: there may be a million.
    Path { dir: u32, name: Box<OsStr>, device: u64, inode: u64, as_found: AsFound },
    /// In open files.
    Open { label: Box<str>, pieces: Vec<Piece> },
}

/// What an inode's attributes were when they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AsFound {
    /// Seconds and nanoseconds; attributes do not change without it.
    ctime: (i64, u32),
    /// By [`mark`].
    mark: u64,
}

impl AsFound {
    pub(super) fn of(attributes: &Attributes) -> Self {
        let ctime = (attributes.ctime.secs, attributes.ctime.nanos);
        Self { ctime, mark: mark(attributes) }
    }

    /// Whether the open file at `path` still has them.
    pub(crate) fn still(&self, stat: &Stat, path: &Path) -> io::Result<bool> {
        let ctime = of_file(stat).ctime;
        Ok((ctime.secs, ctime.nanos) == self.ctime || mark_now(stat, path)? == self.mark)
    }
}

/// A part of an open file.
#[derive(Debug)]
pub(crate) struct Piece {
    /// A description of our own: its offset is moved.
    pub(crate) file: OwnedFd,
    /// Where in the file the part begins, in bytes.
    pub(crate) offset: u64,
    /// Its length in bytes.
    pub(crate) len: u64,
    /// Where in the object it begins, in bytes.
    pub(crate) at: u64,
}

impl ObjectFile {
    /// Whether `stat` is of the file that was found, not of another that took its name.
    pub(crate) fn is(&self, stat: &Stat) -> bool {
        match self.backing {
            Backing::Path { device, inode, .. } => {
                (device_of(stat), stat.st_ino) == (device, inode)
            }
            Backing::Open { .. } => true,
        }
    }
}

fn device_of(stat: &Stat) -> u64 {
    u64::from(major(stat.st_dev)) << 32 | u64::from(minor(stat.st_dev))
}

/// A folder, and when it last changed.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) inode: u64,
    pub(crate) ctime: (i64, u32),
}

impl Folder {
    /// Whether no name in it came or went since.
    pub(crate) fn is_unchanged(&self) -> io::Result<bool> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(CWD, &self.path, flags, Mode::empty())?;
        let stat = statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        let ctime = (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec);
        Ok((stat.stx_ino, ctime) == (self.inode, self.ctime))
    }
}
