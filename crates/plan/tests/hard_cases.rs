//! Machines that are hard to plan for, one by one, with what is to come of them.

mod common;
#[path = "common/host.rs"]
mod host;

use common::{MIB, Machine, displaced, heads, moves, range};
use host::{GIB, machine, pc, planned, refused};
use physmem::{E820Type, FrameSet, MemoryMap, PAGE_SIZE, PhysRange, RangeSet};
use plan::{FOUR_GIB, GRANULE, LOW_LIMIT, PlanError, lay_out};

/// One kept page in every ten, or all but one in every ten, from 16 MiB to the top.
fn every_tenth(map: &MemoryMap, kept: bool) -> RangeSet {
    let top = map.ram().hull().unwrap().end() / PAGE_SIZE;
    let runs = (4096..top).step_by(10);
    let run = |p| PhysRange::from_pfn(p, if kept { 1 } else { 9 }).unwrap();
    runs.map(run).collect::<RangeSet>().intersect(&map.ram())
}

#[test]
fn nothing_moves_when_there_is_room() {
    let keep = RangeSet::from(range(GIB, GIB + 300 * MIB));
    let (layout, moves) = planned(&machine(pc(2 * GIB), keep));
    assert!(moves.is_empty());
    assert_eq!(layout.spans.len(), 1);
    assert!(layout.figures.waste < 50 * MIB, "{:?}", layout.figures);
    // 2 MiB before a block; 300 MiB are two blocks and a bit.
    assert_eq!(layout.spans[0].start(), GIB - GRANULE);
    assert_eq!(layout.figures.returnable, 256 * MIB);
}

#[test]
fn a_little_waste_makes_a_block_returnable() {
    let keep = RangeSet::from(range(GIB + 4 * MIB, GIB + 250 * MIB));
    let (layout, _) = planned(&machine(pc(2 * GIB), keep));
    assert_eq!(layout.spans, [range(GIB - GRANULE, GIB + 256 * MIB)]);
    assert_eq!(layout.figures.returnable, 256 * MIB);
}

#[test]
fn nine_tenths_of_memory_scattered() {
    for ram in [4 * GIB, 6 * GIB] {
        let map = pc(ram);
        let keep = every_tenth(&map, false);
        let m = Machine { reserve_ram: ram / 16, ..machine(map, keep) };
        let (layout, _) = planned(&m);
        // The exception moves: what lay in the next kernel's share, its image, and the head.
        let share = m.reserve_ram.max(180 * MIB) + 16 * MIB;
        assert!(layout.figures.displaced < share, "{:?}", layout.figures);
    }
}

#[test]
fn scattered_pages_stay_or_gather_as_their_price_says() {
    let map = pc(4 * GIB);
    let keep = every_tenth(&map, true);
    let m = machine(map, keep);
    let (stays, _) = planned(&m);
    assert!(stays.figures.displaced < 50 * MIB, "{:?}", stays.figures);
    // A byte is worth five bytes of waste, but costs nine: all gathers in a tenth of memory.
    let (gathers, moves) = planned(&Machine { stay_price: 5, ..m });
    let spans: u64 = gathers.spans.iter().map(|s| s.len()).sum();
    assert!(spans < gathers.figures.kept + 128 * MIB, "{:?}", gathers.figures);
    assert!(moves.len() > 50_000);
}

#[test]
fn kept_pages_where_kernels_are_loaded() {
    let keep = RangeSet::from(range(16 * MIB, 400 * MIB));
    let (layout, moves) = planned(&machine(pc(GIB), keep));
    assert!(moves.is_empty());
    assert!(layout.window.start() >= 400 * MIB);
}

#[test]
fn a_tiny_machine() {
    let keep = RangeSet::from(range(40 * MIB, 240 * MIB));
    let m = Machine { reserve_ram: 200 * MIB, ..machine(pc(512 * MIB), keep) };
    let (_, moves) = planned(&m);
    assert!(moves.is_empty());
}

#[test]
fn no_window_is_free() {
    // Something kept every 32 MiB, all but a little of it dense.
    let pieces = (1..32u64).map(|i| range(i * 32 * MIB, i * 32 * MIB + (i % 7 + 1) * PAGE_SIZE));
    let dense = range(600 * MIB, 800 * MIB);
    let keep: RangeSet = pieces.chain([dense]).collect();
    let (layout, moves) = planned(&machine(pc(GIB), keep));
    assert!(!moves.is_empty());
    assert!(layout.figures.displaced <= 16 * 7 * PAGE_SIZE, "{:?}", layout.figures);
    assert!(!layout.window.overlaps(dense));
}

#[test]
fn the_mover_finds_the_only_gap() {
    // Everywhere a page is kept every 40 KiB; 64 KiB are free only amid memory that stays.
    let map = pc(GIB);
    let all: RangeSet = map.ram().intersect(&RangeSet::from(range(LOW_LIMIT, GIB)));
    let sparse = (256..GIB / PAGE_SIZE).step_by(10).map(|p| PhysRange::from_pfn(p, 1).unwrap());
    let gap = range(700 * MIB, 700 * MIB + (64 << 10));
    let keep: RangeSet = sparse.chain([range(600 * MIB, 900 * MIB)]).collect();
    let keep = keep.intersect(&all).subtract(&RangeSet::from(gap));
    let m = machine(map, keep);
    let (layout, moves) = planned(&m);
    assert_eq!(layout.mover, gap);
    assert!(!layout.destinations(&m.keep).overlaps(gap));
    assert!(layout.spans.iter().any(|s| s.contains_range(gap)) && !moves.is_empty());
}

#[test]
fn parts_go_where_nothing_is_in_place() {
    // The cheapest places for all parts hold in-place pages; only the dense 300 MiB do not.
    let map = pc(4 * GIB);
    let dense = RangeSet::from(range(GIB, GIB + 300 * MIB));
    // Spans need room for their heads.
    let heads = [range(0, 40 * MIB), range(FOUR_GIB, FOUR_GIB + 8192)].into_iter().collect();
    let whole = map.ram().align_inward(GRANULE).subtract(&heads);
    let fixed = every_tenth(&map, true).intersect(&whole).subtract(&dense);
    let keep = fixed.union(&dense);
    let fixed = FrameSet::from(&fixed);
    let m = Machine { fixed, reserve_ram: 0, mover_bytes: PAGE_SIZE, ..machine(map, keep) };
    let (layout, _) = planned(&m);
    assert!(dense.overlaps(layout.window));
}

#[test]
fn windows_differ_by_seed_alone() {
    let keep = RangeSet::from(range(GIB, GIB + 300 * MIB));
    let m = machine(pc(2 * GIB), keep);
    let window = |seed| {
        let layout = planned(&Machine { seed, ..m.clone() }).0;
        let spans = layout.spans.clone();
        (layout.window.start(), spans)
    };
    let all: std::collections::BTreeSet<_> = (0..40).map(window).collect();
    let starts: std::collections::BTreeSet<_> = all.iter().map(|w| w.0).collect();
    assert!(starts.len() > 30, "{starts:x?}");
    assert_eq!(window(3), window(3));
}

#[test]
fn earlier_regions_stay_between_new_spans() {
    let mut map = pc(2 * GIB);
    let old = range(GIB, GIB + 130 * MIB);
    map.overlay(old, E820Type::Pram);
    let keep: RangeSet =
        [range(GIB - 64 * MIB, GIB), range(GIB + 130 * MIB, GIB + 200 * MIB)].into_iter().collect();
    let (layout, moves) = planned(&machine(map, keep));
    // The second span begins where the old region ends: its head has to be made free.
    assert_eq!(moves.iter().map(|m| (m.from, m.len)).collect::<Vec<_>>(), [(old.end(), 8192)]);
    assert_eq!(layout.spans.len(), 2);
    assert!(layout.spans.iter().all(|s| !s.overlaps(old)));
}

#[test]
fn later_spans_give_way_to_their_heads() {
    let keep: RangeSet =
        [range(GIB, GIB + GRANULE), range(FOUR_GIB, FOUR_GIB + GRANULE)].into_iter().collect();
    let (layout, moves) = planned(&machine(pc(4 * GIB), keep));
    // The first span starts a granule earlier for its head; the second one cannot.
    assert_eq!(layout.spans.len(), 2);
    let second = heads(&layout).iter().last().unwrap();
    assert_eq!(second, range(FOUR_GIB, FOUR_GIB + 8192));
    assert_eq!(moves.iter().map(|m| (m.from, m.len)).collect::<Vec<_>>(), [(FOUR_GIB, 8192)]);
}

#[test]
fn in_place_pages_are_named_when_they_would_have_to_move() {
    let map = pc(GIB);
    let below_2_mib = RangeSet::from(range(LOW_LIMIT, LOW_LIMIT + 3 * PAGE_SIZE));
    let fixed = FrameSet::from(&below_2_mib);
    let m = Machine { fixed, ..machine(map.clone(), below_2_mib.clone()) };
    assert_eq!(refused(&m), PlanError::FixedMustMove { ranges: below_2_mib });
    assert!(refused(&m).to_string().contains("0x100000-0x102fff"), "{}", refused(&m));

    // All of memory in place: there is nowhere for the next kernel.
    let all = RangeSet::from(range(16 * MIB, 1000 * MIB));
    let m = Machine { fixed: FrameSet::from(&all), ..machine(map, all) };
    assert!(matches!(refused(&m), PlanError::TooLittleRam { .. }), "{}", refused(&m));
}

#[test]
fn says_how_much_is_missing() {
    let keep = RangeSet::from(range(16 * MIB, 900 * MIB));
    let m = machine(pc(GIB), keep);
    let PlanError::TooLittleRam { needed, available } = refused(&m) else { panic!() };
    let missing = needed - available;
    // With as much less to be left for the next kernel there is a plan, up to a few granules.
    let enough = m.reserve_ram - missing - 4 * GRANULE;
    planned(&Machine { reserve_ram: enough, low_ram: 0, initrd_bytes: MIB, init_size: MIB, ..m });
}

#[test]
fn too_much_staged_is_refused_by_assign() {
    let map = pc(4 * GIB);
    let keep = every_tenth(&map, false);
    let m = machine(map, keep);
    let layout = lay_out(&m.request()).unwrap();
    let everything = m.map.ram();
    let all = layout.figures.displaced;
    assert!(all > 0);
    assert_eq!(moves(&m, &layout, &everything), Err(PlanError::NoDestination { missing: all }));
}

#[test]
fn refuses_what_is_no_page_of_ram() {
    let map = pc(4 * GIB);
    let refused = |start, end| refused(&machine(pc(4 * GIB), RangeSet::from(range(start, end))));
    assert_eq!(map.kind_at(3 * GIB), None);
    let hole = range(3 * GIB, 3 * GIB + PAGE_SIZE);
    assert_eq!(refused(hole.start(), hole.end()), PlanError::NotRam { range: hole });
}

#[test]
fn pages_below_1_mib_move_out() {
    let low = range(0x1000, 0x3000);
    let m = machine(pc(4 * GIB), RangeSet::from(low));
    let (layout, moves) = planned(&m);
    assert_eq!(displaced(&m, &layout), RangeSet::from(low));
    assert_eq!(moves.iter().map(|m| m.len).sum::<u64>(), low.len());
}

#[test]
fn long_runs_stay_whole() {
    // The window, the initrd and low RAM are pushed onto kept memory; gaps of all lengths are free.
    let gaps = (0..60u64).map(|i| {
        let start = 400 * MIB + i * 3 * GRANULE;
        range(start, start + GRANULE / 4 * (1 + i % 8))
    });
    let keep = RangeSet::from(range(16 * MIB, 960 * MIB)).subtract(&gaps.collect());
    let m = Machine { reserve_ram: 150 * MIB, staged_bytes: MIB, ..machine(pc(GIB), keep) };
    let (layout, moves) = planned(&m);
    let runs = displaced(&m, &layout).count();
    assert!(runs > 0);
    eprintln!("{} moves of {runs} runs", moves.len());
    assert!(moves.len() < runs + 64, "{} moves", moves.len());
}
