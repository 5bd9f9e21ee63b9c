//! Mounting a region where it lies: ext4 with DAX, so that `mmap` reaches the preserved page
//! frames themselves.

use super::discover::Region;
use super::dm::{Part, join, remove};
use super::mountinfo::mounts;
use rustix::mount::MountFlags;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Why a region cannot be mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// A span has no block device.
    #[error("span {index} at {range} has no block device; is the nd_pmem module loaded?")]
    NoDevice {
        /// Which.
        index: u32,
        /// Where.
        range: physmem::PhysRange,
    },
    /// The spans cannot be joined.
    #[error("cannot join {count} spans with dm-linear (module dm_mod): {source}")]
    Join {
        /// How many.
        count: usize,
        /// Why.
        source: io::Error,
    },
    /// The mount point is no directory.
    #[error("{path}: {source}", path = .path.display())]
    MountPoint {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel refuses.
    #[error(
        "cannot mount {device} on {dir} as ext4 with dax=always: {source} \
         (`dmesg` says more; `pkram verify` checks the region)",
        device = .device.display(),
        dir = .dir.display()
    )]
    Mount {
        /// The block device.
        device: PathBuf,
        /// The mount point.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A mounted region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// The block device that carries the filesystem.
    pub device: PathBuf,
    /// Where it is mounted.
    pub dir: PathBuf,
}

/// The device-mapper name of a region of several spans.
pub(super) fn joined_name(region: &Region) -> String {
    format!("pkram-{}", region.uuid)
}

/// The one block device of a region, joining its spans where there are several.
pub(crate) fn block_device(region: &Region) -> Result<PathBuf, MountError> {
    let mut parts = Vec::new();
    for span in &region.spans {
        let Some(device) = &span.device.block else {
            return Err(MountError::NoDevice { index: span.head.index, range: span.head.range });
        };
        parts.push(Part { device, len: span.head.range.len() });
    }
    if let [only] = parts.as_slice() {
        return Ok(only.device.to_owned());
    }
    let name = joined_name(region);
    if let Some(device) = joined(&name) {
        return Ok(device);
    }
    join(&name, &parts).map_err(|source| MountError::Join { count: parts.len(), source })
}

/// The device called `name`, if the spans are joined already.
pub(super) fn joined(name: &str) -> Option<PathBuf> {
    let disks = std::fs::read_dir("/sys/block").ok()?;
    disks.flatten().find_map(|disk| {
        let read = |file| std::fs::read_to_string(disk.path().join(file)).ok();
        let found = read("dm/name")?;
        // Without a table it is what a killed pkram left; joining replaces it.
        let whole = read("size").is_some_and(|size| size.trim() != "0");
        (found.trim() == name && whole).then(|| Path::new("/dev").join(disk.file_name()))
    })
}

/// Undoes the joining of a region's spans, if nothing uses them.
pub(crate) fn part(region: &Region) -> io::Result<()> {
    let name = joined_name(region);
    if joined(&name).is_some() { remove(&name) } else { Ok(()) }
}

/// Mounts `region` on `dir`, in place.
///
/// # Errors
/// A span without a device, a mount point that is no directory, what `mount(2)` says.
pub fn mount(region: &Region, dir: &Path) -> Result<Mounted, MountError> {
    mount_with(region, dir, MountFlags::empty())
}

/// Mounts `region` on `dir`, in place and for reading only.
///
/// # Errors
/// As [`mount`].
pub fn mount_read_only(region: &Region, dir: &Path) -> Result<Mounted, MountError> {
    mount_with(region, dir, MountFlags::RDONLY)
}

fn mount_with(region: &Region, dir: &Path, more: MountFlags) -> Result<Mounted, MountError> {
    let device = block_device(region)?;
    let bad_point = |source| MountError::MountPoint { path: dir.to_owned(), source };
    let dir = dir.canonicalize().map_err(bad_point)?;
    let target = CString::new(dir.as_os_str().as_bytes()).map_err(|e| bad_point(e.into()))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | more;
    rustix::mount::mount(&device, target, c"ext4", flags, c"dax=always").map_err(|e| {
        MountError::Mount { device: device.clone(), dir: dir.clone(), source: e.into() }
    })?;
    Ok(Mounted { device, dir })
}

/// Where `region` is mounted already, if it is.
///
/// # Errors
/// A device that cannot be looked at.
pub fn find_mounted(region: &Region) -> Result<Option<Mounted>, MountError> {
    let joined = joined(&joined_name(region));
    let only = match region.spans.as_slice() {
        [only] => only.device.block.clone(),
        _ => None,
    };
    let Some(device) = joined.or(only) else { return Ok(None) };
    let bad = |source| MountError::MountPoint { path: device.clone(), source };
    let number = rustix::fs::stat(&device).map_err(|e| bad(e.into()))?.st_rdev;
    let table = std::fs::read("/proc/self/mountinfo").map_err(bad)?;
    let whole = mounts(&table).find(|m| m.device == number && m.root == Path::new("/"));
    Ok(whole.map(|m| Mounted { device, dir: m.at }))
}
