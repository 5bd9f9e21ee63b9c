//! Identity page tables for the mover, and for the next kernel until it has its own.
//!
//! ```text
//! page 0: root ─► one page per 512 GiB (128 PiB with 5 levels: one more level between) ─►
//!         one page per GiB ─► 2 MiB pages
//! ```
//!
//! A GiB that is wanted as a whole takes one entry where the processor has 1 GiB pages. Source of
//! the entry format: Intel SDM vol. 3A §4.5.

use crate::efi::EfiState;
use physmem::{E820Type, MemoryMap, PhysRange, RangeSet};
use std::collections::BTreeMap;

/// Bytes in a table, and in a base page.
const TABLE: u64 = 4096;
const MIB_2: u64 = 2 << 20;
const GIB: u64 = 1 << 30;

/// Present, writable; accessed and dirty are set so that the processor never writes the tables.
const PRESENT: u64 = 1 << 0 | 1 << 1 | 1 << 5 | 1 << 6;
/// The entry maps a page instead of leading to a table. (Bit 6 is ignored in the latter.)
const LARGE: u64 = 1 << 7;

/// What the processor's page tables can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// 4 levels, or 5 where the running kernel uses 5 (the mover keeps CR4.LA57).
    pub levels: u32,
    /// Whether there are 1 GiB pages (`pdpe1gb` in `/proc/cpuinfo`).
    pub giant_pages: bool,
}

impl Paging {
    /// What the running kernel uses, from the text of `/proc/cpuinfo`. The flag `la57` is there
    /// only while 5 levels are in use, not wherever the processor has them
    /// (`Documentation/arch/x86/x86_64/5level-paging.rst`).
    pub fn from_cpuinfo(cpuinfo: &str) -> Self {
        let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or("");
        let has = |flag| flags.split_ascii_whitespace().any(|f| f == flag);
        Self { levels: if has("la57") { 5 } else { 4 }, giant_pages: has("pdpe1gb") }
    }
}

/// Why memory cannot be identity-mapped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Memory in the upper, negative half of the virtual address space.
    #[error(
        "{at} cannot be mapped at its own address with {levels} levels of page tables, which end at {limit:#x}"
    )]
    TooHigh {
        /// The memory.
        at: PhysRange,
        /// How many levels there are.
        levels: u32,
        /// Where positive addresses end.
        limit: u64,
    },
    /// Neither 4 nor 5.
    #[error("page tables have 4 or 5 levels, not {0}")]
    Levels(u32),
    /// The tables cannot lie there.
    #[error("page tables cannot lie at {0:#x}: they need the start of a page below 4 PiB")]
    Base(u64),
}

/// All memory that the mover touches or that the next kernel reads before it has page tables of
/// its own: RAM, spans, ACPI's tables, the first MiB (where a change to 5-level paging puts its
/// trampoline, `arch/x86/boot/compressed/pgtable_64.c`), and EFI's tables.
pub fn reach(map: &MemoryMap, efi: Option<&EfiState>) -> RangeSet {
    use E820Type as T;
    let first_mib = PhysRange::new(0, 1 << 20).expect("not empty").into();
    [T::Ram, T::Pram, T::SoftReserved, T::AcpiTables, T::AcpiNvs]
        .map(|kind| map.of_type(kind))
        .iter()
        .chain(efi.map(EfiState::reach).iter())
        .fold(first_mib, |all, set| all.union(set))
}

/// Which tables and pages are needed to map some memory.
#[derive(Clone, Debug)]
pub struct Identity {
    levels: u32,
    mapped: RangeSet,
    /// The pages: first address, length.
    pages: Vec<(u64, u64)>,
    /// The tables under the root: level (1 maps 2 MiB pages) and first address, with their place
    /// after the root, in pages.
    tables: BTreeMap<(u32, u64), u64>,
}

impl Identity {
    /// Plans tables that map at least `wanted`, whole 2 MiB pages at a time.
    pub fn of(wanted: &RangeSet, paging: Paging) -> Result<Self, IdentityError> {
        let levels = paging.levels;
        if !(4..=5).contains(&levels) {
            return Err(IdentityError::Levels(levels));
        }
        let limit = reach_of_level(levels) / 2;
        let wanted = wanted.align_outward(MIB_2);
        if let Some(at) = wanted.iter().find(|r| r.end() > limit) {
            return Err(IdentityError::TooHigh { at, levels, limit });
        }
        let whole = if paging.giant_pages { wanted.align_inward(GIB) } else { RangeSet::new() };
        let mut pages = pages_of(&whole, GIB);
        pages.extend(pages_of(&wanted.subtract(&whole), MIB_2));

        let mut tables = BTreeMap::new();
        for &(start, len) in &pages {
            let lowest = if len == GIB { 2 } else { 1 };
            for level in lowest..levels - 1 {
                tables.insert((level, start & !(reach_of_level(level + 1) - 1)), 0);
            }
        }
        tables.values_mut().zip(1..).for_each(|(place, n)| *place = n);
        Ok(Self { levels, mapped: wanted, pages, tables })
    }

    /// All that is mapped.
    pub const fn mapped(&self) -> &RangeSet {
        &self.mapped
    }

    /// How many pages the tables take.
    pub fn pages_needed(&self) -> u64 {
        1 + u64::try_from(self.tables.len()).expect("usize has 64 bits")
    }

    /// The tables to lie at physical address `base`; the root is the first page.
    pub fn tables_at(&self, base: u64) -> Result<Vec<u8>, IdentityError> {
        let len = self.pages_needed() * TABLE;
        if !base.is_multiple_of(TABLE) || base > 1 << 52 || base + len > 1 << 52 {
            return Err(IdentityError::Base(base));
        }
        let mut bytes = vec![0; usize::try_from(len).expect("usize has 64 bits")];
        for (&(level, start), &place) in &self.tables {
            self.enter(&mut bytes, level + 1, start, (base + place * TABLE) | PRESENT);
        }
        for &(start, len) in &self.pages {
            let level = if len == GIB { 2 } else { 1 };
            self.enter(&mut bytes, level, start, start | PRESENT | LARGE);
        }
        Ok(bytes)
    }

    /// Writes the entry for the memory from `start` on into its table of `level`.
    fn enter(&self, bytes: &mut [u8], level: u32, start: u64, entry: u64) {
        let table = (level, start & !(reach_of_level(level + 1) - 1));
        let place = if level == self.levels - 1 { 0 } else { self.tables[&table] };
        let index = (start / reach_of_level(level)) % 512;
        let at = usize::try_from(place * TABLE + index * 8).expect("usize has 64 bits");
        bytes[at..at + 8].copy_from_slice(&entry.to_le_bytes());
    }
}

/// How many bytes one entry of a table at `level` stands for: 2 MiB at level 1, 1 GiB at level 2…
const fn reach_of_level(level: u32) -> u64 {
    1 << (12 + 9 * level)
}

fn pages_of(set: &RangeSet, size: u64) -> Vec<(u64, u64)> {
    set.iter()
        .flat_map(|r| (r.start() / size..r.end() / size).map(move |n| (n * size, size)))
        .collect()
}
