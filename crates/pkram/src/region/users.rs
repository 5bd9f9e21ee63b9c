//! Who uses a region: asked of `/proc`, for the message that refuses to release it.
//!
//! | in `/proc/PID` | tells |
//! |---|---|
//! | `mountinfo` | mounts, in every mount namespace that a process lives in |
//! | `maps` | mapped files of the region's filesystem, also after a lazy unmount |
//! | `fd/`, `cwd`, `root` | open files of it, the block device itself, working directories |
//!
//! The kernel's own word is an exclusive open of the device; this only finds out names.

use super::mountinfo::{device_number, mounts, unescaped};
use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, makedev, statx};
use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// At most so many users are named.
const NAMED: usize = 12;

/// Something that uses a device or the filesystem on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The process, and for a mount the first one found that sees it.
    pub pid: u32,
    /// Its command, as in `/proc/PID/comm`.
    pub command: String,
    /// What it does with the device.
    pub how: Use,
}

/// How a device is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Use {
    /// The filesystem is mounted there, in the process's mount namespace.
    Mounted {
        /// Where.
        at: PathBuf,
        /// Whether it is another mount namespace than ours.
        elsewhere: bool,
    },
    /// A file of the filesystem is mapped.
    Maps(PathBuf),
    /// A file of the filesystem is open.
    Opened(PathBuf),
    /// The working or root directory lies in the filesystem.
    WorksIn(PathBuf),
    /// The block device itself is open.
    Device(PathBuf),
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, command, how } = self;
        match how {
            Use::Mounted { at, elsewhere: false } => write!(f, "mounted on {}", at.display()),
            Use::Mounted { at, elsewhere: true } => write!(
                f,
                "mounted on {} in the mount namespace of process {pid} ({command})",
                at.display()
            ),
            Use::Maps(path) => write!(f, "process {pid} ({command}) maps {}", path.display()),
            Use::Opened(path) => {
                write!(f, "process {pid} ({command}) has {} open", path.display())
            }
            Use::WorksIn(path) => write!(f, "process {pid} ({command}) is in {}", path.display()),
            Use::Device(path) => {
                write!(f, "process {pid} ({command}) has the device {} open", path.display())
            }
        }
    }
}

/// Users, for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Users(pub Vec<User>);

impl fmt::Display for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return write!(
                f,
                "no process shows it: perhaps swap, a loop or a device-mapper device on it"
            );
        }
        let named: Vec<_> = self.0.iter().take(NAMED).map(ToString::to_string).collect();
        write!(f, "{}", named.join("; "))?;
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// All users of the block devices with the numbers `devices`. Processes that end meanwhile, and
/// those that may not be looked at, are left out.
pub(super) fn users_of(devices: &HashSet<u64>) -> Vec<User> {
    let own = mount_namespace("self");
    let mut seen = HashSet::new();
    let mut users = Vec::new();
    let myself = std::process::id();
    for pid in processes() {
        let name = pid.to_string();
        let command = fs::read_to_string(proc(&name, "comm")).unwrap_or_default();
        let mut add = |how| {
            let user = User { pid, command: command.trim_end().to_owned(), how };
            if !users.contains(&user) {
                users.push(user);
            }
        };
        let namespace = mount_namespace(&name);
        if namespace.is_some() && seen.insert(namespace.clone()) {
            let text = fs::read(proc(&name, "mountinfo")).unwrap_or_default();
            let elsewhere = namespace != own;
            let ours = mounts(&text).filter(|m| devices.contains(&m.device));
            ours.for_each(|m| add(Use::Mounted { at: m.at, elsewhere }));
        }
        if pid == myself {
            continue;
        }
        let text = fs::read(proc(&name, "maps")).unwrap_or_default();
        maps(&text, devices).into_iter().for_each(|path| add(Use::Maps(path)));
        for link in ["cwd", "root"] {
            if let Some(Found::File(path)) = look(&proc(&name, link), devices) {
                add(Use::WorksIn(path));
            }
        }
        for fd in fs::read_dir(proc(&name, "fd")).into_iter().flatten().flatten() {
            match look(&fd.path(), devices) {
                Some(Found::File(path)) => add(Use::Opened(path)),
                Some(Found::Device(path)) => add(Use::Device(path)),
                None => {}
            }
        }
    }
    users
}

fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<_> =
        entries.filter_map(|e| e.file_name().to_str().and_then(|n| n.parse().ok())).collect();
    pids.sort_unstable();
    pids
}

fn proc(pid: &str, file: &str) -> PathBuf {
    Path::new("/proc").join(pid).join(file)
}

fn mount_namespace(pid: &str) -> Option<PathBuf> {
    fs::read_link(proc(pid, "ns/mnt")).ok()
}

enum Found {
    File(PathBuf),
    Device(PathBuf),
}

/// What a link of `/proc/PID` leads to, if that is on one of the devices or is one. Asks nobody
/// but the kernel's own memory: a file server that does not answer must not hang us.
fn look(link: &Path, devices: &HashSet<u64>) -> Option<Found> {
    let flags = AtFlags::STATX_DONT_SYNC;
    let stat = statx(CWD, link, flags, StatxFlags::TYPE).ok()?;
    let path = fs::read_link(link).ok()?;
    let on = makedev(stat.stx_dev_major, stat.stx_dev_minor);
    let is = makedev(stat.stx_rdev_major, stat.stx_rdev_minor);
    let block = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::BlockDevice;
    if block && devices.contains(&is) {
        Some(Found::Device(path))
    } else {
        devices.contains(&on).then_some(Found::File(path))
    }
}

/// Mapped files on the devices, each once: `ADDRESSES PERMS OFFSET MAJOR:MINOR INODE  PATH`, the
/// numbers hexadecimal (proc(5), maps).
fn maps(maps: &[u8], devices: &HashSet<u64>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in maps.split(|&b| b == b'\n') {
        let mut words = line.splitn(6, |&b| b == b' ');
        let Some(on) = words.nth(3).and_then(|w| device_number(w, 16)) else { continue };
        if devices.contains(&on) {
            let path = unescaped(words.nth(1).unwrap_or_default().trim_ascii_start());
            if !found.contains(&path) {
                found.push(path);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices() -> HashSet<u64> {
        HashSet::from([makedev(259, 3)])
    }

    #[test]
    fn reads_maps_as_the_kernel_writes_them() {
        let text = b"5581-5582 r-xp 00000000 103:03 18                         /mnt/a b/run me\n\
            5583-5584 rw-p 00001000 103:03 18                         /mnt/a b/run me\n\
            7f00-7f01 rw-s 00000000 00:01 5                          /memfd:x (deleted)\n\
            7f02-7f03 rw-p 00000000 00:00 0 \nrubbish";
        assert_eq!(maps(text, &devices()), [PathBuf::from("/mnt/a b/run me")]);
    }

    #[test]
    fn finds_this_process_by_what_it_has_open() {
        // Another process than the one that asks: users of ours are not looked for in ourselves.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("open");
        let file = fs::File::create(&path).unwrap();
        let mut child = std::process::Command::new("sleep").arg("100").stdin(file).spawn().unwrap();
        let stat = rustix::fs::stat(&path).unwrap();
        let users = users_of(&HashSet::from([stat.st_dev]));
        child.kill().unwrap();
        child.wait().unwrap();
        let how = Use::Opened(path);
        let found = users.iter().find(|u| u.pid == child.id() && u.how == how);
        assert_eq!(found.map(|u| u.command.as_str()), Some("sleep"), "{users:?}");
    }

    #[test]
    fn names_some_and_counts_the_rest() {
        let user = |pid| User { pid, command: "x".into(), how: Use::Maps("/f".into()) };
        let text = Users((0..15).map(user).collect()).to_string();
        assert!(text.contains("process 11 (x) maps /f; and 3 more"), "{text}");
        assert!(Users(Vec::new()).to_string().contains("no process shows it"));
    }
}
