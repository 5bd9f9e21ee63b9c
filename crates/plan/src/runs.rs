//! The best few runs on a line: which granules to cover with at most `k` spans.
//!
//! Each stretch has a *gain*: what covering it saves, less what its length costs. Wanted are at
//! most `k` runs of neighbouring stretches with the greatest gain in total. Neighbours of the same
//! sign are one node; then, while there are more than `k` gainful nodes, the node with the
//! smallest absolute gain gives way, which is optimal for every `k`:
//!
//! ```text
//! +9  -2  +4  -7  +3  -1  +8        k = 4: {9} {4} {3} {8}
//! +9  -2  +4  -7  [ +10     ]       k = 3: the gap of 1 is the cheapest to cover
//! [ +11     ] -7  [ +10     ]       k = 2: then the gap of 2
//! [ +14                     ]       k = 1: then the gap of 7
//! ```
//!
//! A gainful node that is smaller than the gaps beside it is given up instead. Between stretches
//! that are no neighbours lies a wall that nothing crosses. O(n log n).

use crate::stretch::Stretch;
use physmem::{PhysRange, RangeSet};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Gain of one kept page that stays. Much greater than any number of granules, so that at a cost
/// of 1 a granule the length decides only between plans that keep equally many pages in place.
pub(crate) const PAGE_GAIN: i64 = 1 << 26;

/// Gain of a granule that must be covered: more than 64 TiB of kept pages (2^34 × 2^26 = 2^60).
const MUST: i64 = 1 << 61;

/// Gain of a wall.
const WALL: i64 = i64::MIN;

const NONE: usize = usize::MAX;

struct Node {
    gain: i64,
    first: usize,
    last: usize,
    before: usize,
    after: usize,
    alive: bool,
}

/// The most gainful runs of stretches, at most `k`, where covering a granule costs `cost`. `None`
/// if what must be covered needs more than `k`.
pub(crate) fn best_runs(stretches: &[Stretch], cost: i64, k: usize) -> Option<RangeSet> {
    let mut nodes = alternate(stretches, cost);
    let mut gainful = nodes.iter().filter(|n| n.gain > 0).count();
    let mut heap: BinaryHeap<_> = nodes
        .iter()
        .enumerate()
        .filter(|(_, n)| n.gain != WALL && gainful > k)
        .map(|(i, n)| Reverse((n.gain.unsigned_abs(), i)))
        .collect();
    while gainful > k {
        let Reverse((size, i)) = heap.pop()?;
        let n = &nodes[i];
        if !n.alive || n.gain == WALL || n.gain.unsigned_abs() != size {
            continue;
        }
        if n.gain >= MUST {
            return None;
        }
        if merge(&mut nodes, i) {
            heap.push(Reverse((nodes[i].gain.unsigned_abs(), i)));
        }
        gainful -= 1;
    }
    let alive = nodes.iter().filter(|n| n.alive && n.gain > 0);
    let runs = alive.filter_map(|n| {
        PhysRange::new(stretches[n.first].range.start(), stretches[n.last].range.end()).ok()
    });
    Some(runs.collect())
}

/// The stretches as nodes: gainful, gap or wall, gainful, …, beginning and ending gainful.
fn alternate(stretches: &[Stretch], cost: i64) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for (i, s) in stretches.iter().enumerate() {
        let wall = i > 0 && stretches[i - 1].range.end() != s.range.start();
        if wall {
            append(&mut nodes, i, WALL);
        }
        append(&mut nodes, i, gain(s, cost));
    }
    if nodes.last().is_some_and(|n| n.gain <= 0) {
        nodes.pop();
    }
    if let Some(last) = nodes.last_mut() {
        last.after = NONE;
    }
    nodes
}

fn gain(s: &Stretch, cost: i64) -> i64 {
    let granules = i64::try_from(s.granules()).unwrap_or(i64::MAX);
    let pages = i64::try_from(s.pages).unwrap_or(i64::MAX);
    let free = pages.saturating_mul(PAGE_GAIN).saturating_sub(cost).saturating_mul(granules);
    if s.fixed { MUST.saturating_add(free.max(0)) } else { free }
}

fn append(nodes: &mut Vec<Node>, i: usize, gain: i64) {
    match nodes.last_mut() {
        None if gain <= 0 => {}
        Some(last) if (last.gain > 0) == (gain > 0) => {
            last.gain = join(last.gain, gain);
            last.last = i;
        }
        _ => {
            let at = nodes.len();
            let before = at.checked_sub(1).unwrap_or(NONE);
            nodes.push(Node { gain, first: i, last: i, before, after: at + 1, alive: true });
        }
    }
}

fn join(a: i64, b: i64) -> i64 {
    if a == WALL || b == WALL { WALL } else { a.saturating_add(b).max(WALL + 1) }
}

/// Node `i` swallows its neighbours, or goes with one of them where the line ends. Returns whether
/// it is still there.
fn merge(nodes: &mut [Node], i: usize) -> bool {
    let (l, r) = (nodes[i].before, nodes[i].after);
    for side in [l, r].into_iter().filter(|&s| s != NONE) {
        nodes[side].alive = false;
    }
    if l == NONE || r == NONE {
        // The first or last gainful node and the gap beside it: both are given up.
        nodes[i].alive = false;
        let (before, after) = match (l, r) {
            (NONE, NONE) => (NONE, NONE),
            (NONE, r) => (NONE, nodes[r].after),
            (l, _) => (nodes[l].before, NONE),
        };
        link(nodes, before, after);
        return false;
    }
    nodes[i].gain = join(join(nodes[l].gain, nodes[i].gain), nodes[r].gain);
    (nodes[i].first, nodes[i].last) = (nodes[l].first, nodes[r].last);
    let (before, after) = (nodes[l].before, nodes[r].after);
    link(nodes, before, i);
    link(nodes, i, after);
    true
}

fn link(nodes: &mut [Node], before: usize, after: usize) {
    if before != NONE {
        nodes[before].after = after;
    }
    if after != NONE {
        nodes[after].before = before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GRANULE;
    use proptest::prelude::*;

    fn line(pages: &[Option<u64>]) -> Vec<Stretch> {
        let at = |i: usize| u64::try_from(i).unwrap() * GRANULE;
        let granule = |(i, p): (usize, &Option<u64>)| {
            let range = PhysRange::from_len(at(i), GRANULE).unwrap();
            p.map(|pages| Stretch { range, pages, fixed: pages > 500 })
        };
        pages.iter().enumerate().filter_map(granule).collect()
    }

    /// Gain of the best choice, by trying all.
    fn exhaustive(line: &[Stretch], cost: i64, k: usize) -> Option<i64> {
        (0..1u32 << line.len())
            .filter_map(|mask| {
                let taken: RangeSet =
                    (0..line.len()).filter(|i| mask >> i & 1 == 1).map(|i| line[i].range).collect();
                total(line, &taken, cost).filter(|_| taken.count() <= k)
            })
            .max()
    }

    /// Gain of a choice, unless it leaves out what must be covered.
    fn total(line: &[Stretch], taken: &RangeSet, cost: i64) -> Option<i64> {
        let mut sum = 0;
        for s in line {
            match taken.overlaps(s.range) {
                true => sum += i64::try_from(s.pages).unwrap() * PAGE_GAIN - cost,
                false if s.fixed => return None,
                false => {}
            }
        }
        Some(sum)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn nothing_is_better(
            pages in proptest::collection::vec(
                prop_oneof![8 => (0..500u64).prop_map(Some), 6 => Just(Some(0)), 1 => Just(None),
                            1 => Just(Some(512))], 0..11),
            cost in prop_oneof![Just(1i64), 1..512 * PAGE_GAIN],
            k in 1..5usize,
        ) {
            let line = line(&pages);
            let found = best_runs(&line, cost, k);
            prop_assert_eq!(found.is_some(), exhaustive(&line, cost, k).is_some());
            if let Some(runs) = found {
                prop_assert!(runs.count() <= k);
                prop_assert_eq!(total(&line, &runs, cost), exhaustive(&line, cost, k));
            }
        }
    }
}
