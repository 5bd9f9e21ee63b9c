//! What the next kernel needs places for, and places that are free.

use crate::rng::Rng;
use crate::{FOUR_GIB, LOW_LIMIT, Part, Request};
use physmem::{ADDRESS_LIMIT, PAGE_SIZE, PhysRange, RangeSet};

/// Something that wants one piece of RAM.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) part: Part,
    pub(crate) len: u64,
    pub(crate) align: u64,
    min: u64,
    pub(crate) below: u64,
}

impl Wish {
    /// The mover's.
    pub(crate) fn mover(r: &Request<'_>) -> Self {
        Self {
            part: Part::Mover,
            len: r.mover_bytes.next_multiple_of(PAGE_SIZE),
            align: PAGE_SIZE,
            min: LOW_LIMIT,
            below: ADDRESS_LIMIT,
        }
    }

    /// The part from `start` on, if it may begin and end there.
    pub(crate) fn at(&self, start: u64) -> Option<PhysRange> {
        let place = PhysRange::from_len(start, self.len).ok()?;
        let fits = start.is_multiple_of(self.align) && self.min <= start;
        (fits && place.end() <= self.below).then_some(place)
    }
}

/// What the next kernel needs, the most demanding first.
pub(crate) fn wishes(r: &Request<'_>) -> Vec<Wish> {
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

/// A place for each wish in `room`, or the index of the first that finds none.
pub(crate) fn fit_all(
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
pub(crate) fn reach(room: &RangeSet, wish: &Wish) -> impl Iterator<Item = PhysRange> {
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
