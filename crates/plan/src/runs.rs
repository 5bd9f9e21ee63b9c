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
//! A run costs something itself: nodes go on giving way while they are smaller than that.
//! A gainful node that is smaller than the gaps beside it is given up instead. Between stretches
//! that are no neighbours, and at both ends of the line, lies a wall that nothing crosses.
//!
//! What is smaller than both its neighbours gives way before them, whatever else there is. So all
//! such nodes up to some size go in one sweep, half of the sizes at a time: O(n) for a small `k`.

use crate::stretch::Stretch;
use physmem::{PhysRange, RangeSet};

/// Gain of one kept page that stays. As much as 32 TiB of granules, so that at a cost of 1 a
/// granule the length decides only between plans that keep equally many pages in place.
pub(crate) const PAGE_GAIN: i64 = 1 << 24;

/// Gain of a granule that must be covered: more than 64 TiB of kept huge pages
/// (2^34 × [`HUGE_PRICE`](crate::HUGE_PRICE) × 2^24 = 2^60).
const MUST: i64 = 1 << 61;

/// Gain of a wall.
const WALL: i64 = i64::MIN;

/// Neighbouring stretches that are covered together or not at all.
#[derive(Clone, Copy, Debug)]
struct Node {
    gain: i64,
    first: usize,
    last: usize,
}

impl Node {
    const fn size(&self) -> u64 {
        self.gain.unsigned_abs()
    }
}

/// What runs have to obey.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Price {
    /// What covering a granule costs.
    pub(crate) granule: i64,
    /// What a run costs.
    pub(crate) run: i64,
}

/// The most gainful runs of stretches, at most `k`. Only where one is left may it gain less than it
/// costs. `None` if what must be covered needs more than `k`.
pub(crate) fn best_runs(stretches: &[Stretch], price: Price, k: usize) -> Option<RangeSet> {
    let mut nodes = alternate(stretches, price.granule);
    let mut share = 2;
    // Used again in each round: on a large machine they are hundreds of MiB.
    let (mut sizes, mut fewer) = (Vec::new(), Vec::new());
    loop {
        let runs = gainful(&nodes);
        sizes.clear();
        sizes.extend(nodes.iter().map(Node::size));
        let least = sizes.iter().min().copied()?;
        let cheap = price.run.unsigned_abs();
        if runs <= k.min(1) || runs <= k && least >= cheap {
            break;
        }
        if least >= MUST.unsigned_abs() {
            return None;
        }
        let at = sizes.len() / share;
        let limit = if runs > k { MUST.unsigned_abs() } else { cheap };
        let size = (*sizes.select_nth_unstable(at).1).min(limit - 1).max(least);
        let cut_short = sweep(&nodes, size, if runs > k { k } else { 1 }, &mut fewer);
        if cut_short && size > least {
            // Larger nodes may have gone before smaller ones, unless all are equal.
            share *= 2;
        } else {
            std::mem::swap(&mut nodes, &mut fewer);
            share = 2;
        }
    }
    let runs = nodes.iter().filter(|n| n.gain > 0).filter_map(|n| {
        PhysRange::new(stretches[n.first].range.start(), stretches[n.last].range.end()).ok()
    });
    Some(runs.collect())
}

fn gainful(nodes: &[Node]) -> usize {
    nodes.iter().filter(|n| n.gain > 0).count()
}

/// The stretches as nodes: wall, gainful, gap or wall, gainful, …, wall.
fn alternate(stretches: &[Stretch], cost: i64) -> Vec<Node> {
    let mut nodes = vec![Node { gain: WALL, first: 0, last: 0 }];
    let mut append = |gain: i64, i: usize| match nodes.last_mut() {
        Some(last) if (last.gain > 0) == (gain > 0) => {
            last.gain = join(last.gain, gain);
            last.last = i;
        }
        _ => nodes.push(Node { gain, first: i, last: i }),
    };
    for (i, s) in stretches.iter().enumerate() {
        if i > 0 && (s.apart || stretches[i - 1].range.end() != s.range.start()) {
            append(WALL, i);
        }
        append(gain(s, cost), i);
    }
    append(WALL, stretches.len());
    nodes
}

fn gain(s: &Stretch, cost: i64) -> i64 {
    let granules = i64::try_from(s.granules()).unwrap_or(i64::MAX);
    let pages = i64::try_from(s.cost).unwrap_or(i64::MAX);
    let free = pages.saturating_mul(PAGE_GAIN).saturating_sub(cost).saturating_mul(granules);
    if s.fixed { MUST.saturating_add(free.max(0)) } else { free }
}

fn join(a: i64, b: i64) -> i64 {
    if a == WALL || b == WALL { WALL } else { a.saturating_add(b).max(WALL + 1) }
}

/// Makes `done` the nodes after every node up to `most` in size that is not larger than its
/// neighbours has become one with them. Says whether that stopped because only `k` gainful nodes
/// were left.
fn sweep(nodes: &[Node], most: u64, k: usize, done: &mut Vec<Node>) -> bool {
    let mut left = gainful(nodes);
    done.clear();
    for (i, &node) in nodes.iter().enumerate() {
        done.push(node);
        while let [.., a, b, c] = done[..] {
            let size = b.size();
            if size > most || size > a.size() || size > c.size() {
                break;
            }
            if left == k {
                done.extend(&nodes[i + 1..]);
                return true;
            }
            left -= 1;
            done.truncate(done.len() - 3);
            let gain = join(join(a.gain, b.gain), c.gain);
            done.push(Node { gain, first: a.first, last: c.last });
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GRANULE;
    use proptest::prelude::*;

    fn line(pages: &[Option<u64>], border: u64) -> Vec<Stretch> {
        let at = |i: usize| u64::try_from(i).unwrap() * GRANULE;
        let granule = |(i, p): (usize, &Option<u64>)| {
            let range = PhysRange::from_len(at(i), GRANULE).unwrap();
            let apart = range.start() == border * GRANULE;
            p.map(|cost| Stretch { range, cost, fixed: cost > 500, apart })
        };
        pages.iter().enumerate().filter_map(granule).collect()
    }

    /// Gain of the best choice, by trying all.
    fn exhaustive(line: &[Stretch], price: Price, k: usize) -> Option<i64> {
        let choice = |mask: u32| (0..line.len()).map(|i| mask >> i & 1 == 1).collect::<Vec<_>>();
        (0..1u32 << line.len()).filter_map(|mask| total(line, &choice(mask), price, k)).max()
    }

    /// Gain of a choice, unless it leaves out what must be covered or has too many runs.
    fn total(line: &[Stretch], taken: &[bool], price: Price, k: usize) -> Option<i64> {
        let (mut sum, mut runs) = (0, 0);
        for (i, s) in line.iter().enumerate() {
            if !taken[i] {
                if s.fixed {
                    return None;
                }
                continue;
            }
            sum += i64::try_from(s.cost).unwrap() * PAGE_GAIN - price.granule;
            let joins =
                i > 0 && taken[i - 1] && !s.apart && line[i - 1].range.end() == s.range.start();
            runs += i64::from(!joins);
        }
        // The first run is free.
        (runs <= i64::try_from(k).unwrap()).then_some(sum - (runs - 1).max(0) * price.run)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn nothing_is_better(
            pages in proptest::collection::vec(
                prop_oneof![8 => (0..500u64).prop_map(Some), 6 => Just(Some(0)), 1 => Just(None),
                            1 => Just(Some(512))], 0..11),
            granule in prop_oneof![Just(1i64), 1..512 * PAGE_GAIN],
            run in prop_oneof![Just(0i64), 1..20 * PAGE_GAIN, 1..512 * PAGE_GAIN],
            border in 0..11u64,
            k in 1..5usize,
        ) {
            let (line, price) = (line(&pages, border), Price { granule, run });
            let found = best_runs(&line, price, k);
            let best = exhaustive(&line, price, k);
            prop_assert_eq!(found.is_some(), best.is_some());
            if let Some(runs) = found {
                let taken: Vec<_> = line.iter().map(|s| runs.overlaps(s.range)).collect();
                prop_assert_eq!(total(&line, &taken, price, k), best);
            }
        }
    }
}
