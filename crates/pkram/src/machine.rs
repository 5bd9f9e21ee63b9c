//! What this machine's memory is: the map that the next kernel would be given, and figures.

use kexec::e820::keep_reserved;
use physmem::{
    E820Entry, E820Type, FirmwareError, IomemError, MemoryMap, PhysRange, RangeSet, parse_iomem,
};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Why the machine cannot be described.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// A file of /proc or /sys cannot be read.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An entry of the firmware's memory map is not as the kernel writes it.
    #[error("{path}: {source}", path = .path.display())]
    Firmware {
        /// The entry.
        path: PathBuf,
        /// What is wrong.
        source: FirmwareError,
    },
    /// `/proc/iomem` is not as the kernel writes it.
    #[error(transparent)]
    Iomem(#[from] IomemError),
    /// A number was expected.
    #[error("{path}: expected a number, found {found:?}", path = .path.display())]
    Number {
        /// Where.
        path: PathBuf,
        /// What was there.
        found: String,
    },
}

/// The memory map that this kernel's boot loader gave it, without any `memmap=` of its command
/// line: `/sys/firmware/memmap`.
pub fn firmware_map() -> Result<MemoryMap, MachineError> {
    let dir = Path::new("/sys/firmware/memmap");
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_at(dir))? {
        let path = entry.map_err(io_at(dir))?.path();
        let [start, end, kind] = ["start", "end", "type"].map(|file| read(&path.join(file)));
        let entry = E820Entry::from_firmware(&start?, &end?, &kind?)
            .map_err(|source| MachineError::Firmware { path, source })?;
        entries.push(entry);
    }
    Ok(MemoryMap::from_entries(entries))
}

/// The map that the next kernel would be given if nothing were kept: the firmware's, less what
/// this kernel knows better, and with the spans that were released in this boot as RAM again.
pub fn next_map() -> Result<MemoryMap, MachineError> {
    let mut map = firmware_map()?;
    keep_reserved(&mut map, &parse_iomem(&read(Path::new("/proc/iomem"))?)?);
    map.retype(E820Type::Pram, &released_spans()?, E820Type::Ram);
    Ok(map)
}

/// Where `release` notes what it released. It lives as long as this boot, which is as long as it
/// is needed: the next kernel knows such a span as RAM.
const RELEASED: &str = "/run/pkram/released";

/// The spans that were released in this boot.
fn released_spans() -> Result<RangeSet, MachineError> {
    let path = Path::new(RELEASED);
    let text = match fs::read_to_string(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(RangeSet::new()),
        other => other.map_err(io_at(path))?,
    };
    let parse = |line: &str| {
        let (start, len) = line.split_once(' ')?;
        PhysRange::from_len(start.parse().ok()?, len.parse().ok()?).ok()
    };
    let wrong = |line: &str| MachineError::Number { path: path.to_owned(), found: line.to_owned() };
    text.lines().map(|line| parse(line).ok_or_else(|| wrong(line))).collect()
}

/// Notes that a span is no region any more.
pub(crate) fn note_released(span: PhysRange) -> Result<(), MachineError> {
    let path = Path::new(RELEASED);
    let note = || {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        let mut file = File::options().append(true).create(true).mode(0o600).open(path)?;
        writeln!(file, "{} {}", span.start(), span.len())
    };
    note().map_err(io_at(path))
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
pub fn mem_total() -> Result<u64, MachineError> {
    meminfo("MemTotal")
}

/// A field of `/proc/meminfo`, in bytes.
pub(crate) fn meminfo(field: &str) -> Result<u64, MachineError> {
    let path = Path::new("/proc/meminfo");
    let text = read(path)?;
    let line = text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
    let found = line.unwrap_or_default();
    let number = found.trim().strip_suffix(" kB").and_then(|kb| kb.parse::<u64>().ok());
    number
        .and_then(|kb| kb.checked_mul(1024))
        .ok_or_else(|| MachineError::Number { path: path.to_owned(), found: found.to_owned() })
}

/// Size of a memory block, the unit in which memory comes and goes while running, in bytes:
/// `/sys/devices/system/memory/block_size_bytes`, 128 MiB where there is no such file.
pub fn memory_block() -> Result<u64, MachineError> {
    let path = Path::new("/sys/devices/system/memory/block_size_bytes");
    let text = match fs::read_to_string(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(128 << 20),
        other => other.map_err(io_at(path))?,
    };
    u64::from_str_radix(text.trim(), 16)
        .ok()
        .filter(|size| size.is_power_of_two())
        .ok_or_else(|| MachineError::Number { path: path.to_owned(), found: text.clone() })
}

/// The running kernel's release, as `uname -r` prints it.
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

fn read(path: &Path) -> Result<String, MachineError> {
    fs::read_to_string(path).map_err(io_at(path))
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> MachineError + '_ {
    move |source| MachineError::Io { path: path.to_owned(), source }
}
