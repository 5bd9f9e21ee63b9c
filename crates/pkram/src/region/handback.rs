//! The way of a released span back to System RAM while the system runs.
//!
//! ```text
//! nd_pmem namespace ─unbind─► device-dax (info block at +4 KiB, data from +2 MiB) ─► kmem ─► System RAM
//! ```
//!
//! All of it by sysfs (`drivers/nvdimm/dax_devs.c`, `drivers/dax/bus.c`, `drivers/dax/kmem.c`). Only
//! whole memory blocks come back; the rest does at the next kexec. The info block carries a UUID
//! that says which memory this is, as the head does: the head cannot be read any more, and a kernel
//! started by another tool finds the info block and makes a device of it again.
//!
//! Every step looks at what is there already, so that a release that was killed can be finished.

use super::device::Device;
use physmem::PhysRange;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use uuid::{Uuid, uuid};

/// What device-dax takes at the start of a namespace for its info block when pages are mapped
/// with 2 MiB alignment (`nd_pfn_init`, `drivers/nvdimm/pfn_devs.c`).
const DAX_HEAD: u64 = 2 << 20;

/// The namespace (RFC 9562, §6.5) of the UUIDs in info blocks of released spans.
const RELEASED_SPANS: Uuid = uuid!("d31e6c3c-5a05-4c2e-8f0e-6f1b8a7c9d24");

/// The drivers on the way.
const ND_PMEM: &str = "/sys/bus/nd/drivers/nd_pmem";
const DAX_PMEM: &str = "/sys/bus/nd/drivers/dax_pmem";
const KMEM: &str = "/sys/bus/dax/drivers/kmem";

/// How long a device may take to appear or to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why memory does not come back while the system runs.
#[derive(Debug, thiserror::Error)]
pub enum HandBackError {
    /// A file of sysfs refused.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A driver is missing or does not answer.
    #[error("{what} did not appear within {seconds} seconds; is the module {module} there?", seconds = PATIENCE.as_secs())]
    Absent {
        /// What was waited for.
        what: String,
        /// What makes it.
        module: &'static str,
    },
    /// The kernel knows no node for it: without an SRAT it knows one only for what lies below the
    /// last byte of RAM.
    #[error("{range} lies above all RAM and belongs to no NUMA node")]
    NoNode {
        /// The span.
        range: PhysRange,
    },
}

/// The UUID in the info block of the released span at `range`.
fn uuid_of(range: PhysRange) -> Uuid {
    Uuid::new_v5(&RELEASED_SPANS, range.to_string().as_bytes())
}

/// Whether what has claimed the device is a hand-back of ours.
pub(super) fn is_ours(device: &Device) -> bool {
    let uuid = device.holder.as_ref().and_then(|h| fs::read_to_string(h.join("uuid")).ok());
    uuid.is_some_and(|text| text.trim().parse() == Ok(uuid_of(device.range)))
}

/// The part of a span that can come back while the system runs: whole memory blocks behind the
/// space that device-dax needs.
pub(super) fn returnable(span: PhysRange, block: u64) -> Option<PhysRange> {
    PhysRange::new(span.start() + DAX_HEAD, span.end()).ok()?.align_inward(block)
}

/// How much of a released span is System RAM now.
pub(super) fn given_back(span: PhysRange, block: u64) -> u64 {
    let Some(range) = returnable(span, block) else { return 0 };
    let online = |state: &PathBuf| read(state).is_ok_and(|s| s == "online");
    states(range, block).filter(online).map(|_| block).sum()
}

/// Sees that the drivers are there.
pub(super) fn prepare() -> Result<(), HandBackError> {
    for (module, driver) in [("dax_pmem", DAX_PMEM), ("kmem", KMEM)] {
        // Best effort, as with the drivers of the devices themselves.
        let _ = Command::new("modprobe")
            .args(["-q", module])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        wait_for(Path::new(driver), module)?;
    }
    Ok(())
}

/// Makes the whole memory blocks of a released span System RAM.
pub(super) fn hand_back(device: &Device, block: u64) -> Result<(), HandBackError> {
    let Some(range) = returnable(device.range, block) else { return Ok(()) };
    let claim = claim(device)?;
    if !claim.join("driver").exists() {
        write(&Path::new(DAX_PMEM).join("bind"), &name_of(&claim))?;
    }
    let dax = dax_device(&claim)?;
    let place = Path::new("/sys/bus/dax/devices").join(&dax);
    if read(&place.join("target_node")).is_ok_and(|node| node == "-1") {
        return Err(HandBackError::NoNode { range: device.range });
    }
    let bound = place.join("driver");
    if !bound.canonicalize().is_ok_and(|d| d.ends_with("kmem")) {
        if bound.exists() {
            write(&bound.join("unbind"), &dax)?;
        }
        write(&Path::new(KMEM).join("new_id"), &dax)?;
    }
    // Older kernels leave it to us to bring the blocks online.
    for state in states(range, block) {
        wait_for(&state, "kmem")?;
        if read(&state)? == "offline" {
            write(&state, "online")?;
        }
    }
    Ok(())
}

/// Makes a namespace that was left without a driver a block device again, so that its head can be
/// read; says whether it did. Changes no content.
pub(super) fn wake(device: &Device) -> bool {
    let taken = device.block.is_some() || device.holder.is_some();
    !taken
        && !device.has_driver()
        && write(&Path::new(ND_PMEM).join("bind"), &name_of(&device.sysfs)).is_ok()
}

/// Claims the namespace for device-dax, unless that is done, and returns what claims it.
fn claim(device: &Device) -> Result<PathBuf, HandBackError> {
    if let Some(holder) = &device.holder {
        return Ok(holder.clone());
    }
    let namespace = name_of(&device.sysfs);
    let real = device.sysfs.canonicalize().map_err(io_at(&device.sysfs))?;
    let region = real.parent().unwrap_or(Path::new("/"));
    if device.has_driver() {
        write(&Path::new(ND_PMEM).join("unbind"), &namespace)?;
    }
    let seed = region.join(read(&region.join("dax_seed"))?);
    write(&seed.join("align"), &DAX_HEAD.to_string())?;
    write(&seed.join("mode"), "ram")?;
    write(&seed.join("uuid"), &uuid_of(device.range).to_string())?;
    write(&seed.join("namespace"), &namespace)?;
    Ok(seed)
}

/// The device-dax instance, e.g. `dax0.0`, that a bound `nd` dax device has.
fn dax_device(claim: &Path) -> Result<String, HandBackError> {
    let real = claim.canonicalize().map_err(io_at(claim))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = find_below(&real, 3, &|name| {
            name.strip_prefix("dax").is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()))
        });
        match found {
            Some(device) => return Ok(device),
            None if Instant::now() > deadline => {
                let what = format!("a device-dax instance below {}", real.display());
                return Err(HandBackError::Absent { what, module: "device_dax" });
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// The name of the first real directory below `dir`, at most `depth` levels down, that `is` takes.
fn find_below(dir: &Path, depth: u32, is: &dyn Fn(&str) -> bool) -> Option<String> {
    let children = fs::read_dir(dir).ok()?.flatten();
    let dirs: Vec<_> = children.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).collect();
    let here = dirs.iter().map(|e| e.file_name().to_string_lossy().into_owned()).find(|n| is(n));
    here.or_else(|| match depth {
        0 => None,
        _ => dirs.iter().find_map(|e| find_below(&e.path(), depth - 1, is)),
    })
}

/// The state files of the memory blocks in `range`.
fn states(range: PhysRange, block: u64) -> impl Iterator<Item = PathBuf> {
    let blocks = range.start() / block..range.end() / block;
    blocks.map(|index| format!("/sys/devices/system/memory/memory{index}/state").into())
}

fn wait_for(path: &Path, module: &'static str) -> Result<(), HandBackError> {
    let deadline = Instant::now() + PATIENCE;
    while !path.exists() {
        if Instant::now() > deadline {
            return Err(HandBackError::Absent { what: path.display().to_string(), module });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn read(path: &Path) -> Result<String, HandBackError> {
    Ok(fs::read_to_string(path).map_err(io_at(path))?.trim().to_owned())
}

fn write(path: &Path, text: &str) -> Result<(), HandBackError> {
    fs::write(path, text).map_err(io_at(path))
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> HandBackError + '_ {
    move |source| HandBackError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_blocks_behind_the_info_block_come_back() {
        const MIB: u64 = 1 << 20;
        let span = |start, end| PhysRange::new(start * MIB, end * MIB).unwrap();
        let back = |start, end| returnable(span(start, end), 128 * MIB);
        assert_eq!(back(126, 384), Some(span(128, 384)));
        assert_eq!(back(128, 384), Some(span(256, 384)));
        assert_eq!(back(100, 383), Some(span(128, 256)));
        assert_eq!(back(130, 300), None);
        assert_eq!(back(126, 128), None);
        // The info block's UUID is a promise: another one would not be known again.
        let uuid = uuid_of(span(126, 384)).to_string();
        assert_eq!(uuid, "4b9c1c7e-eaef-5823-b8a1-7db8725019cf");
    }
}
