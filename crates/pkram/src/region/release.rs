//! Giving a region's memory back to the running system.
//!
//! ```text
//! nd_pmem namespace ─unbind─► device-dax (info block at +4 KiB, data from +2 MiB) ─► kmem ─► System RAM
//! ```
//!
//! All of it by sysfs (`drivers/nvdimm/dax_devs.c`, `drivers/dax/bus.c`, `drivers/dax/kmem.c`). Only
//! whole memory blocks come back while the system runs; the rest does at the next kexec.

use super::discover::{Region, Span};
use super::mount::part;
use crate::head::HEAD_BYTES;
use crate::machine::{self, MachineError};
use physmem::PhysRange;
use rustix::fs::{Mode, OFlags, open};
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// What device-dax takes at the start of a namespace for its info block when pages are mapped
/// with 2 MiB alignment (`nd_pfn_init`, `drivers/nvdimm/pfn_devs.c`).
const DAX_HEAD: u64 = 2 << 20;

/// The drivers on the way.
const DAX_PMEM: &str = "/sys/bus/nd/drivers/dax_pmem";
const KMEM: &str = "/sys/bus/dax/drivers/kmem";

/// How long a device may take to appear or to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why memory is not given back.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// In use.
    #[error(
        "{device} is in use (mounted, joined or opened exclusively); unmount the region first",
        device = .device.display()
    )]
    Busy {
        /// The device.
        device: PathBuf,
    },
    /// A file of sysfs or a device refused.
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
    /// Figures cannot be read.
    #[error(transparent)]
    Machine(#[from] MachineError),
}

/// What came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Bytes that are System RAM again.
    pub returned: u64,
    /// Bytes that stay aside until the next kexec.
    pub left: u64,
}

/// The part of a span that can come back while the system runs: whole memory blocks behind the
/// space that device-dax needs.
fn returnable(span: PhysRange, memory_block: u64) -> Option<PhysRange> {
    PhysRange::new(span.start() + DAX_HEAD, span.end()).ok()?.align_inward(memory_block)
}

/// Gives the memory of `region` back. Its content is lost.
pub fn release(region: &Region) -> Result<Released, ReleaseError> {
    let _ = part(region);
    // First see that every span is free, so that a refusal changes nothing.
    for span in &region.spans {
        exclusive(span)?;
    }
    let block = machine::memory_block()?;
    // Then see that there is a way back, and only then make the region none, all of it.
    if region.spans.iter().any(|s| returnable(s.head.range, block).is_some()) {
        load("dax_pmem");
        load("kmem");
        wait_for(Path::new(DAX_PMEM), "dax_pmem")?;
        wait_for(Path::new(KMEM), "kmem")?;
    }
    for span in &region.spans {
        forget(span)?;
        machine::note_released(span.head.range)?;
    }
    let mut released = Released::default();
    for span in &region.spans {
        let back = match returnable(span.head.range, block) {
            Some(range) => {
                hand_back(span)?;
                online(range, block)?;
                range.len()
            }
            None => 0,
        };
        released.returned += back;
        released.left += span.head.range.len() - back;
    }
    Ok(released)
}

/// Opens the span's block device as a filesystem would: fails if anything else has it.
fn exclusive(span: &Span) -> Result<fs::File, ReleaseError> {
    let device = span.device.block.clone().unwrap_or_default();
    match open(&device, OFlags::RDWR | OFlags::EXCL | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => Ok(fd.into()),
        Err(rustix::io::Errno::BUSY) => Err(ReleaseError::Busy { device }),
        Err(e) => Err(ReleaseError::Io { path: device, source: e.into() }),
    }
}

impl Region {
    /// Whether a filesystem or anything else has one of the spans.
    pub fn in_use(&self) -> bool {
        self.spans.iter().any(|span| matches!(exclusive(span), Err(ReleaseError::Busy { .. })))
    }
}

/// Makes the head no head and the filesystem no filesystem, so that nobody takes the half-gone
/// region for a whole one later.
fn forget(span: &Span) -> Result<(), ReleaseError> {
    let file = exclusive(span)?;
    let path = span.device.block.clone().unwrap_or_default();
    file.write_all_at(&[0; HEAD_BYTES * 2], 0).map_err(io_at(&path))?;
    file.sync_all().map_err(io_at(&path))
}

fn hand_back(span: &Span) -> Result<(), ReleaseError> {
    let namespace = name_of(&span.device.sysfs);
    let link = span.device.sysfs.clone();
    let real = link.canonicalize().map_err(io_at(&link))?;
    let region = real.parent().unwrap_or(Path::new("/")).to_owned();
    write(Path::new("/sys/bus/nd/drivers/nd_pmem/unbind"), &namespace)?;
    let seed = read(&region.join("dax_seed"))?;
    let dax = region.join(&seed);
    write(&dax.join("align"), "2097152")?;
    write(&dax.join("mode"), "ram")?;
    write(&dax.join("uuid"), &Uuid::new_v4().to_string())?;
    write(&dax.join("namespace"), &namespace)?;
    if !dax.join("driver").exists() {
        write(&Path::new(DAX_PMEM).join("bind"), &seed)?;
    }
    let device = dax_device(&dax)?;
    let bound = Path::new("/sys/bus/dax/devices").join(&device).join("driver");
    if bound.canonicalize().is_ok_and(|d| d.ends_with("kmem")) {
        return Ok(());
    }
    if bound.exists() {
        write(&bound.join("unbind"), &device)?;
    }
    write(&Path::new(KMEM).join("new_id"), &device)
}

/// The device-dax instance, e.g. `dax0.0`, that a bound `nd` dax device has.
fn dax_device(dax: &Path) -> Result<String, ReleaseError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = find_below(dax, 3, &|name| {
            name.strip_prefix("dax").is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()))
        });
        match found {
            Some(device) => return Ok(device),
            None if Instant::now() > deadline => {
                let what = format!("a device-dax instance below {}", dax.display());
                return Err(ReleaseError::Absent { what, module: "device_dax" });
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

/// Sees that the memory blocks in `range` are there and online, which older kernels leave to us.
fn online(range: PhysRange, block: u64) -> Result<(), ReleaseError> {
    for index in range.start() / block..range.end() / block {
        let state = PathBuf::from(format!("/sys/devices/system/memory/memory{index}/state"));
        wait_for(&state, "kmem")?;
        if read(&state)? == "offline" {
            write(&state, "online")?;
        }
    }
    Ok(())
}

/// Best effort, as with the drivers of the devices themselves.
fn load(module: &str) {
    let _ = Command::new("modprobe")
        .args(["-q", module])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

fn wait_for(path: &Path, module: &'static str) -> Result<(), ReleaseError> {
    let deadline = Instant::now() + PATIENCE;
    while !path.exists() {
        if Instant::now() > deadline {
            return Err(ReleaseError::Absent { what: path.display().to_string(), module });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn read(path: &Path) -> Result<String, ReleaseError> {
    Ok(fs::read_to_string(path).map_err(io_at(path))?.trim().to_owned())
}

fn write(path: &Path, text: &str) -> Result<(), ReleaseError> {
    fs::write(path, text).map_err(io_at(path))
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> ReleaseError + '_ {
    move |source| ReleaseError::Io { path: path.to_owned(), source }
}
