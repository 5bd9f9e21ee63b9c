//! Hosts of any size made of numbers alone, to measure planning with.

use crate::{KernelNeeds, Request};
use physmem::{E820Entry, E820Type, MemoryMap, PAGE_SIZE, PhysRange, RangeSet};

const GIB: u64 = 1 << 30;

/// How the kept pages lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// In two long runs.
    Contiguous,
    /// In pieces of all sizes.
    Aged,
    /// In at most about so many runs. If memory needs no more runs than that to be so, no granule
    /// is free of them or full: as bad as can be.
    Scattered(u64),
}

/// RAM in bytes, with the hole that PCI devices have below 4 GiB.
pub fn host(ram: u64) -> MemoryMap {
    let entry = |(start, end)| E820Entry {
        range: PhysRange::new(start, end).expect("ends lie above starts"),
        kind: E820Type::Ram,
    };
    let rams = [(0, 0x9f000), (1 << 20, 3 * GIB), (4 * GIB, ram.max(4 * GIB) + GIB)];
    MemoryMap::from_entries(rams.map(entry))
}

/// What is kept: it lies in the lower 94 % of memory, so that with 9 % asked for the next kernel
/// ([`request`]) not all of it can stay.
pub fn kept(map: &MemoryMap, lie: Lie) -> RangeSet {
    let top = map.ram().hull().map_or(0, PhysRange::end);
    let all = top.saturating_sub(GIB) / PAGE_SIZE;
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut pages = |most: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        1 + random % most.max(1)
    };
    let mut runs = Vec::new();
    let mut at = (64 << 20) / PAGE_SIZE;
    let end = all / 100 * 94;
    while at < end {
        let (len, gap) = match lie {
            Lie::Contiguous => (all / 5 * 2, all / 20),
            Lie::Aged => (pages(4096), pages(900)),
            Lie::Scattered(most) => {
                let len = pages(17.max(all / most.max(1) * 2));
                (len, 1 + len / 10)
            }
        };
        runs.extend(PhysRange::from_pfn(at, len.min(end - at)));
        at += len + gap;
    }
    runs.into_iter().collect::<RangeSet>().intersect(&map.ram())
}

/// A request for all of `keep`, with the needs of a stock kernel. `none` is an empty set.
pub fn request<'a>(map: &'a MemoryMap, keep: &'a RangeSet, none: &'a RangeSet) -> Request<'a> {
    Request {
        map,
        keep,
        fixed: none,
        avoid: none,
        kernel: KernelNeeds {
            init_size: 64 << 20,
            alignment: 2 << 20,
            min_addr: 16 << 20,
            can_be_above_4g: true,
        },
        initrd_bytes: 50 << 20,
        initrd_max_addr: 0x7fff_ffff,
        boot_block_bytes: 64 << 10,
        mover_bytes: 16 << 10,
        head_bytes: 64 << 20,
        staged_bytes: 256 << 20,
        reserve_ram: map.ram().bytes() / 100 * 9,
        low_ram: 128 << 20,
        memory_block: 128 << 20,
        max_spans: 8,
        max_entries: 128,
        stay_price: u64::MAX,
        seed: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GRANULE;

    #[test]
    fn scattered_leaves_no_granule_free_or_full() {
        let map = host(8 * GIB);
        let keep = kept(&map, Lie::Scattered(1_000_000));
        assert!(keep.subtract(&map.ram()).is_empty());
        let hull = keep.hull().unwrap();
        let granules = hull.start() / GRANULE + 1..hull.end() / GRANULE;
        assert!(granules.clone().count() > 3000);
        for granule in granules {
            let range = PhysRange::from_len(granule * GRANULE, GRANULE).unwrap();
            let bytes = keep.bytes_within(range);
            let in_hole = !map.ram().contains_range(range);
            assert!(in_hole || (0 < bytes && bytes < GRANULE), "{range}: {bytes}");
        }
    }

    #[test]
    fn every_lie_can_be_planned() {
        let (map, none) = (host(8 * GIB), RangeSet::new());
        for lie in [Lie::Contiguous, Lie::Aged, Lie::Scattered(100_000)] {
            let keep = kept(&map, lie);
            let layout = crate::lay_out(&request(&map, &keep, &none)).unwrap();
            let moved = crate::assign(&layout, &keep, &none).unwrap().iter().map(|m| m.len).sum();
            assert_eq!(layout.figures.displaced, moved, "{lie:?}");
            assert!(layout.figures.displaced < keep.bytes(), "{lie:?}");
        }
    }
}
