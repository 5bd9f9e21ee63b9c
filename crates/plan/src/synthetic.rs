//! Hosts of any size made of numbers alone, to measure planning with.

use crate::rng::Rng;
use crate::{KernelNeeds, Pieces, Request};
use physmem::{E820Entry, E820Type, FrameSet, MemoryMap, PAGE_SIZE, PhysRange, RangeSet};

const GIB: u64 = 1 << 30;

/// One bit of two.
const EVERY_SECOND: u64 = u64::MAX / 3;

/// How the kept pages lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// In two long runs.
    Contiguous,
    /// In pieces of all sizes.
    Aged,
    /// Every second page, but for a few at random, so that no granule is as full as the next: as
    /// bad as can be.
    Scattered,
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
pub fn kept(map: &MemoryMap, lie: Lie) -> FrameSet {
    let top = map.ram().hull().map_or(0, PhysRange::end);
    let all = top.saturating_sub(GIB) / PAGE_SIZE;
    let (mut at, end) = ((64 << 20) / PAGE_SIZE, all / 100 * 94);
    let mut rng = Rng::new(0x2545_f491_4f6c_dd1d);
    let pages = |rng: &mut Rng, most| 1 + rng.below(most).unwrap_or(0);
    let mut keep = FrameSet::new();
    while at < end {
        let (len, gap) = match lie {
            Lie::Contiguous => (all / 5 * 2, all / 20),
            Lie::Aged => (pages(&mut rng, 4096), pages(&mut rng, 900)),
            Lie::Scattered => {
                let missing = rng.next() & rng.next() & rng.next();
                keep.insert_bits(at, EVERY_SECOND & !missing);
                at += 64;
                continue;
            }
        };
        keep.extend(PhysRange::from_pfn(at, len.min(end - at)));
        at += len + gap;
    }
    keep.intersect(&map.ram())
}

/// A request for all of `keep`, with the needs of a stock kernel and pkram's own prices.
pub fn request<'a>(map: &'a MemoryMap, keep: &'a FrameSet) -> Request<'a> {
    static NO_FRAMES: FrameSet = FrameSet::new();
    static NO_RANGES: RangeSet = RangeSet::new();
    Request {
        map,
        keep,
        fixed: &NO_FRAMES,
        huge: &NO_RANGES,
        giant: &NO_RANGES,
        avoid: &NO_RANGES,
        nodes: &[],
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
        max_spans: 31,
        span_price: map.ram().bytes() / 2048,
        pieces: Pieces::Any,
        max_entries: 128,
        stay_price: 32,
        seed: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GRANULE, assign, lay_out};

    #[test]
    fn scattered_leaves_no_granule_free_or_full() {
        let map = host(8 * GIB);
        let keep = kept(&map, Lie::Scattered);
        assert!((keep.iter().count() as u64) * PAGE_SIZE == keep.bytes(), "no two pages touch");
        let hull = keep.hull().unwrap();
        let granules = hull.start() / GRANULE + 1..hull.end() / GRANULE;
        assert!(granules.clone().count() > 3000);
        for granule in granules {
            let range = PhysRange::from_len(granule * GRANULE, GRANULE).unwrap();
            let in_hole = !map.ram().contains_range(range);
            let share = keep.bytes_within(range) * 64 / GRANULE;
            assert!(in_hole || (24..=32).contains(&share), "{range}: {share} / 64");
        }
    }

    #[test]
    fn every_lie_can_be_planned() {
        let map = host(8 * GIB);
        for lie in [Lie::Contiguous, Lie::Aged, Lie::Scattered] {
            let keep = kept(&map, lie);
            let layout = lay_out(&request(&map, &keep)).unwrap();
            let mut moved = 0;
            assign(&layout, &keep, &FrameSet::new(), |m| moved += m.len).unwrap();
            assert_eq!(layout.figures.displaced, moved, "{lie:?}");
            assert!(0 < moved && moved < keep.bytes() / 8, "{lie:?}");
        }
    }
}
