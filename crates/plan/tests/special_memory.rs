//! Huge pages, NUMA nodes, many spans.

mod common;
#[path = "common/host.rs"]
mod host;

use common::{GIANT, MIB, Machine, displaced, range};
use host::{GIB, machine, pc, planned, refused};
use physmem::{FrameSet, PAGE_SIZE, RangeSet};
use plan::{FOUR_GIB, GRANULE, MoveRun, Node, PlanError, SPAN_HEAD_BYTES};

#[test]
fn four_small_pages_rather_move_than_one_of_a_huge_page() {
    // Below 4 GiB there are but two places for the window. In one is a huge page, in the other are
    // single pages; all else must stay.
    let places = [range(128 * MIB, 196 * MIB), range(512 * MIB, 580 * MIB)];
    let all = RangeSet::from(range(32 * MIB, 3 * GIB - GRANULE));
    let fixed = all.subtract(&places.into_iter().collect());
    let huge = RangeSet::from(range(160 * MIB, 162 * MIB));
    for (pages, huge_moves) in [(1000, false), (2040, false), (2060, true), (4000, true)] {
        let page = |i: u64| range(528 * MIB + i * 8192, 528 * MIB + i * 8192 + PAGE_SIZE);
        let keep = fixed.union(&huge).union(&(0..pages).map(page).collect());
        let m = Machine {
            fixed: FrameSet::from(&fixed),
            huge: huge.clone(),
            init_size: 64 * MIB,
            initrd_bytes: 0,
            low_ram: 0,
            reserve_ram: 64 * MIB,
            head_bytes: MIB,
            can_be_above_4g: false,
            ..machine(pc(8 * GIB), keep)
        };
        let (layout, moves) = planned(&m);
        let huge_page = huge.hull().unwrap();
        assert_eq!(displaced(&m, &layout).overlaps(huge_page), huge_moves, "{pages}");
        assert_eq!(layout.berths().bytes(), if huge_moves { GRANULE } else { 0 });
        assert!(!huge_moves || (moves[0].from, moves[0].len) == (huge_page.start(), GRANULE));
    }
}

#[test]
fn giant_pages_move_only_where_they_must() {
    let (first, second) = (range(GIB, 2 * GIB), range(5 * GIB, 6 * GIB));
    let giant: RangeSet = [first, second].into_iter().collect();
    let m = Machine { giant: giant.clone(), ..machine(pc(12 * GIB), giant.clone()) };
    assert!(planned(&m).1.is_empty());

    // All else below 4 GiB must stay, and the next kernel must be there.
    let low = RangeSet::from(range(2 * MIB, 3 * GIB - GRANULE)).subtract(&giant);
    let keep = low.union(&giant);
    let fixed = FrameSet::from(&low.subtract(&RangeSet::from(range(0, 8 * MIB))));
    let m = Machine { giant, fixed, can_be_above_4g: false, ..machine(pc(12 * GIB), keep) };
    let (_, moves) = planned(&m);
    assert_eq!((moves[0].from, moves[0].len), (first.start(), GIANT));
    assert!(moves[0].to >= FOUR_GIB && moves[0].to.is_multiple_of(GIANT));

    // A page in every GiB above: then none is free.
    let mut m = m;
    for gib in 4..13 {
        m.keep.insert(range(gib * GIB + 512 * MIB, gib * GIB + 512 * MIB + PAGE_SIZE));
    }
    let error = refused(&m);
    let why = matches!(error, PlanError::NoBerth { .. } | PlanError::FixedMustMove { .. });
    assert!(why, "{error}");
}

#[test]
fn nodes_keep_their_shares() {
    // Node 0 is full to the brim, node 1 is empty; the border is amid what is kept.
    let map = pc(8 * GIB);
    let border = FOUR_GIB + GIB;
    let keep = RangeSet::from(range(256 * MIB, border + 512 * MIB)).intersect(&map.ram());
    let node = |start, end| {
        let memory = RangeSet::from(range(start, end));
        Node { memory, reserve_ram: 512 * MIB }
    };
    let nodes = vec![node(0, border), node(border, 9 * GIB)];
    let m = Machine { nodes, ..machine(map, keep) };
    let (layout, _) = planned(&m);
    for node in &m.nodes {
        let left = layout.next_map(&m.map).ram().intersect(&node.memory).bytes();
        assert!(left >= node.reserve_ram, "{left} bytes on {node:?}");
    }
    // What of 512 MiB is not free on node 0 moves to node 1, and not more.
    let moved = layout.figures.displaced;
    assert!((256 * MIB..260 * MIB).contains(&moved), "{moved}");

    // Without shares all stays but a head where the second node begins.
    let nodes = m.nodes.iter().map(|node| Node { reserve_ram: 0, ..node.clone() }).collect();
    let m = Machine { nodes, ..m };
    let (layout, moves) = planned(&m);
    assert!(layout.spans.windows(2).any(|w| w[0].end() == border && w[1].start() == border));
    let head = |m: &MoveRun| (m.from, m.len) == (border, SPAN_HEAD_BYTES);
    assert!(moves.iter().any(head), "{moves:?}");

    // In place it has to have less than its share.
    let low = range(GIB, 3 * GIB - GRANULE);
    let high = range(FOUR_GIB + GRANULE, border);
    let fixed = m.keep.intersect(&[low, high].into_iter().collect());
    let nodes = m.nodes.iter().map(|node| Node { reserve_ram: 2 * GIB, ..node.clone() }).collect();
    let m = Machine { nodes, fixed, ..m };
    let (layout, _) = planned(&m);
    let ram = layout.next_map(&m.map).ram();
    let left = m.nodes.iter().map(|node| ram.intersect(&node.memory).bytes());
    let left: Vec<_> = left.collect();
    assert!((GIB - 8 * MIB..2 * GIB).contains(&left[0]) && left[1] >= 2 * GIB, "{left:?}");
}

#[test]
fn a_span_is_worth_its_price() {
    let kept = |start| range(start, start + 64 * MIB);
    let keep: RangeSet = [kept(GIB), kept(GIB + 200 * MIB)].into_iter().collect();
    let spans = |span_price| {
        let m = Machine { span_price, stay_price: 32, ..machine(pc(4 * GIB), keep.clone()) };
        planned(&m).0.spans.len()
    };
    // The gap is 136 MiB long, and 2 MiB of it are the second span's head.
    assert_eq!((spans(0), spans(100 * MIB), spans(140 * MIB)), (2, 2, 1));
}

#[test]
fn in_place_islands_take_more_entries_than_the_zero_page_has() {
    let islands = (0..200).map(|i| range(GIB + i * 64 * MIB + 8192, GIB + i * 64 * MIB + 2 * 8192));
    let keep: RangeSet = islands.filter(|r| r.start() < 3 * GIB || r.start() >= FOUR_GIB).collect();
    let fixed = FrameSet::from(&keep);
    // To have them in fewer spans takes more memory than there is.
    let m = Machine { fixed, reserve_ram: 12 * GIB, ..machine(pc(16 * GIB), keep) };
    let m = Machine { max_spans: 400, max_entries: 3200, head_bytes: 4096, ..m };
    let (layout, moves) = planned(&m);
    assert!(moves.is_empty() && layout.next_map(&m.map).entries().len() > 128);
    let few = Machine { max_entries: 128, ..m };
    assert!(matches!(refused(&few), PlanError::TooLittleRam { .. }), "{}", refused(&few));
}
