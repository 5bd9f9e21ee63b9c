//! Random machines.

use crate::common::{MIB, Machine, map, range};
use physmem::{E820Type, FrameSet, MemoryMap, PAGE_SIZE, PhysRange, RangeSet};
use plan::{FOUR_GIB, GRANULE, LOW_LIMIT, Node, Pieces};
use proptest::prelude::*;

/// 1 MiB without holes, RAM with holes, earlier regions and ragged ends, more RAM above 4 GiB.
fn maps() -> impl Strategy<Value = MemoryMap> {
    let hole = (
        0..120u64,
        1..3000u64,
        prop_oneof![Just(E820Type::Reserved), Just(E820Type::Pram), Just(E820Type::AcpiNvs),],
    );
    let high = prop_oneof![4 => 0..80u64, 1 => 900..1500u64];
    (40..160u64, high, 0..512u64, proptest::collection::vec(hole, 0..4)).prop_map(
        |(low, high, ragged, holes)| {
            let mut map = map(&[(0, 0x9fc00, E820Type::Ram)]);
            let low_end = low * GRANULE - ragged * PAGE_SIZE;
            map.overlay(range(LOW_LIMIT, low_end), E820Type::Ram);
            if high > 0 {
                let end = FOUR_GIB + high * GRANULE + ragged * PAGE_SIZE;
                map.overlay(range(FOUR_GIB, end), E820Type::Ram);
            }
            for (at, pages, kind) in holes {
                let start = at * GRANULE + GRANULE / 2 * (pages % 3);
                let end = match kind {
                    E820Type::Pram => start.next_multiple_of(GRANULE) + GRANULE,
                    _ => start + pages % 700 * PAGE_SIZE + PAGE_SIZE,
                };
                let start = if kind == E820Type::Pram { end - GRANULE } else { start };
                if start >= LOW_LIMIT {
                    map.overlay(range(start, end), kind);
                }
            }
            map
        },
    )
}

/// Pages of a map's RAM: single ones, runs, and nearly everything.
fn pages_of(map: &MemoryMap) -> impl Strategy<Value = RangeSet> + use<> {
    let ram = map.ram().subtract(&RangeSet::from(range(0, LOW_LIMIT))).align_inward(PAGE_SIZE);
    let top = ram.hull().unwrap().end() / PAGE_SIZE;
    let low_top = top.min(FOUR_GIB / PAGE_SIZE).min(90_000);
    let page =
        prop_oneof![3 => 256..low_top, 1 => FOUR_GIB / PAGE_SIZE..(FOUR_GIB / PAGE_SIZE + 40_000)];
    let len = prop_oneof![4 => 1..4u64, 3 => 4..600u64, 2 => 600..9000u64];
    let run = (page, len).prop_map(|(p, l)| PhysRange::from_pfn(p, l).unwrap());
    let some = proptest::collection::vec(run.clone(), 0..60);
    let but = proptest::collection::vec(run, 5..40);
    prop_oneof![
        4 => some.prop_map(|runs| runs.into_iter().collect::<RangeSet>()),
        1 => but.prop_map(move |holes| {
            RangeSet::from(range(0, top * PAGE_SIZE)).subtract(&holes.into_iter().collect())
        }),
    ]
    .prop_map(move |set| set.intersect(&ram))
}

/// The first few whole units of `size` bytes in `keep`.
fn whole_units(keep: &RangeSet, size: u64, count: usize) -> RangeSet {
    let whole = keep.align_inward(size);
    let starts =
        whole.iter().flat_map(|r| (r.start()..r.end()).step_by(usize::try_from(size).unwrap()));
    starts.take(count).map(|start| PhysRange::from_len(start, size).unwrap()).collect()
}

/// Two nodes, one below so many granules or amid the longest run of kept pages, that are to keep so
/// many each; or none.
fn nodes(map: &MemoryMap, keep: &RangeSet, halves: Option<(u64, u64)>) -> Vec<Node> {
    let Some((border, reserve)) = halves else { return Vec::new() };
    let longest = keep.iter().max_by_key(|run| run.len());
    let border = match longest.filter(|_| border % 2 == 0) {
        Some(run) => (run.start() / 2 + run.end() / 2).next_multiple_of(GRANULE),
        // Borders need not be at granules.
        None => (border + 1) * GRANULE + border % 3 / 2 * PAGE_SIZE,
    };
    let halves = [range(0, border), range(border, map.ram().hull().unwrap().end() + border)];
    let node = |half| Node { memory: RangeSet::from(half), reserve_ram: reserve * GRANULE };
    halves.map(node).to_vec()
}

pub(crate) fn machines() -> impl Strategy<Value = Machine> {
    maps()
        .prop_flat_map(|map| {
            let (keep, avoid) = (pages_of(&map), pages_of(&map));
            (Just(map), keep, avoid)
        })
        .prop_flat_map(|(map, keep, avoid)| {
            let needs = (
                prop_oneof![3 => Just(0usize), 1 => 1..6usize],
                prop_oneof![3 => Just(0u64), 1 => 1..6u64],
                8..40u64,
                any::<bool>(),
                0..24u64,
                0..60u64,
            );
            let more = (
                prop_oneof![2 => Just(0usize), 1 => 1..20usize],
                prop_oneof![2 => Just(None), 1 => (0..200u64, 0..40u64).prop_map(Some)],
                prop_oneof![1 => Just(0u64), 1 => 0..300 * MIB],
                prop_oneof![
                    3 => Just(Pieces::Any),
                    1 => (2..9u64).prop_map(Pieces::Parts),
                    1 => (0..100u64).prop_map(|n| Pieces::ToFit { needs: n * MIB }),
                ],
            );
            let limits = (
                1..9usize,
                prop_oneof![Just(u64::MAX), 1..600u64],
                prop_oneof![1..40u64, 500..3000u64],
                0..100u64,
                prop_oneof![Just(0u64), 1..24u64],
                any::<u64>(),
                0..1000u64,
                1..7u32,
            );
            (Just((map, keep, avoid)), needs, limits, more)
        })
        .prop_map(|((map, keep, avoid), needs, limits, more)| {
            let (units, halves, span_price, pieces) = more;
            let (fixed, avoided, init, can_be_above_4g, initrd, reserve) = needs;
            let (max_spans, stay_price, head, mover, low, seed, staged, block) = limits;
            let few = |r: PhysRange| PhysRange::from_len(r.start(), r.len().min(8 * PAGE_SIZE));
            let avoided = usize::try_from(avoided).unwrap();
            Machine {
                huge: whole_units(&keep, GRANULE, units),
                giant: RangeSet::new(),
                nodes: nodes(&map, &keep, halves),
                span_price,
                pieces,
                fixed: keep.iter().skip(3).step_by(7).take(fixed).collect(),
                avoid: avoid.iter().take(avoided).filter_map(|r| few(r).ok()).collect(),
                map,
                keep: FrameSet::from(&keep),
                staged_bytes: staged * PAGE_SIZE,
                init_size: init * MIB + 0x123,
                can_be_above_4g,
                initrd_bytes: initrd * MIB,
                mover_bytes: 64 << 10 | mover << 12,
                head_bytes: head * PAGE_SIZE,
                reserve_ram: reserve * 2 * MIB,
                low_ram: low * MIB,
                memory_block: GRANULE << block,
                max_spans,
                max_entries: 128,
                stay_price,
                seed,
            }
        })
}
