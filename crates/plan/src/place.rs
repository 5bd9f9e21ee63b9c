//! Places for the next kernel, its initrd, its parameters and its RAM below 4 GiB.
//!
//! On a small machine spans and places are chosen together (`joint.rs`). Else, what fits beside
//! the spans costs nothing. What does not is placed where the fewest kept pages
//! must make room, and the spans are chosen anew around it:
//!
//! ```text
//! spans ──► all parts fit beside them? ──yes──► done
//!   ▲                │ no
//!   └── around it ◄──┴── the first that does not goes where it costs least
//! ```

use crate::ground::{Ground, Spans};
use crate::joint::joint;
use crate::rng::Rng;
use crate::stretch::{Stretch, cost_of, open_ground, stretches, without};
use crate::tidy::tidy;
use crate::wish::{Wish, best_fit, fit_all, reach, usable, wishes};
use crate::{GRANULE, Part, PlanError};
use physmem::{Cursor, FrameSet, PAGE_SIZE, PhysRange, RangeSet};

/// How many of the cheapest places are tried out in full.
const TRIALS: usize = 16;

/// Beyond this many stretches only one place is tried out.
const MANY_STRETCHES: usize = 1 << 12;

/// Where everything but the mover goes.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) spans: RangeSet,
    pub(crate) parts: Vec<(Part, PhysRange)>,
}

impl Placed {
    /// The addresses of all parts.
    pub(crate) fn taken(&self) -> RangeSet {
        self.parts.iter().map(|p| p.1).collect()
    }

    pub(crate) fn part(&self, part: Part) -> Option<PhysRange> {
        self.parts.iter().find(|p| p.0 == part).map(|p| p.1)
    }
}

/// Spans, and places beside them.
pub(crate) fn place(ground: &Ground<'_>) -> Result<Placed, PlanError> {
    let r = ground.request;
    let closed = open_ground(r).complement();
    if closed.iter().any(|range| r.fixed.overlaps(range)) {
        let ranges = closed.iter().flat_map(|range| r.fixed.within(range)).collect();
        return Err(PlanError::FixedMustMove { ranges });
    }
    let stretches = stretches(r, ground.limits.nodes);
    let (usable, wishes) = (usable(r), wishes(r));
    match place_jointly(ground, &stretches, &usable, &wishes) {
        Some(placed) => Ok(placed),
        None => place_one_by_one(ground, &stretches, &usable, wishes),
    }
}

/// Spans first, then one part after the other beside them.
fn place_one_by_one(
    ground: &Ground<'_>,
    stretches: &[Stretch],
    usable: &RangeSet,
    mut wishes: Vec<Wish>,
) -> Result<Placed, PlanError> {
    let mut parts: Vec<(Part, PhysRange)> = Vec::new();
    let mut spans = ground.spans(stretches)?;
    loop {
        match settle(ground, usable, &spans.set, &parts, &wishes) {
            Ok(placed) => return Ok(placed),
            Err(i) => {
                let wish = wishes.remove(i);
                let taken = parts.iter().map(|p| p.1).collect();
                let (place, around) = force(ground, stretches, usable, &taken, wish)?;
                parts.push((wish.part, place));
                spans = around;
            }
        }
    }
}

/// The spans, tidy if they can be, with a place beside them for each wish; or the index of the
/// first wish that finds none.
fn settle(
    ground: &Ground<'_>,
    usable: &RangeSet,
    spans: &RangeSet,
    parts: &[(Part, PhysRange)],
    wishes: &[Wish],
) -> Result<Placed, usize> {
    let taken: RangeSet = parts.iter().map(|p| p.1).collect();
    let open = open_ground(ground.request).subtract(&taken.align_outward(GRANULE));
    let attempt = |spans: RangeSet| {
        let room = usable.subtract(&spans).subtract(&taken);
        let found = fit_all(wishes, room, ground.request.seed)?;
        Ok(Placed { spans, parts: [parts, &found].concat() })
    };
    attempt(tidy(ground, spans, &open)).or_else(|_| attempt(spans.clone()))
}

/// Spans and places chosen together, for machines that are small enough for that.
fn place_jointly(
    ground: &Ground<'_>,
    stretches: &[Stretch],
    usable: &RangeSet,
    wishes: &[Wish],
) -> Option<Placed> {
    // What fits where no span can be costs nothing there.
    let mut nook = usable.subtract(&open_ground(ground.request));
    let (mut parts, mut rest) = (Vec::new(), Vec::new());
    for wish in wishes {
        match best_fit(&nook, wish) {
            Some(place) => {
                nook = nook.subtract(&RangeSet::from(place));
                parts.push((wish.part, place));
            }
            None => rest.push(*wish),
        }
    }
    let fixed = ground.request.fixed.align_outward(GRANULE);
    let found = joint(ground, stretches, &rest, &usable.subtract(&fixed))?;
    if !ground.limits.nodes.overfull(&found.spans, 0).is_empty() {
        return None;
    }
    let taken: RangeSet = found.parts.iter().map(|p| p.1).collect();
    let spans = ground.complete(&without(stretches, &taken), found.spans).ok()?;
    // The parts need not be just there: the window is at any place that is as good.
    settle(ground, usable, &spans.set, &[], wishes).ok().or_else(|| {
        parts.extend(found.parts);
        Some(Placed { spans: spans.set, parts })
    })
}

/// The place where the wish costs least, and the spans around it.
fn force(
    ground: &Ground<'_>,
    stretches: &[Stretch],
    usable: &RangeSet,
    taken: &RangeSet,
    wish: Wish,
) -> Result<(PhysRange, Spans), PlanError> {
    let fixed = ground.request.fixed.align_outward(GRANULE);
    let room = usable.subtract(taken).subtract(&fixed);
    let places = cheapest(stretches, taken, &room, &wish, ground.request.seed);
    let mut best: Option<(PhysRange, Spans)> = None;
    let mut error = None;
    for place in places {
        let around = without(stretches, &taken.union(&RangeSet::from(place)));
        match ground.spans(&around) {
            Ok(spans) => {
                if best.as_ref().is_none_or(|b| spans.cost < b.1.cost) {
                    best = Some((place, spans));
                }
            }
            Err(e) => error = error.or(Some(e)),
        }
    }
    best.ok_or_else(|| {
        let largest = || room.iter().map(PhysRange::len).max().unwrap_or(0);
        error.unwrap_or_else(|| no_place(&wish, largest()))
    })
}

/// Places where the fewest kept pages lie, the cheapest first. How many pages a place covers
/// changes evenly between the ends of stretches, so that only those need a look.
fn cheapest(
    stretches: &[Stretch],
    taken: &RangeSet,
    room: &RangeSet,
    wish: &Wish,
    seed: u64,
) -> Vec<PhysRange> {
    let open = without(stretches, taken);
    let mut places: Vec<(u64, u64, PhysRange)> = Vec::new();
    let mut rng = Rng::new(seed);
    for r in reach(room, wish) {
        let last = (r.end() - wish.len) & !(wish.align - 1);
        let edges = crate::stretch::within(&open, r)
            .flat_map(|s| [s.range.start(), s.range.end().saturating_sub(wish.len)])
            .chain([r.start(), last]);
        let mut starts: Vec<u64> =
            edges.map(|at| (at & !(wish.align - 1)).clamp(r.start(), last)).collect();
        starts.sort_unstable();
        starts.dedup();
        for start in starts {
            let Ok(place) = PhysRange::from_len(start, wish.len) else { continue };
            let cover = RangeSet::from(place).align_outward(GRANULE);
            places.push((cost_of(&open, &cover), rng.next(), place));
        }
    }
    places.sort_unstable();
    let trials = if stretches.len() > MANY_STRETCHES { 1 } else { TRIALS };
    places.into_iter().take(trials).map(|p| p.2).collect()
}

/// A place for the mover: where no kept page lies and none is to be, best outside of the spans.
pub(crate) fn place_mover(
    ground: &Ground<'_>,
    placed: &Placed,
    berths: &RangeSet,
) -> Result<PhysRange, PlanError> {
    let r = ground.request;
    let wish = Wish::mover(r);
    let taken = placed.taken().union(&ground.heads(&placed.spans)).union(berths);
    let room = usable(r).subtract(&taken);
    let mut largest = 0;
    for part in [room.subtract(&placed.spans), room.intersect(&placed.spans)] {
        let mut free = FrameSet::from(&part);
        free.remove_all(r.keep);
        if let Some(gap) = free.next_run(&mut Cursor::default(), wish.len / PAGE_SIZE) {
            return PhysRange::from_len(gap.start(), wish.len).map_err(|_| no_place(&wish, 0));
        }
        largest = free.iter().map(PhysRange::len).fold(largest, u64::max);
    }
    Err(no_place(&wish, largest))
}

fn no_place(wish: &Wish, largest: u64) -> PlanError {
    PlanError::NoPlace { part: wish.part, len: wish.len, below: wish.below, largest }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::Nodes;
    use crate::{KernelNeeds, LOW_LIMIT, Pieces, Request};
    use physmem::{E820Entry, E820Type, MemoryMap};

    /// Machines that are small enough to be planned both ways.
    fn both_ways(seed: u64) -> Option<(u64, u64)> {
        let mut rng = Rng::new(seed);
        let mut below = |n: u64| rng.below(n).unwrap();
        let granules = 30 + below(20);
        let range = PhysRange::new(LOW_LIMIT, granules * GRANULE).unwrap();
        let map = MemoryMap::from_entries([E820Entry { range, kind: E820Type::Ram }]);
        let full = below(3);
        let runs = (1..granules).flat_map(|g| {
            let pages = match below(4) + full {
                0..=2 => 0,
                3 => below(8) + 1,
                _ => below(500) + 1,
            };
            (0..pages.min(6)).map(|_| (g * 512 + below(500), pages / 6 + 1)).collect::<Vec<_>>()
        });
        let keep: FrameSet = runs.map(|(p, n)| PhysRange::from_pfn(p, n).unwrap()).collect();
        let none = RangeSet::new();
        let request = Request {
            map: &map,
            keep: &keep,
            fixed: &FrameSet::new(),
            huge: &none,
            giant: &none,
            avoid: &none,
            nodes: &[],
            kernel: KernelNeeds {
                init_size: 4 * GRANULE,
                alignment: GRANULE,
                min_addr: GRANULE,
                can_be_above_4g: true,
            },
            initrd_bytes: 3 * GRANULE,
            initrd_max_addr: u64::from(u32::MAX),
            boot_block_bytes: PAGE_SIZE,
            mover_bytes: PAGE_SIZE,
            head_bytes: 16 * PAGE_SIZE,
            staged_bytes: 0,
            reserve_ram: (7 + below(12)) * GRANULE,
            low_ram: 0,
            memory_block: 128 << 20,
            max_spans: 3,
            span_price: 0,
            pieces: Pieces::Any,
            max_entries: 128,
            stay_price: u64::MAX,
            seed,
        };
        let nodes = Nodes::new(&request);
        let ground = Ground::new(&request, &nodes);
        let stretches = stretches(&request, &nodes);
        let (usable, wishes) = (usable(&request), wishes(&request));
        let together = place_jointly(&ground, &stretches, &usable, &wishes)?;
        let apart = place_one_by_one(&ground, &stretches, &usable, wishes).unwrap();
        Some((ground.displaced(&together.spans), ground.displaced(&apart.spans)))
    }

    #[test]
    fn one_by_one_is_nearly_as_good_as_together() {
        let moved: Vec<_> = (0..300).filter_map(both_ways).collect();
        let (best, ours) = moved.iter().fold((0, 0), |sum, m| (sum.0 + m.0, sum.1 + m.1));
        let equal = moved.iter().filter(|m| m.0 == m.1).count();
        eprintln!("{equal} of {} equal, {ours} bytes moved, best {best}", moved.len());
        assert!(moved.iter().all(|m| m.0 <= m.1) && moved.len() > 200);
        assert!(ours * 100 <= best * 105, "{ours} bytes moved, best {best}");
    }
}
