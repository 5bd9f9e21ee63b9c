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

use crate::{FOUR_GIB, GRANULE, LOW_LIMIT, Request};
use physmem::{Cursor, PAGE_SIZE, PhysRange, RangeSet};

/// Neighbouring granules, equally full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// Where, in whole granules.
    pub(crate) range: PhysRange,
    /// Kept pages in each granule.
    pub(crate) pages: u64,
    /// Whether pages in each granule must not move.
    pub(crate) fixed: bool,
}

impl Stretch {
    /// How many granules it has.
    pub(crate) fn granules(&self) -> u64 {
        self.range.len() / GRANULE
    }
}

/// All granules that may be in a span.
pub(crate) fn open_ground(request: &Request<'_>) -> RangeSet {
    let low: RangeSet = PhysRange::new(0, LOW_LIMIT).into_iter().collect();
    request.map.ram().subtract(&low).align_inward(GRANULE)
}

/// The stretches of all granules that may be in a span, ascending.
pub(crate) fn stretches(request: &Request<'_>) -> Vec<Stretch> {
    let fixed = request.fixed.align_outward(GRANULE);
    let mut out = Vec::new();
    let mut cursor = Cursor::default();
    for tract in open_ground(request).iter() {
        let mut at = tract.start();
        while at < tract.end() {
            cursor.skip_to(at);
            let run = request.keep.next_run(&mut cursor, 1);
            let (end, pages) = match run {
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
            split_at_fixed(at, end, pages, &fixed, &mut out);
            at = end;
        }
    }
    out
}

/// Adds `[at, end)`, cut where in-place granules begin and end, and joined to its like.
fn split_at_fixed(at: u64, end: u64, pages: u64, fixed: &RangeSet, out: &mut Vec<Stretch>) {
    let Ok(range) = PhysRange::new(at, end) else { return };
    let mut from = at;
    let mut push = |start, end, fixed| {
        let Ok(range) = PhysRange::new(start, end) else { return };
        match out.last_mut() {
            Some(last)
                if last.range.end() == start && (last.pages, last.fixed) == (pages, fixed) =>
            {
                last.range = PhysRange::new(last.range.start(), end).unwrap_or(last.range);
            }
            _ => out.push(Stretch { range, pages, fixed }),
        }
    };
    if pages > 0 {
        for f in fixed.within(range) {
            push(from, f.start(), false);
            push(f.start(), f.end(), true);
            from = f.end();
        }
    }
    push(from, end, false);
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

/// Kept pages in those granules of `set` that are among the stretches.
pub(crate) fn kept_pages(stretches: &[Stretch], set: &RangeSet) -> u64 {
    set.iter().flat_map(|r| within(stretches, r)).map(|s| s.pages * s.granules()).sum()
}

/// The part of `set` below 4 GiB.
pub(crate) fn below_4g(set: &RangeSet) -> RangeSet {
    PhysRange::new(0, FOUR_GIB)
        .map_or_else(|_| RangeSet::new(), |low| set.intersect(&RangeSet::from(low)))
}
