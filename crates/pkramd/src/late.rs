//! Why a jump failed, told to the next boot: by then the journal is gone and the disk that has
//! [`STATE`] can only be read, so that is opened to writing once more, for one small file.
//!
//! ```text
//! pkramd jump ─► pkramd note-failure WHY (a process of its own) ─► remount, write, sync, remount
//!             waits so long, and then goes on: a disk that hangs must not hold up the reboot
//! ```

use crate::attempt::{Attempt, STATE};
use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{StatVfsMountFlags, statvfs, sync};
use rustix::mount::{MountFlags, mount_remount};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::process::Command;

/// How long one small file may take.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// Has `why` noted, for as long as that may take.
pub(crate) fn note_failure(why: &str) -> anyhow::Result<()> {
    let child = Command::new("/proc/self/exe").args(["note-failure", why]).spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("no process")?;
    let gone = pidfd_open(pid, PidfdFlags::empty())?;
    // Nobody waits for the process: systemd-shutdown, which is process 1, does.
    poll(&mut [PollFd::new(&gone, PollFlags::IN)], Some(&PATIENCE))?;
    Ok(())
}

/// Notes it, beside what the stage has noted: where nothing of that shows now, the folder is not on the
/// root filesystem, which alone is still mounted, or nobody may write there.
pub(crate) fn write_failure(why: &str) -> anyhow::Result<()> {
    if !Attempt::is_noted() {
        return Ok(());
    }
    let was_read_only = statvfs(STATE)?.f_flag.contains(StatVfsMountFlags::RDONLY);
    if was_read_only {
        mount_remount("/", MountFlags::empty(), "").context("write to the root filesystem")?;
    }
    let noted = Attempt::fail(why).context(STATE);
    if was_read_only {
        sync();
        mount_remount("/", MountFlags::RDONLY, "").context("make it read-only again")?;
    }
    noted
}
