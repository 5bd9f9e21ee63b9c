//! Places for the next kernel, its initrd, its parameters and its RAM below 4 GiB.
//!
//! What fits beside the spans costs nothing. What does not is placed where the fewest kept pages
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
use crate::stretch::{Stretch, kept_pages, open_ground, stretches, without};
use crate::{FOUR_GIB, GRANULE, LOW_LIMIT, Part, PlanError, Request};
use physmem::{ADDRESS_LIMIT, PAGE_SIZE, PhysRange, RangeSet};

/// How many of the cheapest places are tried out in full.
const TRIALS: usize = 16;

/// Beyond this many stretches only one place is tried out.
const MANY_STRETCHES: usize = 1 << 12;

/// Something that wants one piece of RAM.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) part: Part,
    len: u64,
    align: u64,
    min: u64,
    below: u64,
}

impl Wish {
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// The part from `start` on, if it may begin and end there.
    pub(crate) fn at(&self, start: u64) -> Option<PhysRange> {
        let place = PhysRange::from_len(start, self.len).ok()?;
        let fits = start.is_multiple_of(self.align) && self.min <= start;
        (fits && place.end() <= self.below).then_some(place)
    }
}

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

/// What the next kernel needs, the most demanding first.
fn wishes(r: &Request<'_>) -> Vec<Wish> {
    let page = |bytes: u64| bytes.next_multiple_of(PAGE_SIZE);
    let small = Wish {
        part: Part::BootBlock,
        len: page(r.boot_block_bytes),
        align: PAGE_SIZE,
        min: LOW_LIMIT,
        below: FOUR_GIB,
    };
    let kernel_below = if r.kernel.can_be_above_4g { ADDRESS_LIMIT } else { FOUR_GIB };
    let initrd_below = r.initrd_max_addr.saturating_add(1).min(ADDRESS_LIMIT);
    let all = [
        Wish { part: Part::LowRam, len: page(r.low_ram), ..small },
        Wish { part: Part::Initrd, len: page(r.initrd_bytes), below: initrd_below, ..small },
        small,
        Wish {
            part: Part::Window,
            len: page(r.kernel.init_size),
            align: r.kernel.alignment,
            min: r.kernel.min_addr.max(LOW_LIMIT),
            below: kernel_below,
        },
    ];
    all.into_iter().filter(|w| w.len > 0).collect()
}

/// RAM that something new may be put into: whole pages above 1 MiB.
pub(crate) fn usable(r: &Request<'_>) -> RangeSet {
    let low: RangeSet = PhysRange::new(0, LOW_LIMIT).into_iter().collect();
    let avoid = r.avoid.align_outward(PAGE_SIZE);
    r.map.ram().align_inward(PAGE_SIZE).subtract(&low).subtract(&avoid)
}

/// Spans, and places beside them.
pub(crate) fn place(ground: &Ground<'_>) -> Result<Placed, PlanError> {
    let r = ground.request;
    let stretches = stretches(r);
    let usable = usable(r);
    let mut wishes = wishes(r);
    let stuck = r.fixed.subtract(&open_ground(r));
    if !stuck.is_empty() {
        return Err(PlanError::FixedMustMove { ranges: stuck });
    }
    let mut parts: Vec<(Part, PhysRange)> = Vec::new();
    if let Some(placed) = place_jointly(ground, &stretches, &usable, &wishes) {
        return Ok(placed);
    }
    let mut spans = ground.spans(&stretches)?;
    loop {
        let taken: RangeSet = parts.iter().map(|p| p.1).collect();
        let room = usable.subtract(&spans.set).subtract(&taken);
        match fit_all(&wishes, room, r.seed) {
            Ok(fitting) => {
                parts.extend(fitting);
                return Ok(Placed { spans: spans.set, parts });
            }
            Err(i) => {
                let wish = wishes.remove(i);
                let (place, around) = force(ground, &stretches, &usable, &taken, wish)?;
                parts.push((wish.part, place));
                spans = around;
            }
        }
    }
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
    let taken: RangeSet = found.parts.iter().map(|p| p.1).collect();
    let spans = ground.complete(&without(stretches, &taken), found.spans).ok()?;
    let beside = usable.subtract(&spans.set);
    parts.extend(found.parts);
    // The window need not be just there.
    let parts = fit_all(wishes, beside, ground.request.seed).unwrap_or(parts);
    Some(Placed { spans: spans.set, parts })
}

/// A place for each wish in `room`, or the index of the first that finds none.
fn fit_all(
    wishes: &[Wish],
    mut room: RangeSet,
    seed: u64,
) -> Result<Vec<(Part, PhysRange)>, usize> {
    let mut found = Vec::new();
    for (i, wish) in wishes.iter().enumerate() {
        let place = match wish.part {
            Part::Window => any_slot(&room, wish, &mut Rng::new(seed)),
            _ => best_fit(&room, wish),
        };
        let place = place.ok_or(i)?;
        room = room.subtract(&RangeSet::from(place));
        found.push((wish.part, place));
    }
    Ok(found)
}

/// The part of `room` where the wish may lie, first address aligned.
fn reach(room: &RangeSet, wish: &Wish) -> impl Iterator<Item = PhysRange> {
    let bounds = PhysRange::new(wish.min, wish.below).ok();
    let (align, len) = (wish.align, wish.len);
    bounds.into_iter().flat_map(|b| room.within(b)).filter_map(move |r| {
        let start = r.start().checked_next_multiple_of(align)?;
        PhysRange::new(start, r.end()).ok().filter(|r| r.len() >= len)
    })
}

/// The upper end of the smallest piece that is large enough.
pub(crate) fn best_fit(room: &RangeSet, wish: &Wish) -> Option<PhysRange> {
    let piece = reach(room, wish).min_by_key(|r| r.len())?;
    PhysRange::from_len((piece.end() - wish.len) & !(wish.align - 1), wish.len).ok()
}

/// Any aligned place, each as probable as the other.
fn any_slot(room: &RangeSet, wish: &Wish, rng: &mut Rng) -> Option<PhysRange> {
    let slots = |r: PhysRange| (r.len() - wish.len) / wish.align + 1;
    let total: u64 = reach(room, wish).map(slots).sum();
    let mut pick = rng.below(total)?;
    for r in reach(room, wish) {
        if pick < slots(r) {
            return PhysRange::from_len(r.start() + pick * wish.align, wish.len).ok();
        }
        pick -= slots(r);
    }
    None
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
                if best.as_ref().is_none_or(|b| spans.displaced < b.1.displaced) {
                    best = Some((place, spans));
                }
            }
            Err(e) => error = error.or(Some(e)),
        }
    }
    best.ok_or_else(|| {
        error.unwrap_or_else(|| PlanError::NoPlace {
            part: wish.part,
            len: wish.len,
            below: wish.below,
            largest: room.iter().map(PhysRange::len).max().unwrap_or(0),
        })
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
            places.push((kept_pages(&open, &cover), rng.next(), place));
        }
    }
    places.sort_unstable();
    let trials = if stretches.len() > MANY_STRETCHES { 1 } else { TRIALS };
    places.into_iter().take(trials).map(|p| p.2).collect()
}

/// A place for the mover: where no kept page lies, best outside of the spans.
pub(crate) fn place_mover(ground: &Ground<'_>, placed: &Placed) -> Result<PhysRange, PlanError> {
    let r = ground.request;
    let wish = Wish {
        part: Part::Mover,
        len: r.mover_bytes.next_multiple_of(PAGE_SIZE),
        align: PAGE_SIZE,
        min: LOW_LIMIT,
        below: ADDRESS_LIMIT,
    };
    let free = usable(r).subtract(&placed.taken()).subtract(r.keep);
    best_fit(&free.subtract(&placed.spans), &wish)
        .or_else(|| best_fit(&free.subtract(&ground.heads(&placed.spans)), &wish))
        .ok_or_else(|| PlanError::NoPlace {
            part: Part::Mover,
            len: wish.len,
            below: wish.below,
            largest: free.iter().map(PhysRange::len).max().unwrap_or(0),
        })
}
