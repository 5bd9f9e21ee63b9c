//! Mounts of the daemon's own: memory stays mounted for it when the shutdown unmounts it.
//!
//! ```text
//! the system      /  /home (disk)  /srv/cache (tmpfs)  ─► unmounted, clean
//! the daemon      /                /srv/cache (tmpfs)  ─► there until the jump
//! ```
//!
//! An unmounted tmpfs has no files any more, whoever holds their pages. And a disk that the daemon
//! still had mounted would not be unmounted cleanly, so it lets those go.

use crate::journal::Event;
use anyhow::Context as _;
use nix::sched::{CloneFlags, unshare};
use pkram::region::mountinfo::{Mount, mounts};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use std::fs;
use std::path::Path;

/// Filesystems that keep no disk busy.
const OF_MEMORY: [&[u8]; 14] = [
    b"tmpfs",
    b"ramfs",
    b"hugetlbfs",
    b"devtmpfs",
    b"proc",
    b"sysfs",
    b"cgroup",
    b"cgroup2",
    b"devpts",
    b"mqueue",
    b"debugfs",
    b"tracefs",
    b"securityfs",
    b"configfs",
];

/// Goes on with mounts of its own. Done by the only thread that there is then.
pub(crate) fn own_mounts() -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("unshare the mounts")?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).context("make the mounts private")
}

/// Lets go of all [own mounts](own_mounts) but those of memory, and the root. From then on a path to
/// another disk leads to what it covered: nothing is to be read there or written any more.
pub(crate) fn let_disks_go() -> anyhow::Result<()> {
    let table = fs::read("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    let all: Vec<_> = mounts(&table).collect();
    for mount in all.iter().filter(|mount| is_to_go(mount, &all)) {
        if let Err(error) = unmount(&mount.at, UnmountFlags::DETACH) {
            // It may have gone with one above it.
            if error != rustix::io::Errno::INVAL && error != rustix::io::Errno::NOENT {
                let at = mount.at.display();
                Event::Note.tell(&format!("{at} may not be unmounted cleanly: {error}"));
            }
        }
    }
    Ok(())
}

/// Whether it is a disk's, with no memory mounted below it.
fn is_to_go(mount: &Mount, all: &[Mount]) -> bool {
    let of_memory = |mount: &Mount| OF_MEMORY.contains(&mount.kind.as_slice());
    let mut below = all.iter().filter(|m| m.at != mount.at && m.at.starts_with(&mount.at));
    mount.at != Path::new("/") && !of_memory(mount) && !below.any(of_memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_go_unless_memory_is_mounted_below_them() {
        let table = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            23 22 8:2 / /home rw - ext4 /dev/sda2 rw\n\
            24 22 8:3 / /var rw - ext4 /dev/sda3 rw\n\
            25 24 0:21 / /var/cache rw - tmpfs tmpfs rw\n\
            26 22 0:22 / /srv/cache rw shared:7 - tmpfs tmpfs rw\n\
            27 22 259:0 / /run/pkram/regions/x rw - ext4 /dev/pmem0 rw\n\
            28 22 0:30 / /net rw - nfs4 server:/ rw\n";
        let all: Vec<_> = mounts(table).collect();
        let gone: Vec<_> = all.iter().filter(|mount| is_to_go(mount, &all)).collect();
        let gone: Vec<_> = gone.iter().filter_map(|mount| mount.at.to_str()).collect();
        assert_eq!(gone, ["/home", "/run/pkram/regions/x", "/net"]);
    }
}
