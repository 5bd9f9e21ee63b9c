//! From granules to spans that hold everything: heads in place, free pages for every move.

use crate::cover::{Limits, NoCover, cover, grow};
use crate::nodes::Nodes;
use crate::stretch::{Stretch, ground};
use crate::{GIANT, GRANULE, HUGE_PRICE, Part, PlanError, Request, SPAN_HEAD_BYTES};
use physmem::{PAGE_SIZE, PhysRange, RangeSet};

/// Spans, before it is known where the next kernel goes.
#[derive(Clone, Debug)]
pub(crate) struct Spans {
    /// The spans' addresses.
    pub(crate) set: RangeSet,
    /// What moving what cannot stay costs, in bytes.
    pub(crate) cost: u64,
}

/// A request with what all steps need of it.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) limits: Limits<'a>,
    kept: u64,
}

impl<'a> Ground<'a> {
    pub(crate) fn new(request: &'a Request<'a>, nodes: &'a Nodes) -> Self {
        let ram = request.map.ram().bytes();
        let spare = request.max_entries.saturating_sub(request.map.entries().len());
        let limits = Limits {
            budget: ram.saturating_sub(request.reserve_ram) & !(GRANULE - 1),
            headroom: 0,
            spans: request.max_spans.min((spare / 2).max(1)),
            stay_price: request.stay_price,
            span_price: request.span_price,
            nodes,
        };
        Self { request, limits, kept: request.keep.bytes() }
    }

    /// The spans to make of these stretches.
    pub(crate) fn spans(&self, stretches: &[Stretch]) -> Result<Spans, PlanError> {
        let within = |limits| {
            let set = cover(stretches, limits).map_err(|no| self.no_cover(stretches, no))?;
            self.complete(stretches, set)
        };
        within(self.limits).or_else(|error| {
            // Heads may need granules of their own, and so may huge pages that move; the cover has
            // used them up.
            let heads: u64 = (0..self.limits.spans).map(|i| self.head_len(i)).sum();
            let berths = if let PlanError::NoBerth { missing } = error { missing } else { 0 };
            let wanted = heads.next_multiple_of(GRANULE) + berths;
            within(Limits { headroom: wanted, ..self.limits }).map_err(|_| error)
        })
    }

    fn no_cover(&self, stretches: &[Stretch], no: NoCover) -> PlanError {
        let tracts = ground(stretches);
        match no {
            NoCover::Spans => PlanError::TooManySpans {
                needed: tracts.iter().filter(|&t| self.request.fixed.overlaps(t)).count(),
                max: self.limits.spans,
            },
            NoCover::Bytes(needed) => {
                PlanError::TooLittleRam { needed, available: self.limits.budget }
            }
        }
    }

    /// The spans with their heads fitted, long enough for all that must move.
    pub(crate) fn complete(
        &self,
        stretches: &[Stretch],
        mut set: RangeSet,
    ) -> Result<Spans, PlanError> {
        let all = ground(stretches);
        if set.bytes() > self.limits.budget {
            return Err(PlanError::TooLittleRam {
                needed: set.bytes(),
                available: self.limits.budget,
            });
        }
        // Longer spans may get other heads, which may displace a little more.
        for _ in 0..4 {
            set = self.fit_heads(&all, set)?;
            let missing = self.missing(&set);
            let aground = self.aground(stretches, &set);
            let needed = set.bytes() + missing;
            if missing == 0 && aground == 0 {
                let cost = self.cost(&set);
                return Ok(Spans { set, cost });
            }
            if aground > 0 {
                let free: Vec<_> = stretches.iter().filter(|s| s.cost == 0).copied().collect();
                let missing = grow(&free, &mut set, aground, self.limits);
                if missing > 0 {
                    return Err(PlanError::NoBerth { missing: aground });
                }
            } else if grow(stretches, &mut set, missing, self.limits) > 0 {
                return Err(PlanError::TooLittleRam { needed, available: set.bytes() });
            }
        }
        match (self.aground(stretches, &set), self.missing(&set)) {
            (0, missing) => Err(PlanError::TooLittleRam {
                needed: set.bytes() + missing,
                available: set.bytes(),
            }),
            (missing, _) => Err(PlanError::NoBerth { missing }),
        }
    }

    /// The heads of spans: the region's metadata in the first, [`SPAN_HEAD_BYTES`] in the others.
    pub(crate) fn heads(&self, spans: &RangeSet) -> RangeSet {
        let spans = self.limits.nodes.split(spans);
        let head = |(i, s): (usize, &PhysRange)| PhysRange::from_len(s.start(), self.head_len(i));
        spans.iter().enumerate().filter_map(|i| head(i).ok()).collect()
    }

    pub(crate) fn head_len(&self, span: usize) -> u64 {
        let len = if span == 0 { self.request.head_bytes } else { SPAN_HEAD_BYTES };
        len.next_multiple_of(PAGE_SIZE)
    }

    /// Where in the spans kept pages stay: not under a head, nor in a huge page that loses a part.
    pub(crate) fn stays(&self, spans: &RangeSet) -> RangeSet {
        let giant = self.request.giant;
        let vacated = self.heads(spans).iter().flat_map(|head| self.vacated(head)).collect();
        let stays = spans.subtract(&vacated);
        let broken = giant.intersect(&stays.complement()).align_outward(GIANT);
        if broken.is_empty() { stays } else { stays.subtract(&broken) }
    }

    /// A head, and the huge pages that it touches.
    fn vacated(&self, head: PhysRange) -> Vec<PhysRange> {
        let around = head.align_outward(GRANULE).unwrap_or(head);
        self.request.huge.within(around).chain([head]).collect()
    }

    /// Where the head from `start` on ends, and the last huge page that it touches.
    fn vacated_end(&self, start: u64, len: u64) -> u64 {
        let head = PhysRange::from_len(start, len);
        let vacated = head.map_or_else(|_| Vec::new(), |head| self.vacated(head));
        vacated.iter().map(|v| v.end()).fold(start + len, u64::max)
    }

    /// Kept bytes that must move.
    pub(crate) fn displaced(&self, spans: &RangeSet) -> u64 {
        let stays = self.stays(spans);
        self.kept - stays.iter().map(|r| self.request.keep.bytes_within(r)).sum::<u64>()
    }

    /// What moving them costs.
    pub(crate) fn cost(&self, spans: &RangeSet) -> u64 {
        let leaving = self.stays(spans).complement();
        leaving.iter().map(|r| self.cost_within(r)).sum()
    }

    /// What moving all that is kept in `range` costs, in bytes.
    pub(crate) fn cost_within(&self, range: PhysRange) -> u64 {
        let r = self.request;
        let huge = r.huge.bytes_within(range) + r.giant.bytes_within(range);
        r.keep.bytes_within(range) + (HUGE_PRICE - 1) * huge
    }

    /// How many granules that many spans must have where anything moves.
    pub(crate) fn least(&self, spans: usize) -> u64 {
        let r = self.request;
        let heads: u64 = (0..spans).map(|i| self.head_len(i)).sum();
        let page = |bytes: u64| bytes.next_multiple_of(PAGE_SIZE);
        (self.kept + heads + page(r.mover_bytes) + page(r.staged_bytes)).div_ceil(GRANULE)
    }

    /// How many bytes the spans lack to take all that must move.
    fn missing(&self, spans: &RangeSet) -> u64 {
        let displaced = self.displaced(spans);
        if spans.is_empty() {
            return displaced + self.head_len(0);
        }
        if displaced == 0 {
            return 0;
        }
        let r = self.request;
        // What huge pages leave in spans is free for others: they move first.
        let free = spans.subtract(&self.heads(spans));
        let stays = self.stays(spans);
        let used = stays.iter().map(|s| r.keep.bytes_within(s)).sum::<u64>()
            + free.intersect(&r.avoid.align_outward(PAGE_SIZE)).bytes();
        let free = free.bytes().saturating_sub(used);
        let mover = r.mover_bytes.next_multiple_of(PAGE_SIZE);
        let staged = r.staged_bytes.next_multiple_of(PAGE_SIZE);
        (displaced + staged + mover).saturating_sub(free)
    }

    /// Moves the start of each span to where its head displaces least. A span that cannot have a
    /// head is given up.
    fn fit_heads(&self, all: &RangeSet, mut spans: RangeSet) -> Result<RangeSet, PlanError> {
        let mut i = 0;
        while let Some(&span) = self.limits.nodes.split(&spans).get(i) {
            let rest = spans.subtract(&RangeSet::from(span));
            if let Some(better) = self.fit_head(i, span, all, &rest) {
                spans = rest.union(&RangeSet::from(better));
                i += 1;
                continue;
            }
            if self.request.fixed.overlaps(span) {
                // Those at its start, where its head would be.
                let head = PhysRange::from_len(span.start(), self.head_len(i)).unwrap_or(span);
                let vacated = self.vacated(head).into_iter();
                let ranges = vacated.flat_map(|under| self.request.fixed.within(under)).collect();
                return Err(PlanError::FixedMustMove { ranges });
            }
            spans = rest;
        }
        Ok(spans)
    }

    /// The span with its start moved down into free granules, else up, so that its head fits.
    fn fit_head(
        &self,
        i: usize,
        span: PhysRange,
        all: &RangeSet,
        rest: &RangeSet,
    ) -> Option<PhysRange> {
        let head = self.head_len(i);
        let room = self.limits.room(rest, span);
        let low = (0..=head.div_ceil(GRANULE)).map_while(|n| {
            let start = span.start().checked_sub(n * GRANULE)?;
            // What is added must be a granule, and must not reach the span below.
            let free = n == 0
                || all.contains_range(PhysRange::from_len(start, GRANULE).ok()?)
                    && !rest.contains(start)
                    && !self.limits.nodes.goes_on(rest, start);
            free.then_some(start)
        });
        let candidates = low.filter_map(|start| {
            let end = span.end().max((start + head).next_multiple_of(GRANULE));
            let whole = PhysRange::new(start, end).ok()?;
            let fits = (whole == span || whole.len() <= room)
                && all.contains_range(whole)
                && !rest.overlaps(whole)
                && self.limits.nodes.in_one(whole);
            let under = self.under_head(start, head).filter(|_| fits)?;
            let won = PhysRange::new(self.vacated_end(start, head), span.start())
                .map_or(0, |r| self.cost_within(r));
            let price = (whole.len() - span.len()) / self.request.stay_price;
            Some(((under + price).saturating_sub(won), whole.len(), whole))
        });
        candidates.min_by_key(|&(moved, len, _)| (moved, len)).map(|c| c.2).or_else(|| {
            let up = (1..span.len() / GRANULE).map(|n| span.start() + n * GRANULE);
            let start = up
                .take_while(|&start| !self.fixed_in(span.start(), start))
                .filter(|start| start + head <= span.end())
                .find(|&start| self.under_head(start, head).is_some())?;
            PhysRange::new(start, span.end()).ok()
        })
    }

    fn fixed_in(&self, start: u64, end: u64) -> bool {
        PhysRange::new(start, end).is_ok_and(|r| self.request.fixed.overlaps(r))
    }

    /// What moving what lies under a head costs, or `None` where no head may be.
    pub(crate) fn under_head(&self, start: u64, len: u64) -> Option<u64> {
        let head = PhysRange::from_len(start, len).ok()?;
        let r = self.request;
        let vacated: RangeSet = self.vacated(head).into_iter().collect();
        let free = !vacated.iter().any(|v| r.fixed.overlaps(v)) && !r.avoid.overlaps(head);
        free.then(|| vacated.iter().map(|v| self.cost_within(v)).sum())
    }

    /// The error for a head that fits nowhere.
    pub(crate) fn no_head(&self, all: &RangeSet) -> PlanError {
        PlanError::NoPlace {
            part: Part::Head,
            len: self.head_len(0),
            below: all.hull().map_or(0, PhysRange::end),
            largest: all.iter().map(PhysRange::len).max().unwrap_or(0),
        }
    }
}
