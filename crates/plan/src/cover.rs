//! Which granules become spans: as many kept pages in place as the budget allows.
//!
//! The budget is the RAM that may become spans, in granules. A price on each granule
//! ([`best_runs`]' `cost`) is raised until what is chosen fits; between the last price that is too
//! low and the first that is high enough, the rest of the budget is filled piece by piece.
//!
//! ```text
//! price too low:    [######..####..#####..##]      over budget by 3: the sparsest ends go
//! price high enough: ######..####..#####           2 left: the densest neighbours come
//! ```

use crate::nodes::Nodes;
use crate::runs::{PAGE_GAIN, Price, best_runs};
use crate::stretch::{Stretch, cost_of, ground, within};
use crate::{GRANULE, HUGE_PRICE};
use physmem::{PAGE_SIZE, PhysRange, RangeSet};

/// How many pieces may be tried to fill a budget. Each costs a look at all stretches, so that
/// large machines try fewer.
fn tries(stretches: &[Stretch]) -> usize {
    ((4 << 20) / (stretches.len() + 1)).clamp(16, 64)
}

/// What moving a granule full of pages costs, in gain.
const FULL_PRICE: i64 = PAGE_GAIN << (GRANULE / PAGE_SIZE).ilog2();

/// What a cover has to obey.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits<'a> {
    /// Bytes that spans may have in total, a multiple of [`GRANULE`].
    pub(crate) budget: u64,
    /// Of it, and of what each node may give, what a cover leaves for later.
    pub(crate) headroom: u64,
    /// How many spans there may be.
    pub(crate) spans: usize,
    /// See [`Request::stay_price`](crate::Request::stay_price).
    pub(crate) stay_price: u64,
    /// See [`Request::span_price`](crate::Request::span_price).
    pub(crate) span_price: u64,
    /// Borders between spans, and budgets of their own.
    pub(crate) nodes: &'a Nodes,
}

impl Limits<'_> {
    /// How many bytes more spans may have where `range` is, which is on one node.
    pub(crate) fn room(&self, set: &RangeSet, range: PhysRange) -> u64 {
        let left = self.budget.saturating_sub(set.bytes());
        let here = self.nodes.room(set, range).saturating_sub(self.headroom);
        left.min(here) & !(GRANULE - 1)
    }

    /// Whether there may be one span more.
    fn may_add(&self, set: &RangeSet) -> bool {
        self.nodes.count(set) < self.spans
    }

    /// What covering a granule costs at least, in gain.
    pub(crate) fn granule_price(&self) -> i64 {
        let full = u64::try_from(FULL_PRICE).unwrap_or(u64::MAX);
        i64::try_from(full / self.stay_price).unwrap_or(FULL_PRICE).max(1)
    }

    /// What a span costs, in gain: at most what 64 GiB of moves do, so that sums stay small.
    pub(crate) fn run_price(&self) -> i64 {
        let granules = i64::try_from(self.span_price / GRANULE).unwrap_or(i64::MAX);
        granules.saturating_mul(self.granule_price()).min(PAGE_GAIN << 24)
    }

    /// Whether so much moving saved is worth so much memory.
    fn worth(&self, cost: u64, bytes: u64) -> bool {
        u128::from(cost) * u128::from(PAGE_SIZE) * u128::from(self.stay_price) > u128::from(bytes)
    }
}

/// Why there is no cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoCover {
    /// In-place granules need more spans than there may be.
    Spans,
    /// In-place granules, and what lies between them, need that many bytes.
    Bytes(u64),
}

/// The granules to cover. A node of which they take more than they may is covered anew by itself,
/// if it can be, and others get what that leaves.
pub(crate) fn cover(stretches: &[Stretch], limits: Limits<'_>) -> Result<RangeSet, NoCover> {
    let limits = Limits { budget: limits.budget.saturating_sub(limits.headroom), ..limits };
    let mut set = cover_all(stretches, limits)?;
    let overfull = limits.nodes.overfull(&set, limits.headroom);
    for &(memory, budget) in &overfull {
        let own: Vec<_> = memory.iter().flat_map(|range| within(stretches, range)).collect();
        let spans = limits.nodes.count(&set.intersect(memory));
        let less = Limits { budget: budget & !(GRANULE - 1), spans, ..limits };
        if let Ok(fewer) = cover_all(&own, less) {
            set = set.subtract(memory).union(&fewer);
        }
    }
    if overfull.is_empty() { Ok(set) } else { Ok(fill(stretches, set, limits)) }
}

/// The granules to cover, were there but one node.
fn cover_all(stretches: &[Stretch], limits: Limits<'_>) -> Result<RangeSet, NoCover> {
    let runs = |granule| {
        let price = Price { granule, run: limits.run_price() };
        best_runs(stretches, price, limits.spans).ok_or(NoCover::Spans)
    };
    let mut low = limits.granule_price();
    let mut over = runs(low)?;
    if over.bytes() <= limits.budget {
        return Ok(over);
    }
    let mut high = FULL_PRICE * i64::try_from(HUGE_PRICE).unwrap_or(1);
    let mut fits = runs(high)?;
    if fits.bytes() > limits.budget {
        return Err(NoCover::Bytes(fits.bytes()));
    }
    while high - low > (low >> 24).max(1) && limits.budget - fits.bytes() > limits.budget / 2048 {
        let cost = low + (high - low) / 2;
        let set = runs(cost)?;
        if set.bytes() > limits.budget {
            (low, over) = (cost, set);
        } else {
            (high, fits) = (cost, set);
        }
    }
    let grown = fill(stretches, fits, limits);
    Ok(match trim(stretches, over, limits).map(|set| fill(stretches, set, limits)) {
        Some(cut) if cost_of(stretches, &cut) > cost_of(stretches, &grown) => cut,
        _ => grown,
    })
}

/// A part of a stretch line, seen from one of its ends.
#[derive(Clone, Copy)]
struct Piece {
    range: PhysRange,
    /// What moving what is kept there costs, in pages.
    cost: u64,
    fixed: bool,
}

impl Piece {
    /// Whether moving it costs more for its length.
    fn denser(&self, other: &Self) -> bool {
        let (a, b) = (u128::from(self.cost), u128::from(other.cost));
        a * u128::from(other.range.len()) > b * u128::from(self.range.len())
    }
}

/// The pieces of `range`, at most `most` bytes long, that begin at its start (or end at its end).
fn pieces(
    stretches: &[Stretch],
    range: PhysRange,
    most: u64,
    from_start: bool,
) -> impl Iterator<Item = Piece> {
    let (mut len, mut cost, mut fixed) = (0, 0, false);
    let mut line: Box<dyn Iterator<Item = Stretch>> = if from_start {
        Box::new(within(stretches, range))
    } else {
        Box::new(within(stretches, range).rev())
    };
    std::iter::from_fn(move || {
        let s = line.next().filter(|_| len < most)?;
        let part = s.range.len().min(most - len);
        len += part;
        cost += s.cost * (part / GRANULE);
        fixed |= s.fixed;
        let start = if from_start { range.start() } else { range.end() - len };
        Some(Piece { range: PhysRange::from_len(start, len).ok()?, cost, fixed })
    })
}

/// Adds the densest pieces beside the spans, and new spans, while the budget lasts and they are
/// worth it.
fn fill(stretches: &[Stretch], mut set: RangeSet, limits: Limits<'_>) -> RangeSet {
    let all = ground(stretches);
    for _ in 0..tries(stretches) {
        let may_add = limits.may_add(&set);
        let mut best: Option<Piece> = None;
        for gap in limits.nodes.split(&all.subtract(&set)) {
            let left = limits.room(&set, gap);
            let mut offer = |p: Piece, more: u64| {
                let worth = limits.worth(p.cost, p.range.len() + more);
                if worth && p.range.len() >= left / 4 && best.is_none_or(|b| p.denser(&b)) {
                    best = Some(p);
                }
            };
            if limits.nodes.goes_on(&set, gap.start()) {
                pieces(stretches, gap, left, true).for_each(|p| offer(p, 0));
            }
            if limits.nodes.goes_on(&set, gap.end()) {
                pieces(stretches, gap, left, false).for_each(|p| offer(p, 0));
            }
            if may_add {
                for s in within(stretches, gap).filter(|s| s.cost > 0) {
                    let len = s.range.len().min(left);
                    let range = PhysRange::from_len(s.range.start(), len);
                    let cost = s.cost * (len / GRANULE);
                    let piece = range.map(|range| Piece { range, cost, fixed: false });
                    piece.into_iter().for_each(|p| offer(p, limits.span_price));
                }
            }
        }
        match best {
            Some(p) => set = set.union(&RangeSet::from(p.range)),
            None => break,
        }
    }
    set
}

/// Takes the sparsest pieces from the ends of spans, until the budget is kept.
fn trim(stretches: &[Stretch], mut set: RangeSet, limits: Limits<'_>) -> Option<RangeSet> {
    let tries = tries(stretches);
    for round in 0..tries {
        let over = set.bytes().saturating_sub(limits.budget);
        if over == 0 {
            return Some(set);
        }
        // Small cuts are better, but come to no end.
        let least = if round < tries / 2 { over / 4 } else { over };
        let mut best: Option<Piece> = None;
        for span in limits.nodes.split(&set) {
            for from_start in [true, false] {
                let cuts = pieces(stretches, span, over, from_start).take_while(|p| !p.fixed);
                for p in cuts.filter(|p| p.range.len() >= least || p.range == span) {
                    if best.is_none_or(|b| b.denser(&p)) {
                        best = Some(p);
                    }
                }
            }
        }
        set = set.subtract(&RangeSet::from(best?.range));
    }
    None
}

/// Makes `set` longer by `missing` bytes, within the limits, at the least cost in further spans.
/// Returns how many bytes are still missing.
pub(crate) fn grow(
    stretches: &[Stretch],
    set: &mut RangeSet,
    mut missing: u64,
    limits: Limits<'_>,
) -> u64 {
    let all = ground(stretches);
    while missing > 0 {
        // Gaps between spans first, then what lies after a span, then before one, then anew.
        let gaps = limits.nodes.split(&all.subtract(set)).into_iter().filter_map(|gap| {
            let len = missing.next_multiple_of(GRANULE).min(limits.room(set, gap)).min(gap.len());
            let after = limits.nodes.goes_on(set, gap.start());
            let before = limits.nodes.goes_on(set, gap.end());
            let class = match (after, before) {
                _ if len == 0 => return None,
                (true, true) => 0,
                (true, false) => 1,
                (false, true) => 2,
                (false, false) if limits.may_add(set) => 3,
                (false, false) => return None,
            };
            let long = if class == 0 { gap.len() } else { u64::MAX - gap.len() };
            let start = if after { gap.start() } else { gap.end() - len };
            Some(((class, long, gap.start()), PhysRange::from_len(start, len).ok()?))
        });
        let Some((_, piece)) = gaps.min_by_key(|gap| gap.0) else { break };
        *set = set.union(&RangeSet::from(piece));
        missing = missing.saturating_sub(piece.len());
    }
    missing
}
