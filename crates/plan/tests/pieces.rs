//! Regions in pieces against the best way to make pieces of whole memory blocks, found by trying
//! all of them on machines of few blocks.

mod common;
#[path = "common/host.rs"]
mod host;

use common::{MIB, Machine, check, map, range};
use host::{GIB, machine, pc, planned, refused};
use physmem::{E820Type, PAGE_SIZE, PhysRange, RangeSet};
use plan::{FOUR_GIB, GRANULE, LOW_LIMIT, Pieces, PlanError, SPAN_HEAD_BYTES, lay_out};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

const BLOCK: u64 = 128 * MIB;

/// RAM of whole blocks, each with pages to keep at its start and at its end.
#[derive(Clone, Debug)]
struct Small {
    /// For each block so many MiB at its start, and at its end.
    kept: Vec<(u64, u64)>,
    parts: u64,
    seed: u64,
}

fn small() -> impl Strategy<Value = Small> {
    let block = prop_oneof![
        3 => Just((0, 0)),
        3 => Just((64, 64)),
        2 => (0..60u64, 0..60u64),
        1 => (0..3u64, 0..3u64),
    ];
    (proptest::collection::vec(block, 9..13), 2..5u64, any::<u64>())
        .prop_map(|(kept, parts, seed)| Small { kept, parts, seed })
}

impl Small {
    fn block(i: usize) -> PhysRange {
        PhysRange::from_len(i as u64 * BLOCK, BLOCK).unwrap()
    }

    fn keep(&self) -> RangeSet {
        let block = |(i, &(low, high)): (usize, &(u64, u64))| {
            let block = Self::block(i);
            let low = PhysRange::from_len(block.start(), low * MIB);
            let high = PhysRange::from_len(block.end() - high * MIB, high * MIB);
            [low, high].into_iter().flatten().collect::<Vec<_>>()
        };
        let all: RangeSet = self.kept.iter().enumerate().flat_map(block).collect();
        // Nothing of the first block, nor under the last head.
        all.subtract(&RangeSet::from(range(0, BLOCK - GRANULE)))
    }

    fn machine(&self) -> Machine {
        let top = Self::block(self.kept.len()).start();
        let map = map(&[(LOW_LIMIT, top, E820Type::Ram)]);
        let m = machine(map, self.keep());
        Machine {
            pieces: Pieces::Parts(self.parts),
            reserve_ram: 200 * MIB,
            max_spans: 16,
            stay_price: 32,
            seed: self.seed,
            ..m
        }
    }

    /// The fewest bytes that have to move, of all ways to cover blocks and to cut between them.
    fn best(&self) -> Option<u64> {
        let (n, m) = (self.kept.len(), self.machine());
        let room = m.keep.bytes() / self.parts;
        let in_block: Vec<_> = (0..n).map(|i| m.keep.bytes_within(Self::block(i))).collect();
        let before = |i: usize, len: u64| {
            let start = Self::block(i).start() - GRANULE;
            m.keep.bytes_within(PhysRange::from_len(start, len).unwrap())
        };
        let (heads, first): (Vec<_>, Vec<_>) =
            (1..n).map(|i| (before(i, GRANULE), before(i, SPAN_HEAD_BYTES))).unzip();
        let mut best: Option<u64> = None;
        // Not the first block, nor the last: some RAM is above all spans.
        for set in (2..1u32 << (n - 1)).step_by(2) {
            let cuttable = set & (set << 1);
            let mut cuts = cuttable;
            loop {
                let starts = set & !(set << 1) | cuts;
                let moved = self.moved(set, starts, &in_block, [&heads, &first], room);
                best = best.into_iter().chain(moved).min();
                if cuts == 0 {
                    break;
                }
                cuts = (cuts - 1) & cuttable;
            }
        }
        best
    }

    /// What moves, if there is room for it, and if copying out takes no more than `room`.
    fn moved(
        &self,
        set: u32,
        starts: u32,
        in_block: &[u64],
        [heads, under]: [&[u64]; 2],
        room: u64,
    ) -> Option<u64> {
        let n = in_block.len();
        let (has, begins) = (|i: usize| set >> i & 1 == 1, |i: usize| starts >> i & 1 == 1);
        let m = self.machine();
        let spans: Vec<_> = (0..n)
            .filter(|&i| begins(i))
            .map(|i| (i, (i + 1..=n).find(|&j| j == n || !has(j) || begins(j)).unwrap_or(n)))
            .collect();
        let first = spans.first()?.0;
        let (mut len, mut stay) = (Vec::new(), Vec::new());
        for &(i, j) in &spans {
            // The granule before a piece is its own, not the piece's before it.
            let touches = j < n && has(j);
            let lost = if touches { GRANULE } else { 0 };
            let head = if i == first { m.head_bytes } else { SPAN_HEAD_BYTES };
            len.push((j - i) as u64 * BLOCK + GRANULE - lost - head);
            let kept = in_block[i..j].iter().sum::<u64>() + heads[i - 1];
            let next = if touches { heads[j - 1] } else { 0 };
            let gone = if i == first { heads[i - 1] } else { under[i - 1] };
            stay.push(kept - next - gone);
        }
        let moved = m.keep.bytes() - stay.iter().sum::<u64>();
        let free = len.iter().sum::<u64>() - stay.iter().sum::<u64>();
        let wanted = if moved == 0 { 0 } else { moved + m.staged_bytes + m.mover_bytes };
        let all = len.iter().sum::<u64>() + (spans.len() as u64 - 1) * SPAN_HEAD_BYTES;
        let total = n as u64 * BLOCK - LOW_LIMIT;
        if free < wanted || total - all - m.head_bytes < m.reserve_ram {
            return None;
        }
        let (mut fits, mut back, mut most) = (0, 0, 0u64);
        for (s, &(i, j)) in spans.iter().enumerate().rev() {
            fits += len[s];
            most = most.max(fits.min(m.keep.bytes()).saturating_sub(back));
            let touches = j < n && has(j);
            back += ((j - i) as u64 - u64::from(touches)) * BLOCK;
        }
        (most <= room).then_some(moved)
    }
}

/// How plans compare with the best ones.
#[derive(Debug, Default)]
struct Tally {
    plans: u64,
    within_5_percent: u64,
    moved: u64,
    best: u64,
    missed: u64,
}

#[test]
fn small_machines_in_pieces() {
    let mut runner = TestRunner::deterministic();
    let mut tally = Tally::default();
    for _ in 0..300 {
        let small = small().new_tree(&mut runner).unwrap().current();
        let m = small.machine();
        // Pieces of less than two blocks are a matter of how single ones happen to lie.
        if m.keep.bytes() < 2 * BLOCK * small.parts {
            continue;
        }
        let best = small.best();
        let Ok(layout) = lay_out(&m.request()) else {
            tally.missed += u64::from(best.is_some());
            continue;
        };
        check(&m, &layout);
        let Some(best) = best else { continue };
        let moved = layout.figures.displaced;
        assert!(moved <= best + BLOCK, "{moved} bytes move, not {best}: {small:?}");
        tally.plans += 1;
        tally.within_5_percent += u64::from(moved <= best + best / 20 + PAGE_SIZE);
        tally.moved += moved;
        tally.best += best;
    }
    eprintln!("{tally:?}");
    assert!(tally.plans >= 40 && tally.missed * 20 <= tally.plans, "{tally:?}");
    assert!(tally.within_5_percent * 4 >= tally.plans * 3, "{tally:?}");
    assert!(tally.moved * 10 <= tally.best * 12, "{tally:?}");
}

/// A machine that keeps `mib` MiB in one run somewhere in 8 GiB.
fn one_run(mib: u64, pieces: Pieces) -> Machine {
    let keep = RangeSet::from(range(FOUR_GIB + 10 * MIB, FOUR_GIB + (10 + mib) * MIB));
    let m = machine(pc(8 * GIB), keep);
    Machine { pieces, max_spans: 31, stay_price: 32, span_price: 64 * MIB, ..m }
}

#[test]
fn small_regions_come_back_from_pieces_that_lie_apart() {
    for (mib, parts) in [(1530, 9), (1530, 10), (2100, 12), (3000, 16)] {
        let (layout, _) = planned(&one_run(mib, Pieces::Parts(parts)));
        let spans = &layout.spans;
        assert!(spans.len() as u64 >= parts, "{spans:?}");
        // All but the 2 MiB before the blocks comes back; the two lowest pieces may touch.
        let gaps: Vec<_> = spans.windows(2).map(|w| w[1].start() - w[0].end()).collect();
        assert!(gaps[1..].iter().all(|&gap| gap >= 126 * MIB), "{spans:?}");
        let lost = spans.len() as u64 * GRANULE + if gaps[0] == 0 { BLOCK - GRANULE } else { 0 };
        let all: u64 = spans.iter().map(|s| s.len()).sum();
        assert_eq!(layout.figures.returnable, all - lost, "{spans:?}");
        assert!(layout.figures.waste < 160 * MIB, "{:?}", layout.figures);
        // What was between the pieces moves, and not more.
        let between = (spans.len() as u64 + 1) * 128 * MIB;
        assert!(layout.figures.displaced <= between, "{:?}", layout.figures);
    }
    let error = refused(&one_run(1530, Pieces::Parts(16)));
    assert!(matches!(error, PlanError::NoPieces { .. }), "{error}");
}

#[test]
fn large_regions_are_cut_where_they_are() {
    let keep = RangeSet::from(range(FOUR_GIB + 10 * MIB, 60 * GIB));
    let m = machine(pc(128 * GIB), keep);
    let prices = Machine { stay_price: 32, span_price: 64 * MIB, max_spans: 31, ..m };
    for parts in [2, 4, 8] {
        let m = Machine { pieces: Pieces::Parts(parts), ..prices.clone() };
        let (layout, _) = planned(&m);
        let spans = &layout.spans;
        assert!(spans.len() as u64 > parts, "{spans:?}");
        assert!(spans.windows(2).all(|w| w[0].end() == w[1].start()), "{spans:?}");
        // Heads move, nothing else; and a block is lost at each cut and at both ends.
        assert_eq!(layout.figures.displaced, (spans.len() as u64 - 1) * SPAN_HEAD_BYTES);
        let all: u64 = spans.iter().map(|s| s.len()).sum();
        assert!(layout.figures.returnable >= all - (spans.len() as u64 + 1) * 128 * MIB);
    }
}

#[test]
fn regions_are_cut_only_as_a_copy_needs_it() {
    let fit = Pieces::ToFit { needs: 512 * MIB };
    // There is room for a second copy.
    let (layout, _) = planned(&one_run(3000, fit));
    assert_eq!(layout.spans.len(), 1);
    // There is none.
    let (layout, _) = planned(&one_run(3900, fit));
    assert!(layout.spans.len() > 1 && layout.figures.displaced > 0, "{layout:?}");
    assert!(layout.figures.copy_room <= layout.figures.ram - 512 * MIB, "{layout:?}");
    // And there is no way to make some: so it is not cut at all.
    let fixed = one_run(3900, fit).keep;
    let (layout, _) = planned(&Machine { fixed, ..one_run(3900, fit) });
    assert_eq!((layout.spans.len(), layout.figures.displaced), (1, 0));
}

#[test]
fn pieces_leave_huge_pages_whole() {
    let huge: RangeSet = one_run(1530, Pieces::Any).keep.iter().collect();
    let m = Machine { huge, ..one_run(1530, Pieces::Parts(9)) };
    let (layout, moves) = planned(&m);
    assert!(layout.spans.len() > 9 && !moves.is_empty(), "{layout:?}");
}
