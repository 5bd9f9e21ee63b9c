//! The memory map as the next kernel reads it: 128 entries in the zero page, the rest in a
//! `SETUP_E820_EXT` node.
//!
//! The entries are a partition in ascending order, so a RAM entry never covers a span that only
//! the extension names. That matters: the kernel's physical KASLR looks at the zero page alone
//! (`process_e820_entries`, `arch/x86/boot/compressed/kaslr.c`).

use physmem::{E820Entry, E820Type, IomemResource, MemoryMap, PhysRange, RangeSet};

/// Entries that the zero page holds (`E820_MAX_ENTRIES_ZEROPAGE`, `asm/bootparam.h`).
pub const IN_ZERO_PAGE: usize = 128;
/// Entries that the kernel's own table holds: 128 + 3 × `MAX_NUMNODES`, with the 1024 nodes of
/// distribution kernels (`E820_MAX_ENTRIES`, `asm/e820/types.h`). It drops what comes after.
pub const LIMIT: usize = 3200;
/// Bytes in `struct boot_e820_entry`: address, size, type; packed.
pub(crate) const ENTRY_BYTES: usize = 20;

/// Why the next kernel cannot be told this map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum E820Error {
    /// More entries than the kernel keeps.
    #[error(
        "the memory map has {0} entries, but the next kernel keeps only {LIMIT} and would lose \
         the rest; use fewer, larger spans"
    )]
    TooMany(usize),
    /// A map without RAM.
    #[error("the memory map names no RAM; nothing could boot with it")]
    NoRam,
}

/// What `map` (the firmware's) calls RAM, but `memmap=SIZE!START` on the running kernel's command
/// line has set aside as persistent memory: each range by itself, ascending. `/sys/firmware/memmap`
/// is the map from before the command line.
pub fn set_aside(map: &MemoryMap, iomem: &[IomemResource]) -> Vec<PhysRange> {
    let name = E820Type::Pram.to_string();
    let ram = map.ram();
    let top = iomem.iter().filter(|r| r.depth == 0 && r.name == name);
    top.map(|r| r.range).filter(|range| ram.contains_range(*range)).collect()
}

/// Marks as reserved what `map` (the firmware's) calls RAM, but the running kernel does not use as
/// such. EFI tables lie there that the kernel set aside in its own map only
/// (`efi_arch_mem_reserve()`, `arch/x86/platform/efi/quirks.c`): the memory attributes table, the
/// TPM log and others, which the next kernel reads again. Nothing may be put on them.
///
/// The first MiB is left as it is: the kernel has rules of its own there.
pub fn keep_reserved(map: &mut MemoryMap, iomem: &[IomemResource]) {
    let first_mib = PhysRange::new(0, 1 << 20).expect("not empty");
    let used = iomem.iter().filter(|r| r.name == "System RAM").map(|r| r.range);
    let left_alone: RangeSet = used.chain([first_mib]).collect();
    let hidden = map.ram().subtract(&left_alone);
    map.overlay_all(hidden.as_slice(), E820Type::Reserved);
}

/// A map in the boot protocol's form.
#[derive(Clone, Copy, Debug)]
pub struct E820Table<'a> {
    entries: &'a [E820Entry],
}

impl<'a> E820Table<'a> {
    /// Checks that the next kernel can hold `map`.
    pub fn new(map: &'a MemoryMap) -> Result<Self, E820Error> {
        let entries = map.entries();
        if entries.len() > LIMIT {
            return Err(E820Error::TooMany(entries.len()));
        }
        if map.ram().is_empty() {
            return Err(E820Error::NoRam);
        }
        Ok(Self { entries })
    }

    /// How many entries the zero page takes.
    pub fn count_in_zero_page(&self) -> u8 {
        u8::try_from(self.entries.len().min(IN_ZERO_PAGE)).expect("128 fits in a byte")
    }

    /// The bytes of `e820_table` in the zero page.
    pub fn zero_page(&self) -> Vec<u8> {
        encode(&self.entries[..self.entries.len().min(IN_ZERO_PAGE)])
    }

    /// The payload of the `SETUP_E820_EXT` node, empty where none is needed.
    pub fn extension(&self) -> Vec<u8> {
        encode(self.entries.get(IN_ZERO_PAGE..).unwrap_or_default())
    }

    /// Where RAM ends that starts at or below 1 MiB and goes past it, in KiB above 1 MiB: what
    /// old BIOS calls would have answered.
    pub(crate) fn kib_above_first_mib(&self) -> u64 {
        const MIB: u64 = 1 << 20;
        self.entries
            .iter()
            .filter(|e| e.kind == E820Type::Ram)
            .find(|e| e.range.start() <= MIB && e.range.end() > MIB)
            .map_or(0, |e| ((e.range.end() - 1) >> 10) - (MIB >> 10))
    }
}

fn encode(entries: &[E820Entry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * ENTRY_BYTES);
    for e in entries {
        bytes.extend(e.range.start().to_le_bytes());
        bytes.extend(e.range.len().to_le_bytes());
        bytes.extend(e.kind.number().to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// RAM with `holes` spans of 2 MiB, 2 MiB apart, from 1 GiB on.
    fn riddled(holes: u64) -> MemoryMap {
        let range = |start, len| PhysRange::from_len(start, len).unwrap();
        let mut map = MemoryMap::default();
        map.overlay(range(0, 0x9fc00), E820Type::Ram);
        map.overlay(range(MIB, 64 << 30), E820Type::Ram);
        let spans: Vec<_> = (0..holes).map(|i| range((1 << 30) + i * 4 * MIB, 2 * MIB)).collect();
        map.overlay_all(&spans, E820Type::Pram);
        map
    }

    fn decode(bytes: &[u8]) -> Vec<E820Entry> {
        let (entries, rest) = bytes.as_chunks::<ENTRY_BYTES>();
        assert!(rest.is_empty());
        let number = |b: &[u8]| u64::from_le_bytes(b.try_into().unwrap());
        let entry = |b: &[u8; ENTRY_BYTES]| E820Entry {
            range: PhysRange::from_len(number(&b[..8]), number(&b[8..16])).unwrap(),
            kind: E820Type::from_number(u32::from_le_bytes(b[16..].try_into().unwrap())),
        };
        entries.iter().map(entry).collect()
    }

    #[test]
    fn ram_in_the_zero_page_covers_no_span_of_the_extension() {
        for holes in [0, 1, 62, 63, 64, 500, 1598] {
            let map = riddled(holes);
            let table = E820Table::new(&map).unwrap();
            let (first, rest) = (decode(&table.zero_page()), decode(&table.extension()));
            assert_eq!(first.len(), usize::from(table.count_in_zero_page()));
            let set = |entries: &[E820Entry], kind| -> RangeSet {
                entries.iter().filter(|e| e.kind == kind).map(|e| e.range).collect()
            };
            let known_late = set(&rest, E820Type::Pram);
            assert!(set(&first, E820Type::Ram).intersect(&known_late).is_empty());
            let all: Vec<_> = first.into_iter().chain(rest).collect();
            assert_eq!(all, map.entries());
        }
    }

    #[test]
    fn what_the_kernel_keeps_to_itself_stays_reserved() {
        let range = |start, end| PhysRange::new(start, end).unwrap();
        let mut map = MemoryMap::default();
        map.overlay(range(0, 0xa_0000), E820Type::Ram);
        map.overlay(range(0x10_0000, 0x7eaa_0000), E820Type::Ram);
        map.overlay(range(0x7eaa_0000, 0x7eba_2000), E820Type::Reserved);
        // As seen under OVMF; the kernel splits RAM at setup_data nodes.
        let iomem = "00000000-00000fff : Reserved\n00001000-0009ffff : System RAM\n\
             00100000-7cd40017 : System RAM\n  01000000-021fffff : Kernel code\n\
             7cd40018-7ce48fff : System RAM\n7ce49000-7ce51fff : Reserved\n\
             7ce52000-7ea9ffff : System RAM\n7eaa0000-7eba1fff : Reserved\n";
        keep_reserved(&mut map, &physmem::parse_iomem(iomem).unwrap());
        let want =
            [range(0, 0xa_0000), range(0x10_0000, 0x7ce4_9000), range(0x7ce5_2000, 0x7eaa_0000)];
        assert_eq!(map.ram(), want.into_iter().collect());
        assert_eq!(map.kind_at(0x7ce4_9000), Some(E820Type::Reserved));
    }

    #[test]
    fn what_the_command_line_set_aside_stays_so() {
        let range = |start, end| PhysRange::new(start, end).unwrap();
        let mut map = MemoryMap::default();
        map.overlay(range(0x10_0000, 0x8000_0000), E820Type::Ram);
        map.overlay(range(0x3000_0000, 0x3200_0000), E820Type::Pram);
        let iomem = "00100000-2fffffff : System RAM\n\
             30000000-31ffffff : Persistent Memory (legacy)\n  30000000-31ffffff : namespace0.0\n\
             32000000-37ffffff : System RAM\n38000000-3fffffff : Persistent Memory (legacy)\n\
             40000000-47ffffff : Persistent Memory (legacy)\n48000000-7fffffff : System RAM\n";
        let found = set_aside(&map, &physmem::parse_iomem(iomem).unwrap());
        map.overlay_all(&found, E820Type::Pram);
        let spans = map.entries().iter().filter(|e| e.kind == E820Type::Pram).map(|e| e.range);
        let want = [
            range(0x3000_0000, 0x3200_0000),
            range(0x3800_0000, 0x4000_0000),
            range(0x4000_0000, 0x4800_0000),
        ];
        assert!(spans.eq(want), "{map}");
    }

    #[test]
    fn refuses_what_the_kernel_would_drop() {
        let map = riddled(1600);
        let found = map.entries().len();
        assert_eq!(E820Table::new(&map).unwrap_err(), E820Error::TooMany(found));
        assert_eq!(E820Table::new(&MemoryMap::default()).unwrap_err(), E820Error::NoRam);
    }
}
