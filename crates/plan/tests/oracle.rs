//! What plans cost against the best plan, found by trying every set of granules on small machines.
//!
//! The cost is what is moved, where a page of a huge page counts as [`HUGE_PRICE`].
//!
//! The machines are built so that trying all sets is exact: every part is a whole number of
//! granules long, and 1 MiB to 2 MiB, which no span can have, takes the boot block and the mover.

use physmem::{E820Entry, E820Type, FrameSet, MemoryMap, PAGE_SIZE, PhysRange, RangeSet};
use plan::{
    GRANULE, HUGE_PRICE, KernelNeeds, LOW_LIMIT, Node, Pieces, Request, SPAN_HEAD_BYTES, lay_out,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

const PAGES: u64 = GRANULE / PAGE_SIZE;

/// A machine with RAM from 1 MiB on, its granules counted from 2 MiB.
#[derive(Clone, Debug)]
struct Small {
    /// For each granule its runs of kept pages (first page, pages); `None` where it is no RAM.
    granules: Vec<Option<Vec<(u64, u64)>>>,
    /// Granules that must not move, where they have kept pages.
    fixed: u32,
    /// Granules that are a huge page, where they are kept as a whole.
    huge: u32,
    /// From which granule on memory is on another node, and how many granules each is to keep.
    nodes: Option<(usize, [u64; 2])>,
    window: u64,
    initrd: u64,
    low: u64,
    head_pages: u64,
    staged_pages: u64,
    /// Granules that must stay RAM.
    reserve: u64,
    max_spans: usize,
    seed: u64,
}

impl Small {
    fn granule(i: usize) -> PhysRange {
        PhysRange::from_len(GRANULE * (1 + i as u64), GRANULE).unwrap()
    }

    fn map(&self) -> MemoryMap {
        let low = PhysRange::new(LOW_LIMIT, GRANULE).unwrap();
        let rams = (0..self.granules.len()).filter(|&i| self.granules[i].is_some());
        let all = rams.map(Self::granule).chain([low]);
        MemoryMap::from_entries(all.map(|range| E820Entry { range, kind: E820Type::Ram }))
    }

    fn kept_in(&self, i: usize) -> RangeSet {
        let run = |&(first, pages): &(u64, u64)| {
            let start = Self::granule(i).start() + first * PAGE_SIZE;
            PhysRange::from_len(start, pages.min(PAGES - first) * PAGE_SIZE).unwrap()
        };
        self.granules[i].iter().flatten().map(run).collect()
    }

    /// Granules that are a huge page.
    fn huge(&self) -> u32 {
        let whole = |&i: &usize| self.huge >> i & 1 == 1 && self.kept_in(i).bytes() == GRANULE;
        (0..self.granules.len()).filter(whole).map(|i| 1 << i).sum()
    }

    fn nodes(&self) -> Vec<Node> {
        let Some((border, reserve)) = self.nodes else { return Vec::new() };
        let border = Self::granule(border).start();
        let parts = [(0, border), (border, 1 << 32)].map(|(s, e)| PhysRange::new(s, e).unwrap());
        // The first MiB that is RAM is beside the granules.
        let reserves = [reserve[0] * GRANULE + LOW_LIMIT, reserve[1] * GRANULE];
        let node = |(part, reserve_ram)| Node { memory: RangeSet::from(part), reserve_ram };
        parts.into_iter().zip(reserves).map(node).collect()
    }

    /// Whether each node has its share, and what the moves cost in pages.
    fn planned(&self) -> Option<(bool, u64)> {
        let map = self.map();
        let n = self.granules.len();
        let keep: FrameSet = (0..n).flat_map(|i| self.kept_in(i).as_slice().to_vec()).collect();
        let fixed = (0..n).filter(|i| self.fixed >> i & 1 == 1);
        let fixed: FrameSet = fixed.filter_map(|i| self.kept_in(i).iter().last()).collect();
        let huge: RangeSet =
            (0..n).filter(|i| self.huge() >> i & 1 == 1).map(Self::granule).collect();
        let nodes = self.nodes();
        let request = Request {
            map: &map,
            keep: &keep,
            fixed: &fixed,
            huge: &huge,
            giant: &RangeSet::new(),
            avoid: &RangeSet::new(),
            nodes: &nodes,
            kernel: KernelNeeds {
                init_size: self.window * GRANULE,
                alignment: GRANULE,
                min_addr: GRANULE,
                can_be_above_4g: true,
            },
            initrd_bytes: self.initrd * GRANULE,
            initrd_max_addr: u64::from(u32::MAX),
            boot_block_bytes: PAGE_SIZE,
            mover_bytes: 16 * PAGE_SIZE,
            head_bytes: self.head_pages * PAGE_SIZE,
            staged_bytes: self.staged_pages * PAGE_SIZE,
            reserve_ram: self.reserve * GRANULE + LOW_LIMIT,
            low_ram: self.low * GRANULE,
            memory_block: 128 << 20,
            max_spans: self.max_spans,
            span_price: 0,
            pieces: Pieces::Any,
            max_entries: 128,
            stay_price: u64::MAX,
            seed: self.seed,
        };
        let layout = lay_out(&request).ok()?;
        let displaced: RangeSet = layout.displaced(&keep).iter().collect();
        let cost = displaced.bytes() + (HUGE_PRICE - 1) * displaced.intersect(&huge).bytes();
        let ram = layout.next_map(&map).ram();
        let on = |ram: &RangeSet, n: &Node| ram.intersect(&n.memory).bytes();
        let must = fixed.align_outward(GRANULE);
        let free = map.ram().subtract(&must);
        let shares = nodes.iter().all(|n| {
            let heads = if must.intersect(&n.memory).is_empty() { 0 } else { 2 * GRANULE };
            on(&ram, n) >= n.reserve_ram.min(on(&free, n).saturating_sub(heads))
        });
        Some((shares, cost / PAGE_SIZE))
    }

    /// The least that any set of granules makes moving cost: with each node's share, and without.
    fn best(&self) -> [Option<u64>; 2] {
        let n = self.granules.len();
        let ram: u32 = (0..n).filter(|&i| self.granules[i].is_some()).map(|i| 1 << i).sum();
        let room = self.room_for_parts(ram);
        let pages: Vec<u64> = (0..n).map(|i| self.kept_in(i).bytes() / PAGE_SIZE).collect();
        let filled: u32 = (0..n).filter(|&i| pages[i] > 0).map(|i| 1 << i).sum();
        let (must, huge) = (self.fixed & filled, self.huge());
        let price = |i: usize| if huge >> i & 1 == 1 { HUGE_PRICE } else { 1 };
        let under = |i: usize, head: u64| {
            let head = PhysRange::from_len(Self::granule(i).start(), head * PAGE_SIZE).unwrap();
            self.kept_in(i).bytes_within(head) / PAGE_SIZE
        };
        let span_head = SPAN_HEAD_BYTES / PAGE_SIZE;
        let first: Vec<u64> = (0..n).map(|i| under(i, self.head_pages)).collect();
        let later: Vec<u64> = (0..n).map(|i| under(i, span_head)).collect();
        let last_kept = |i: usize| self.kept_in(i).iter().last().map_or(0, PhysRange::start);
        let border = self.nodes.map_or(0, |(border, _)| 1 << border);
        let all: u64 = (0..n).map(|i| pages[i] * price(i)).sum();
        let all_pages: u64 = pages.iter().sum();
        let mut best = [None, None];
        for set in 1..1u32 << n {
            let starts = set & !(set << 1) | set & border;
            let spans = u64::from(starts.count_ones());
            let free_of = u64::from(ram.count_ones() - (set & ram).count_ones());
            if set & !ram != 0
                || must & !set != 0
                || spans > self.max_spans as u64
                || free_of < self.reserve
                || !room[(ram & !set) as usize]
            {
                continue;
            }
            let bits = |mask: u32| (0..n).filter(move |i| mask >> i & 1 == 1);
            let lowest = starts.trailing_zeros() as usize;
            let head = |i: usize| if i == lowest { self.head_pages } else { span_head };
            // In-place pages must not lie under a head, nor in a huge page that does.
            let stuck = |i: usize| {
                let last = last_kept(i) < Self::granule(i).start() + head(i) * PAGE_SIZE;
                must >> i & 1 == 1 && (last || huge >> i & 1 == 1)
            };
            if bits(starts).any(stuck) {
                continue;
            }
            let in_spans: u64 = bits(set).map(|i| pages[i]).sum();
            let covered: u64 = bits(set).map(|i| pages[i] * price(i)).sum();
            // A huge page under a head leaves as a whole.
            let (mut leaving, mut cost) = (0, all - covered);
            for i in bits(starts) {
                let pages_under = if i == lowest { first[i] } else { later[i] };
                let pages_leaving = if huge >> i & 1 == 1 { PAGES } else { pages_under };
                leaving += pages_leaving;
                cost += pages_leaving * price(i);
            }
            let moved = all_pages - in_spans + leaving;
            let heads = self.head_pages + span_head * (spans - 1);
            let free = u64::from(set.count_ones()) * PAGES - (in_spans - leaving);
            let free = free.saturating_sub(heads);
            let wanted = if moved == 0 { 0 } else { moved + self.staged_pages + 16 };
            let berths = (set & !starts & !filled).count_ones();
            let aground = (huge & !set | huge & starts).count_ones();
            if free < wanted || berths < aground {
                continue;
            }
            let shares = self.nodes.is_none_or(|(_, reserve)| {
                let all_of = |own: u32| u64::from((ram & own).count_ones());
                let left = |own: u32| u64::from((ram & own & !set).count_ones());
                // All that a node has is enough but what must be in spans, and their heads.
                let share = |own, least: u64| {
                    let heads = if must & ram & own == 0 { 0 } else { 2 };
                    left(own) >= least.min(all_of(own & !must).saturating_sub(heads))
                };
                share(border - 1, reserve[0]) && share(!(border - 1), reserve[1])
            });
            for best in best.iter_mut().skip(usize::from(!shares)) {
                *best = Some(best.map_or(cost, |b: u64| b.min(cost)));
            }
        }
        best
    }

    /// For each set of granules whether all parts fit into it.
    fn room_for_parts(&self, ram: u32) -> Vec<bool> {
        let n = self.granules.len();
        let runs = |len: u64| {
            let mask = (1u32 << len) - 1;
            (0..n).map(move |i| mask << i).filter(move |m| m & !ram == 0)
        };
        let mut room = vec![false; 1 << n];
        for w in runs(self.window) {
            for i in runs(self.initrd).filter(|i| i & w == 0) {
                for l in runs(self.low).filter(|l| l & (w | i) == 0) {
                    room[(w | i | l) as usize] = true;
                }
            }
        }
        for bit in 0..n {
            for set in 0..1usize << n {
                if set >> bit & 1 == 1 {
                    room[set] |= room[set ^ 1 << bit];
                }
            }
        }
        room
    }
}

fn granule() -> impl Strategy<Value = Option<Vec<(u64, u64)>>> {
    let scattered = proptest::collection::vec((0..PAGES, 1..40u64), 1..9);
    prop_oneof![
        4 => Just(Some(Vec::new())),
        4 => scattered.prop_map(Some),
        2 => (1..PAGES).prop_map(|k| Some(vec![(PAGES - k, k)])),
        2 => Just(Some(vec![(0, PAGES)])),
        1 => Just(None),
    ]
}

fn small(granules: std::ops::Range<usize>) -> impl Strategy<Value = Small> {
    let granules = proptest::collection::vec(granule(), granules);
    let parts = (1..3u64, 0..3u64, 0..2u64);
    let pages = (prop_oneof![1..20u64, 1..PAGES], 0..200u64);
    let fixed = prop_oneof![6 => Just(0u32), 1 => (0..20u32).prop_map(|i| 1 << i)];
    let huge = prop_oneof![2 => Just(0u32), 1 => any::<u32>()];
    let nodes = (any::<prop::sample::Index>(), [0..4u64, 0..4u64]);
    let nodes = prop_oneof![2 => Just(None), 1 => nodes.prop_map(Some)];
    let limits = (0..6u64, 1..5usize, any::<u64>());
    (granules, (fixed, huge, nodes), parts, pages, limits).prop_map(
        |(granules, (fixed, huge, nodes), (window, initrd, low), pages, limits)| Small {
            fixed,
            huge,
            nodes: nodes.map(|(border, reserve)| (1 + border.index(granules.len() - 1), reserve)),
            granules,
            window,
            initrd,
            low,
            head_pages: pages.0,
            staged_pages: pages.1,
            reserve: limits.0,
            max_spans: limits.1,
            seed: limits.2,
        },
    )
}

/// What came of many machines.
#[derive(Debug, Default)]
struct Tally {
    equal: u32,
    within_5_percent: u32,
    worse: u32,
    impossible: u32,
    /// A node has less than its share, and need not.
    share_lost: u32,
}

fn compare(cases: u32, granules: std::ops::Range<usize>) -> Tally {
    let mut runner = TestRunner::deterministic();
    let strategy = small(granules);
    let mut tally = Tally::default();
    for _ in 0..cases {
        let machine = strategy.new_tree(&mut runner).unwrap().current();
        let [with_shares, without] = machine.best();
        match (machine.planned(), with_shares.or(without)) {
            (None, None) => tally.impossible += 1,
            (None, Some(best)) => panic!("refused where {best} pages would do: {machine:?}"),
            (Some(_), None) => panic!("planned what is impossible: {machine:?}"),
            (Some((false, _)), Some(_)) if with_shares.is_some() => tally.share_lost += 1,
            (Some((_, ours)), Some(best)) => {
                assert!(ours >= best, "better than the best: {ours} < {best}, {machine:?}");
                *match ours * 100 {
                    _ if ours == best => &mut tally.equal,
                    o if o <= best * 105 => &mut tally.within_5_percent,
                    _ => &mut tally.worse,
                } += 1;
            }
        }
    }
    eprintln!("{tally:?}");
    tally
}

fn close_to_the_best(tally: &Tally) {
    let possible = tally.equal + tally.within_5_percent + tally.worse;
    assert_eq!((tally.worse, tally.share_lost), (0, 0), "{tally:?}");
    assert!(tally.equal * 10 >= possible * 9, "{tally:?}");
    assert!(possible > tally.impossible, "{tally:?}");
}

#[test]
fn ten_thousand_small_machines() {
    close_to_the_best(&compare(10_000, 5..14));
}

#[test]
fn some_larger_machines() {
    close_to_the_best(&compare(5, 17..21));
    close_to_the_best(&compare(1, 24..25));
}
