//! What this machine's memory is: the map that the next kernel would be given, and figures.

use kexec::OldBootParams;
use kexec::e820::{keep_reserved, set_aside};
use physmem::{
    E820Entry, E820Type, FirmwareError, IomemError, IomemResource, MemoryMap, PhysRange, RangeSet,
    parse_iomem,
};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use uuid::Uuid;

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

/// The firmware's map, and with it what this kernel's own command line made persistent memory.
pub fn booted_map() -> Result<MemoryMap, MachineError> {
    let mut map = firmware_map()?;
    map.overlay_all(&set_aside(&map, &iomem()?), E820Type::Pram);
    Ok(map)
}

/// `/proc/iomem`.
pub(crate) fn iomem() -> Result<Vec<IomemResource>, MachineError> {
    Ok(parse_iomem(&read(Path::new("/proc/iomem"))?)?)
}

/// The zero page that this kernel was started with.
const BOOT_PARAMS: &str = "/sys/kernel/boot_params/data";

/// The map that the next kernel would be given if nothing were kept: the firmware's, less what
/// this kernel knows better, with the `released` spans as RAM again.
///
/// What a `memmap=SIZE!START` of this kernel's command line set aside is somebody's persistent
/// memory, and stays that whether or not the next command line says so again.
pub fn next_map(released: &RangeSet) -> Result<MemoryMap, MachineError> {
    let mut map = next_map_from(firmware_map()?, &iomem()?, released);
    // Whatever this kernel makes of it, it was RAM to the one before.
    if let Ok(old) = OldBootParams::new(&fs::read(BOOT_PARAMS).unwrap_or_default()) {
        map.overlay_all(old.ram_of_older_kernels().as_slice(), E820Type::Ram);
    }
    Ok(map)
}

fn next_map_from(mut map: MemoryMap, iomem: &[IomemResource], released: &RangeSet) -> MemoryMap {
    let given_away = set_aside(&map, iomem);
    keep_reserved(&mut map, iomem);
    map.retype(E820Type::Pram, released, E820Type::Ram);
    map.overlay_all(&given_away, E820Type::Pram);
    map
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
pub fn mem_total() -> Result<u64, MachineError> {
    meminfo("MemTotal")
}

/// A field of `/proc/meminfo`, in bytes.
///
/// # Errors
/// No such field.
pub fn meminfo(field: &str) -> Result<u64, MachineError> {
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

/// The memory of each NUMA node that has any, from `/sys/devices/system/node`, where a node names
/// its memory blocks of `block` bytes. A block that two nodes name is in neither set.
pub fn nodes(block: u64) -> Result<Vec<RangeSet>, MachineError> {
    nodes_in(Path::new("/sys/devices/system/node"), block)
}

fn nodes_in(dir: &Path, block: u64) -> Result<Vec<RangeSet>, MachineError> {
    let numbered = |dir: &Path, prefix: &str| -> Result<Vec<u64>, MachineError> {
        let names = match fs::read_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(io_at(dir))?,
        };
        let mut numbers = Vec::new();
        for name in names {
            let name = name.map_err(io_at(dir))?.file_name();
            numbers.extend(name.to_str().and_then(|n| n.strip_prefix(prefix)?.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    };
    let (mut nodes, mut all, mut twice) = (Vec::new(), RangeSet::new(), RangeSet::new());
    for node in numbered(dir, "node")? {
        let blocks = numbered(&dir.join(format!("node{node}")), "memory")?;
        let range = |n: u64| PhysRange::from_len(n.checked_mul(block)?, block).ok();
        let memory: RangeSet = blocks.into_iter().filter_map(range).collect();
        twice = twice.union(&all.intersect(&memory));
        all = all.union(&memory);
        nodes.push(memory);
    }
    let own = nodes.iter().map(|memory: &RangeSet| memory.subtract(&twice));
    Ok(own.filter(|memory| !memory.is_empty()).collect())
}

/// What tells this boot from every other: `/proc/sys/kernel/random/boot_id`.
pub fn boot_id() -> Result<Uuid, MachineError> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let found = read(path)?;
    found.trim().parse().map_err(|_| MachineError::Number { path: path.to_owned(), found })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_released_becomes_ram() {
        let range = |start: u64, end: u64| PhysRange::new(start << 20, end << 20).unwrap();
        let mut firmware = MemoryMap::default();
        firmware.overlay(range(1, 4096), E820Type::Ram);
        let spans = [range(100, 200), range(200, 300), range(500, 600)];
        firmware.overlay_all(&spans, E820Type::Pram);
        firmware.overlay(range(5000, 6000), E820Type::Pmem);
        // The kernel was told `memmap=100M!1000M memmap=100M$2000M`, and hot-added what came back.
        let iomem = "00100000-063fffff : System RAM
06400000-0c7fffff : Persistent Memory (legacy)
  06400000-0c7fffff : namespace0.0
0c800000-12bfffff : Persistent Memory (legacy)
  0d000000-12bfffff : System RAM (kmem)
12c00000-1f3fffff : System RAM
1f400000-257fffff : Persistent Memory (legacy)
25800000-3e7fffff : System RAM
3e800000-44bfffff : Persistent Memory (legacy)
44c00000-7cffffff : System RAM
7d000000-833fffff : Reserved
83400000-ffffffff : System RAM
138800000-176ffffff : Persistent Memory
";
        let iomem = parse_iomem(iomem).unwrap();
        let map = next_map_from(firmware, &iomem, &range(200, 300).into());
        let at = |mib: u64| map.kind_at(mib << 20);
        assert_eq!(at(250), Some(E820Type::Ram), "released");
        assert_eq!(at(150), Some(E820Type::Pram), "a region");
        assert_eq!(at(550), Some(E820Type::Pram), "a region");
        assert_eq!(at(1050), Some(E820Type::Pram), "the user's own");
        assert_eq!(at(2050), Some(E820Type::Reserved), "kept from the kernel");
        assert_eq!(at(5500), Some(E820Type::Pmem), "an NVDIMM");
        let ram = [(1, 100), (200, 500), (600, 1000), (1100, 2000), (2100, 4096)];
        assert_eq!(map.ram(), ram.into_iter().map(|(s, e)| range(s, e)).collect());
    }

    #[test]
    fn nodes_have_the_memory_blocks_that_they_alone_name() {
        let root = tempfile::tempdir().unwrap();
        let blocks = [("node0", 0..4), ("node0", 8..12), ("node1", 3..8), ("node2", 0..0)];
        for (node, numbers) in blocks {
            for number in numbers {
                fs::create_dir_all(root.path().join(format!("{node}/memory{number}"))).unwrap();
            }
            fs::create_dir_all(root.path().join(node).join("memory_failure")).unwrap();
        }
        fs::write(root.path().join("has_memory"), "0-1\n").unwrap();
        let range = |start: u64, end: u64| PhysRange::new(start << 27, end << 27).unwrap();
        let want = [vec![range(0, 3), range(8, 12)], vec![range(4, 8)]];
        let want: Vec<RangeSet> = want.into_iter().map(|n| n.into_iter().collect()).collect();
        assert_eq!(nodes_in(root.path(), 1 << 27).unwrap(), want);
        assert_eq!(nodes_in(&root.path().join("none"), 1 << 27).unwrap(), []);
    }
}
