//! The kernel's persistent-memory devices, by physical address.
//!
//! Each e820 entry of type 12 becomes a platform device, a region and one label-less namespace
//! (`drivers/nvdimm/e820.c`); a namespace in raw mode has a block device `pmemN`. The numbers
//! differ from kernel to kernel, so a device is known by its `resource`, never by its name.

use physmem::{E820Type, PhysRange};
use rustix::fs::{Advice, Mode, OFlags};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::machine::{self, MachineError};

/// How long devices may take to appear after their modules are loaded.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a namespace may be without a driver before none is expected: drivers take hold of it
/// at once, whatever time they then need.
const HOLD: Duration = Duration::from_secs(2);

/// A namespace of persistent memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The namespace in sysfs, e.g. `/sys/bus/nd/devices/namespace0.0`.
    pub sysfs: PathBuf,
    /// Where it lies.
    pub range: PhysRange,
    /// Its block device, e.g. `/dev/pmem0`, if it has one now.
    pub block: Option<PathBuf>,
    /// What has claimed it instead, in sysfs: device-dax or btt.
    pub holder: Option<PathBuf>,
}

impl Device {
    /// Whether a driver has taken hold of the namespace, ready or not.
    pub(super) fn has_driver(&self) -> bool {
        self.sysfs.join("driver").exists()
    }

    /// Opens the block device for writing, as a filesystem would: fails with `EBUSY` if anything
    /// else has it.
    pub(crate) fn open_exclusive(&self) -> io::Result<File> {
        let path = self.block.as_deref().ok_or(io::ErrorKind::NotFound)?;
        let flags = OFlags::RDWR | OFlags::EXCL | OFlags::CLOEXEC;
        Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
    }
}

/// Why devices cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// A file of sysfs cannot be read.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The memory map cannot be read.
    #[error(transparent)]
    Machine(#[from] MachineError),
}

/// All namespaces of type-12 memory, once every such range of the memory map has its device,
/// or time is up. Loads the drivers where they are missing.
pub fn devices() -> Result<Vec<Device>, DeviceError> {
    let wanted: Vec<_> = machine::booted_map()?.of_type(E820Type::Pram).iter().collect();
    let start = Instant::now();
    let mut asked = false;
    loop {
        let found = present()?;
        let late = start.elapsed() > HOLD;
        let settled =
            |d: &Device| d.block.is_some() || d.holder.is_some() || (late && !d.has_driver());
        let complete = wanted.iter().all(|w| {
            // Neighbouring spans are devices of their own.
            let inside: Vec<_> = found.iter().filter(|d| w.contains_range(d.range)).collect();
            let bytes: u64 = inside.iter().map(|d| d.range.len()).sum();
            bytes == w.len() && inside.into_iter().all(settled)
        });
        if complete || start.elapsed() > PATIENCE {
            return Ok(found);
        }
        if !asked {
            load_drivers();
            asked = true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The namespaces that there are now, by address. NVDIMMs, which the firmware describes by itself
/// (`drivers/acpi/nfit/core.c`), are on another bus and never ours.
fn present() -> Result<Vec<Device>, DeviceError> {
    let bus = Path::new("/sys/bus/nd/devices");
    let entries = match fs::read_dir(bus) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(io_at(bus))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let sysfs = entry.map_err(io_at(bus))?.path();
        let name = sysfs.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with("namespace") || !is_legacy(&sysfs) {
            continue;
        }
        // Seed devices have no resource; a device that vanishes meanwhile is no device.
        let (Some(start), Some(len)) = (hex(&sysfs.join("resource")), number(&sysfs.join("size")))
        else {
            continue;
        };
        let Ok(range) = PhysRange::from_len(start, len) else { continue };
        let (block, holder) = (block_device(&sysfs), holder(&sysfs));
        found.push(Device { sysfs, range, block, holder });
    }
    found.sort_by_key(|d| d.range);
    Ok(found)
}

/// Whether the namespace is memory of type 12: the bus above its region says who made it
/// (`drivers/nvdimm/e820.c`).
fn is_legacy(sysfs: &Path) -> bool {
    let Ok(real) = sysfs.canonicalize() else { return false };
    let bus = real.ancestors().nth(2).unwrap_or(&real);
    fs::read_to_string(bus.join("provider")).is_ok_and(|provider| provider.trim() == "e820")
}

/// The device that has taken the namespace, so that it has no block device.
fn holder(sysfs: &Path) -> Option<PathBuf> {
    let name = fs::read_to_string(sysfs.join("holder")).ok()?;
    let name = name.trim();
    (!name.is_empty() && !name.contains('/')).then(|| Path::new("/sys/bus/nd/devices").join(name))
}

fn block_device(sysfs: &Path) -> Option<PathBuf> {
    let entry = fs::read_dir(sysfs.join("block")).ok()?.next()?.ok()?;
    let node = Path::new("/dev").join(entry.file_name());
    node.exists().then_some(node)
}

/// Best effort: on a system with udev the drivers are loaded already, and a missing `modprobe`
/// shows as missing devices.
fn load_drivers() {
    let _ = Command::new("modprobe")
        .args(["-a", "-q", "nd_e820", "nd_pmem"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// Opens a device for reading what it carries now. A filesystem on a device-mapper device above writes
/// past this one's cache, in which pages that were read before stay as long as that device holds it.
pub(super) fn open_fresh(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
    Ok(file)
}

fn hex(path: &Path) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    u64::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> DeviceError + '_ {
    move |source| DeviceError::Io { path: path.to_owned(), source }
}
