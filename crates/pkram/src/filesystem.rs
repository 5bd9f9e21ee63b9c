//! Which filesystem something lies on, and whether its pages are memory and nothing else.

use rustix::fs::{FsWord, fstat, fstatfs, major, minor};
use std::fs;
use std::io;
use std::os::fd::AsFd;

/// `TMPFS_MAGIC`, `include/uapi/linux/magic.h`.
const TMPFS_MAGIC: FsWord = 0x0102_1994;

/// `HUGETLBFS_MAGIC`, `include/uapi/linux/magic.h`.
const HUGETLBFS_MAGIC: FsWord = 0x9584_58f6;

/// What files on a filesystem are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Memory and swap: tmpfs, memfds, SysV segments.
    Tmpfs,
    /// Huge pages of this many bytes.
    Hugetlbfs {
        /// Bytes in a page.
        page: u64,
    },
    /// Something else.
    Other,
}

impl Kind {
    /// Bytes in a page of its files, as far as those are memory.
    pub(crate) const fn page(self) -> u64 {
        match self {
            Self::Hugetlbfs { page } => page,
            Self::Tmpfs | Self::Other => physmem::PAGE_SIZE,
        }
    }
}

/// What kind of filesystem `fd` lies on.
///
/// # Errors
/// What `fstatfs(2)` says.
pub fn kind_of(fd: impl AsFd) -> io::Result<Kind> {
    let stat = fstatfs(fd)?;
    Ok(match stat.f_type {
        TMPFS_MAGIC => Kind::Tmpfs,
        // hugetlbfs reports its page size as the block size (`hugetlbfs_statfs`).
        HUGETLBFS_MAGIC => {
            Kind::Hugetlbfs { page: u64::try_from(stat.f_bsize).map_err(io::Error::other)? }
        }
        _ => Kind::Other,
    })
}

/// What filesystem `fd` lies on, for messages.
pub(crate) fn describe_fd(fd: impl AsFd) -> io::Result<String> {
    let device = fstat(fd)?.st_dev;
    Ok(describe(major(device), minor(device)))
}

/// The type and mount point of the filesystem on device `major:minor`, e.g. `ext4, mounted on /`,
/// from `/proc/self/mountinfo` (`Documentation/filesystems/proc.rst` §3.5).
#[must_use]
pub fn describe(major: u32, minor: u32) -> String {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    find(&table, major, minor).unwrap_or_else(|| "an unknown filesystem".to_owned())
}

fn find(table: &str, major: u32, minor: u32) -> Option<String> {
    let device = format!("{major}:{minor}");
    table.lines().rev().find_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ');
        let found = front.nth(2)? == device;
        let mount_point = front.nth(1)?;
        let kind = back.split(' ').next()?;
        found.then(|| format!("{kind}, mounted on {mount_point}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_filesystem_of_a_device() {
        let table = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
                     25 22 0:22 / /dev/shm rw,nosuid - tmpfs tmpfs rw\n";
        assert_eq!(find(table, 254, 0).as_deref(), Some("ext4, mounted on /"));
        assert_eq!(find(table, 0, 22).as_deref(), Some("tmpfs, mounted on /dev/shm"));
        assert_eq!(find(table, 0, 23), None);
    }
}
