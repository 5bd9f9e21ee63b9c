//! Which filesystem a path lies on, and whether its pages are memory and nothing else.

use rustix::fs::{FsWord, fstatfs};
use std::fs;
use std::io;
use std::os::fd::AsFd;

/// `TMPFS_MAGIC`, `include/uapi/linux/magic.h`.
const TMPFS_MAGIC: FsWord = 0x0102_1994;

/// Whether `fd` lies on tmpfs, whose files have no other home than memory and swap.
pub(super) fn is_tmpfs(fd: impl AsFd) -> io::Result<bool> {
    Ok(fstatfs(fd)?.f_type == TMPFS_MAGIC)
}

/// The type and mount point of the filesystem on device `major:minor`, e.g. `ext4, mounted on /`,
/// from `/proc/self/mountinfo` (`Documentation/filesystems/proc.rst` §3.5).
pub(super) fn describe(major: u32, minor: u32) -> String {
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
