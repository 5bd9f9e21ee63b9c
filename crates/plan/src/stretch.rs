//! RAM as stretches of granules that are equally full.
//!
//! A span is made of *granules*: 2 MiB, the alignment that a DAX namespace needs. Only a granule
//! that is RAM throughout can be in a span. Neighbouring granules with the same number of kept
//! pages are one stretch, so that a terabyte that is kept (or free) as a whole is one element.
//!
//! ```text
//! RAM      ....|----------|----------|----------|----------|-----....
//! kept          ##########|##########|  #  #    |          |
//! stretch       (512 pages, 2 granules)(2 p., 1)(0 p., 1)   too short: no granule
//! ```

use crate::nodes::Nodes;
use crate::{FOUR_GIB, GRANULE, HUGE_PRICE, LOW_LIMIT, Request};
use physmem::{Cursor, PAGE_SIZE, PhysRange, RangeSet};

/// Neighbouring granules, equally full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// Where, in whole granules.
    pub(crate) range: PhysRange,
    /// What it costs to move all that is kept in one granule, in pages: a page of a huge page
    /// counts as [`HUGE_PRICE`].
    pub(crate) cost: u64,
    /// Whether pages in each granule must not move.
    pub(crate) fixed: bool,
    /// Whether a node's border, or no granule, lies before it.
    pub(crate) apart: bool,
}

impl Stretch {
    /// How many granules it has.
    pub(crate) fn granules(&self) -> u64 {
        self.range.len() / GRANULE
    }
}

/// All granules that may be in a span: RAM, of one node.
pub(crate) fn open_ground(request: &Request<'_>) -> RangeSet {
    let low: RangeSet = PhysRange::new(0, LOW_LIMIT).into_iter().collect();
    let all = request.map.ram().subtract(&low).align_inward(GRANULE);
    let memory = request.nodes.iter().flat_map(|node| node.memory.iter());
    let ragged = memory.flat_map(|range| {
        let border = |at| PhysRange::from_len(at & !(GRANULE - 1), GRANULE).ok();
        [range.start(), range.end()]
            .into_iter()
            .filter(|at| !at.is_multiple_of(GRANULE))
            .filter_map(border)
    });
    all.subtract(&ragged.collect())
}

/// The stretches of all granules that may be in a span, ascending.
pub(crate) fn stretches(request: &Request<'_>, nodes: &Nodes) -> Vec<Stretch> {
    let mut line = Line {
        fixed: request.fixed.align_outward(GRANULE),
        huge: request.huge.union(request.giant),
        stretches: Vec::new(),
    };
    let mut cursor = Cursor::default();
    for tract in nodes.split(&open_ground(request)) {
        let mut at = tract.start();
        while at < tract.end() {
            cursor.skip_to(at);
            let (end, pages) = match request.keep.next_run(&mut cursor, 1) {
                Some(run) if run.start() == at && run.len() >= GRANULE => {
                    (run.end() & !(GRANULE - 1), GRANULE / PAGE_SIZE)
                }
                Some(run) if run.start() < at + GRANULE => {
                    let granule = PhysRange::from_len(at, GRANULE);
                    let bytes = granule.map_or(0, |g| request.keep.bytes_within(g));
                    (at + GRANULE, bytes / PAGE_SIZE)
                }
                Some(run) => (run.start() & !(GRANULE - 1), 0),
                None => (tract.end(), 0),
            };
            let end = end.min(tract.end());
            line.push(at, end, pages, at == tract.start());
            at = end;
        }
    }
    line.stretches
}

/// Stretches as they come to be.
struct Line {
    /// Granules with in-place pages.
    fixed: RangeSet,
    /// Huge pages.
    huge: RangeSet,
    stretches: Vec<Stretch>,
}

impl Line {
    /// Adds `[at, end)`, cut where in-place granules and huge pages begin and end, and joined to
    /// its like.
    fn push(&mut self, mut at: u64, end: u64, pages: u64, mut apart: bool) {
        while at < end {
            let (fixed, fixed_until) = side(&self.fixed, at);
            let (huge, huge_until) = side(&self.huge, at);
            let until = end.min(fixed_until).min(huge_until);
            let cost = if huge { pages * HUGE_PRICE } else { pages };
            let Ok(range) = PhysRange::new(at, until) else { return };
            let next = Stretch { range, cost, fixed: fixed && pages > 0, apart };
            match self.stretches.last_mut() {
                Some(last) if !apart && (last.cost, last.fixed) == (next.cost, next.fixed) => {
                    last.range = PhysRange::new(last.range.start(), until).unwrap_or(last.range);
                }
                _ => self.stretches.push(next),
            }
            (at, apart) = (until, false);
        }
    }
}

/// Whether `at` is in the set, and up to which address the same is true.
fn side(set: &RangeSet, at: u64) -> (bool, u64) {
    let ranges = set.as_slice();
    match ranges.get(ranges.partition_point(|r| r.end() <= at)) {
        Some(range) if range.start() <= at => (true, range.end()),
        Some(range) => (false, range.start()),
        None => (false, u64::MAX),
    }
}

/// The stretches without the granules that `taken` touches.
pub(crate) fn without(stretches: &[Stretch], taken: &RangeSet) -> Vec<Stretch> {
    let taken = taken.align_outward(GRANULE);
    let mut out = Vec::with_capacity(stretches.len() + taken.count());
    let mut holes = taken.as_slice();
    for s in stretches {
        while holes.first().is_some_and(|h| h.end() <= s.range.start()) {
            holes = &holes[1..];
        }
        if holes.first().is_none_or(|h| !h.overlaps(s.range)) {
            out.push(*s);
            continue;
        }
        let mut from = s.range.start();
        for h in holes.iter().map_while(|h| h.intersect(s.range)) {
            out.extend(PhysRange::new(from, h.start()).map(|range| Stretch { range, ..*s }));
            from = h.end();
        }
        out.extend(PhysRange::new(from, s.range.end()).map(|range| Stretch { range, ..*s }));
    }
    out
}

/// The addresses of all stretches.
pub(crate) fn ground(stretches: &[Stretch]) -> RangeSet {
    stretches.iter().map(|s| s.range).collect()
}

/// The stretches that touch `range`, cut to it.
pub(crate) fn within(
    stretches: &[Stretch],
    range: PhysRange,
) -> impl DoubleEndedIterator<Item = Stretch> + '_ {
    let first = stretches.partition_point(|s| s.range.end() <= range.start());
    let last = stretches.partition_point(|s| s.range.start() < range.end());
    stretches[first..last.max(first)]
        .iter()
        .filter_map(move |s| Some(Stretch { range: s.range.intersect(range)?, ..*s }))
}

/// What it costs to move all that is kept in those granules of `set` that are among the stretches,
/// in pages.
pub(crate) fn cost_of(stretches: &[Stretch], set: &RangeSet) -> u64 {
    set.iter().flat_map(|r| within(stretches, r)).map(|s| s.cost * s.granules()).sum()
}

/// The part of `set` below 4 GiB.
pub(crate) fn below_4g(set: &RangeSet) -> RangeSet {
    PhysRange::new(0, FOUR_GIB)
        .map_or_else(|_| RangeSet::new(), |low| set.intersect(&RangeSet::from(low)))
}
