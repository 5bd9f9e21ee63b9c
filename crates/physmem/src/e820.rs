//! The memory map as the kernel's boot protocol knows it.

use crate::{PhysRange, RangeSet};
use std::fmt;

/// What a range of physical addresses is, by e820 type number
/// (`arch/x86/include/asm/e820/types.h`, ACPI 6.5 §15 table 15.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum E820Type {
    /// 1: usable RAM.
    Ram,
    /// 2: reserved by the firmware.
    Reserved,
    /// 3: ACPI tables, reclaimable.
    AcpiTables,
    /// 4: ACPI non-volatile storage.
    AcpiNvs,
    /// 5: memory with errors.
    Unusable,
    /// 7: persistent memory described by an ACPI NFIT; never ours.
    Pmem,
    /// 12: persistent memory without NFIT, what `memmap=nn!ss` makes and what spans are.
    Pram,
    /// `0xefff_ffff`: soft-reserved (special-purpose) memory.
    SoftReserved,
    /// Any other number.
    Other(u32),
}

impl E820Type {
    /// The number in the boot protocol.
    pub const fn number(self) -> u32 {
        match self {
            Self::Ram => 1,
            Self::Reserved => 2,
            Self::AcpiTables => 3,
            Self::AcpiNvs => 4,
            Self::Unusable => 5,
            Self::Pmem => 7,
            Self::Pram => 12,
            Self::SoftReserved => 0xefff_ffff,
            Self::Other(n) => n,
        }
    }

    /// The type with this number.
    pub const fn from_number(n: u32) -> Self {
        match n {
            1 => Self::Ram,
            2 => Self::Reserved,
            3 => Self::AcpiTables,
            4 => Self::AcpiNvs,
            5 => Self::Unusable,
            7 => Self::Pmem,
            12 => Self::Pram,
            0xefff_ffff => Self::SoftReserved,
            n => Self::Other(n),
        }
    }

    /// Whether the kernel keeps neighbouring entries of this type apart, each a device of its own
    /// (`e820_type_mergeable`, `arch/x86/kernel/e820.c`).
    pub const fn stays_apart(self) -> bool {
        matches!(self, Self::Pram | Self::SoftReserved)
    }
}

impl fmt::Display for E820Type {
    /// The strings of `/sys/firmware/memmap/*/type` (`e820_type_to_string`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ram => f.write_str("System RAM"),
            Self::Reserved => f.write_str("Reserved"),
            Self::AcpiTables => f.write_str("ACPI Tables"),
            Self::AcpiNvs => f.write_str("ACPI Non-volatile Storage"),
            Self::Unusable => f.write_str("Unusable memory"),
            Self::Pmem => f.write_str("Persistent Memory"),
            Self::Pram => f.write_str("Persistent Memory (legacy)"),
            Self::SoftReserved => f.write_str("Soft Reserved"),
            Self::Other(n) => write!(f, "Unknown E820 type {n}"),
        }
    }
}

/// One line of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct E820Entry {
    /// Where.
    pub range: PhysRange,
    /// What.
    pub kind: E820Type,
}

/// A memory map: a partition of part of the address space, ascending, without overlaps.
///
/// Addresses that no entry names are unknown to the firmware (MMIO or nothing at all).
/// Neighbouring entries of one type are one entry, except where [`E820Type::stays_apart`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryMap {
    entries: Vec<E820Entry>,
}

impl MemoryMap {
    /// The map from entries in any order. Where entries overlap the higher type number wins, as in
    /// the kernel's `e820__update_table()`.
    pub fn from_entries(entries: impl IntoIterator<Item = E820Entry>) -> Self {
        let mut sorted: Vec<_> = entries.into_iter().collect();
        sorted.sort_by_key(|e| (e.kind.number(), e.range));
        let mut map = Self::default();
        for e in sorted {
            map.overlay(e.range, e.kind);
        }
        map
    }

    /// The entries, ascending.
    pub fn entries(&self) -> &[E820Entry] {
        &self.entries
    }

    /// Makes all of `range` be `kind`, whatever it was.
    pub fn overlay(&mut self, range: PhysRange, kind: E820Type) {
        self.overlay_all(&[range], kind);
    }

    /// Makes every range in `ranges` be `kind`. The ranges must be ascending and disjoint; where
    /// the type [stays apart](E820Type::stays_apart) each becomes an entry of its own.
    pub fn overlay_all(&mut self, ranges: &[PhysRange], kind: E820Type) {
        debug_assert!(ranges.windows(2).all(|w| w[0].end() <= w[1].start()));
        let cover: RangeSet = ranges.iter().copied().collect();
        let mut entries: Vec<_> = ranges.iter().map(|&range| E820Entry { range, kind }).collect();
        for e in &self.entries {
            let rest = RangeSet::from(e.range).subtract(&cover);
            entries.extend(rest.iter().map(|range| E820Entry { range, kind: e.kind }));
        }
        entries.sort_unstable();
        entries.dedup_by(|next, kept| {
            let joins = next.kind == kept.kind
                && !kept.kind.stays_apart()
                && next.range.start() == kept.range.end();
            if joins {
                kept.range = PhysRange::new(kept.range.start(), next.range.end())
                    .expect("two neighbouring ranges make one");
            }
            joins
        });
        self.entries = entries;
    }

    /// Forgets every entry of type `kind` that lies wholly in `set`, turning it into `into`.
    pub fn retype(&mut self, kind: E820Type, set: &RangeSet, into: E820Type) {
        let hit: Vec<_> = self
            .entries
            .iter()
            .filter(|e| e.kind == kind && set.contains_range(e.range))
            .map(|e| e.range)
            .collect();
        self.overlay_all(&hit, into);
    }

    /// All addresses of one type.
    pub fn of_type(&self, kind: E820Type) -> RangeSet {
        self.entries.iter().filter(|e| e.kind == kind).map(|e| e.range).collect()
    }

    /// All usable RAM.
    pub fn ram(&self) -> RangeSet {
        self.of_type(E820Type::Ram)
    }

    /// The type of one address, if the map names it.
    pub fn kind_at(&self, addr: u64) -> Option<E820Type> {
        let i = self.entries.partition_point(|e| e.range.end() <= addr);
        self.entries.get(i).filter(|e| e.range.contains(addr)).map(|e| e.kind)
    }
}

impl fmt::Display for MemoryMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries.iter().try_for_each(|e| writeln!(f, "{} {}", e.range, e.kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry() -> impl Strategy<Value = E820Entry> {
        (0..60u64, 1..20u64, 1..14u32).prop_map(|(s, l, t)| E820Entry {
            range: PhysRange::from_len(s, l).unwrap(),
            kind: E820Type::from_number(t),
        })
    }

    fn well_formed(map: &MemoryMap) {
        for w in map.entries().windows(2) {
            assert!(w[0].range.end() <= w[1].range.start(), "{map}");
            let apart = w[0].kind != w[1].kind || w[0].range.end() < w[1].range.start();
            assert!(apart || w[0].kind.stays_apart(), "{map}");
        }
    }

    proptest! {
        #[test]
        fn highest_type_wins(entries in proptest::collection::vec(entry(), 0..10)) {
            let map = MemoryMap::from_entries(entries.clone());
            well_formed(&map);
            for x in 0..80 {
                let want = entries.iter().filter(|e| e.range.contains(x)).map(|e| e.kind.number()).max();
                prop_assert_eq!(map.kind_at(x).map(E820Type::number), want);
            }
        }

        #[test]
        fn overlay_changes_just_its_range(
            entries in proptest::collection::vec(entry(), 0..10),
            top in entry(),
        ) {
            let before = MemoryMap::from_entries(entries);
            let mut after = before.clone();
            after.overlay(top.range, top.kind);
            well_formed(&after);
            for x in 0..80 {
                let want = if top.range.contains(x) { Some(top.kind) } else { before.kind_at(x) };
                prop_assert_eq!(after.kind_at(x), want);
            }
        }
    }

    #[test]
    fn pram_neighbours_stay_apart() {
        let r = |s, e| PhysRange::new(s, e).unwrap();
        let mut map = MemoryMap::default();
        map.overlay(r(0, 100), E820Type::Ram);
        map.overlay(r(10, 20), E820Type::Pram);
        map.overlay(r(20, 30), E820Type::Pram);
        assert_eq!(map.entries().len(), 4);
        map.retype(E820Type::Pram, &RangeSet::from(r(0, 25)), E820Type::Ram);
        assert_eq!(map.of_type(E820Type::Pram), RangeSet::from(r(20, 30)));
        assert_eq!(map.ram(), [r(0, 20), r(30, 100)].into_iter().collect());
    }
}
