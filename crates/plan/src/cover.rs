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

use crate::GRANULE;
use crate::runs::{PAGE_GAIN, best_runs};
use crate::stretch::{Stretch, ground, kept_pages, within};
use physmem::{PAGE_SIZE, PhysRange, RangeSet};

/// How many pieces may be tried to fill a budget. Each costs a look at all stretches, so that
/// large machines try fewer.
fn tries(stretches: &[Stretch]) -> usize {
    ((4 << 20) / (stretches.len() + 1)).clamp(16, 64)
}

/// What a cover has to obey.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes that spans may have in total, a multiple of [`GRANULE`].
    pub(crate) budget: u64,
    /// How many spans there may be.
    pub(crate) spans: usize,
    /// See [`Request::stay_price`](crate::Request::stay_price).
    pub(crate) stay_price: u64,
}

/// Why there is no cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoCover {
    /// In-place granules need more spans than there may be.
    Spans,
    /// In-place granules, and what lies between them, need that many bytes.
    Bytes(u64),
}

/// The granules to cover.
pub(crate) fn cover(stretches: &[Stretch], limits: Limits) -> Result<RangeSet, NoCover> {
    let runs = |cost| best_runs(stretches, cost, limits.spans).ok_or(NoCover::Spans);
    let full_price = PAGE_GAIN * i64::try_from(GRANULE / PAGE_SIZE).unwrap_or(i64::MAX);
    let full = u64::try_from(full_price).unwrap_or(u64::MAX);
    let mut low = i64::try_from(full / limits.stay_price).unwrap_or(full_price).max(1);
    let mut over = runs(low)?;
    if over.bytes() <= limits.budget {
        return Ok(over);
    }
    let mut high = full_price;
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
        Some(cut) if kept_pages(stretches, &cut) > kept_pages(stretches, &grown) => cut,
        _ => grown,
    })
}

/// A part of a stretch line, seen from one of its ends.
#[derive(Clone, Copy)]
struct Piece {
    range: PhysRange,
    pages: u64,
    fixed: bool,
}

impl Piece {
    /// Whether it has more kept pages for its length.
    fn denser(&self, other: &Self) -> bool {
        let (a, b) = (u128::from(self.pages), u128::from(other.pages));
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
    let (mut len, mut pages, mut fixed) = (0, 0, false);
    let mut line: Box<dyn Iterator<Item = Stretch>> = if from_start {
        Box::new(within(stretches, range))
    } else {
        Box::new(within(stretches, range).rev())
    };
    std::iter::from_fn(move || {
        let s = line.next().filter(|_| len < most)?;
        let part = s.range.len().min(most - len);
        len += part;
        pages += s.pages * (part / GRANULE);
        fixed |= s.fixed;
        let start = if from_start { range.start() } else { range.end() - len };
        Some(Piece { range: PhysRange::from_len(start, len).ok()?, pages, fixed })
    })
}

/// Adds the densest pieces beside the spans, and new spans, while the budget lasts.
fn fill(stretches: &[Stretch], mut set: RangeSet, limits: Limits) -> RangeSet {
    let all = ground(stretches);
    for _ in 0..tries(stretches) {
        let left = limits.budget - set.bytes();
        let may_add = set.count() < limits.spans;
        let mut best: Option<Piece> = None;
        let mut offer = |p: Piece| {
            if p.pages > 0 && p.range.len() >= left / 4 && best.is_none_or(|b| p.denser(&b)) {
                best = Some(p);
            }
        };
        for gap in all.subtract(&set).iter() {
            if touches_end(&set, gap.start()) {
                pieces(stretches, gap, left, true).for_each(&mut offer);
            }
            if touches_start(&set, gap.end()) {
                pieces(stretches, gap, left, false).for_each(&mut offer);
            }
            if may_add {
                for s in within(stretches, gap).filter(|s| s.pages > 0) {
                    let len = s.range.len().min(left);
                    let range = PhysRange::from_len(s.range.start(), len);
                    let pages = s.pages * (len / GRANULE);
                    range.into_iter().for_each(|range| offer(Piece { range, pages, fixed: false }));
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
fn trim(stretches: &[Stretch], mut set: RangeSet, limits: Limits) -> Option<RangeSet> {
    let tries = tries(stretches);
    for round in 0..tries {
        let over = set.bytes().saturating_sub(limits.budget);
        if over == 0 {
            return Some(set);
        }
        // Small cuts are better, but come to no end.
        let least = if round < tries / 2 { over / 4 } else { over };
        let mut best: Option<Piece> = None;
        for span in set.iter() {
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

/// Whether a range of `set` ends at `addr`.
pub(crate) fn touches_end(set: &RangeSet, addr: u64) -> bool {
    addr > 0 && set.contains(addr - 1)
}

/// Whether a range of `set` begins at `addr`.
pub(crate) fn touches_start(set: &RangeSet, addr: u64) -> bool {
    set.contains(addr)
}

/// Makes `set` longer by `missing` bytes, within the limits, at the least cost in further spans.
/// Returns how many bytes are still missing.
pub(crate) fn grow(
    stretches: &[Stretch],
    set: &mut RangeSet,
    mut missing: u64,
    limits: Limits,
) -> u64 {
    let all = ground(stretches);
    while missing > 0 {
        let room = limits.budget.saturating_sub(set.bytes());
        let want = missing.next_multiple_of(GRANULE).min(room);
        if want == 0 {
            break;
        }
        // Gaps between spans first, then what lies after a span, then before one, then anew.
        let rest = all.subtract(set);
        let best = rest
            .iter()
            .map(|gap| (touches_end(set, gap.start()), touches_start(set, gap.end()), gap))
            .filter(|&(after, before, _)| after || before || set.count() < limits.spans)
            .min_by_key(|&(after, before, gap)| {
                let class = match (after, before) {
                    (true, true) => 0,
                    (true, false) => 1,
                    (false, true) => 2,
                    (false, false) => 3,
                };
                let long = if class == 0 { gap.len() } else { u64::MAX - gap.len() };
                (class, long, gap.start())
            });
        let Some((after, _, gap)) = best else { break };
        let len = want.min(gap.len());
        let start = if after { gap.start() } else { gap.end() - len };
        let Ok(piece) = PhysRange::from_len(start, len) else { break };
        *set = set.union(&RangeSet::from(piece));
        missing = missing.saturating_sub(len);
    }
    missing
}
