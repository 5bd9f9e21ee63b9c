//! Where each displaced page goes.
//!
//! Huge pages have their places from the layout. Of the rest, long runs come first, in classes of length by powers of two, so that they stay contiguous as long as
//! there is room. Twice in each class the displaced pages and the free ones are walked from the
//! lowest up:
//!
//! ```text
//! class 2^k   whole: runs of 2^k … 2^(k+1) − 1 pages, each into the next gap that takes all of it
//!             cut:   what is left of at least 2^k pages, in pieces of at least 2^k pages
//! ```
//!
//! In the last class any page goes anywhere, so that nothing is left over. A walk is linear in the
//! memory's size over 64 pages and in the number of moves.

use crate::{Layout, PlanError, SPAN_HEAD_BYTES};
use physmem::{Cursor, FrameSet, PAGE_SIZE, PhysRange, RangeSet};

/// One copy that the mover makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MoveRun {
    /// Where the pages are.
    pub from: u64,
    /// Where they go.
    pub to: u64,
    /// Bytes.
    pub len: u64,
}

/// Finds a destination for each displaced page and hands the moves to `each`: first huge pages, as a
/// whole, then the others. No destination is staged, to be avoided, in a head, in the mover segment,
/// or read by the same or a later move.
///
/// # Errors
///
/// [`PlanError::NoDestination`], before the first move, where more is staged in spans than the
/// request made room for.
pub fn assign(
    layout: &Layout,
    keep: &FrameSet,
    staged: &FrameSet,
    mut each: impl FnMut(MoveRun),
) -> Result<(), PlanError> {
    let mut left = layout.displaced(keep);
    for unit in &layout.berths {
        PhysRange::from_len(unit.from, unit.len).into_iter().for_each(|range| left.remove(range));
    }
    let mut free = layout.destinations(keep);
    free.remove_all(staged);
    if let Some(missing) = left.bytes().checked_sub(free.bytes()).filter(|&m| m > 0) {
        return Err(PlanError::NoDestination { missing });
    }
    layout.berths.iter().copied().for_each(&mut each);
    let Some(last_class) = (left.bytes() / PAGE_SIZE).checked_ilog2() else { return Ok(()) };
    let mut pour = Pour { left, free, each, last: None };
    for class in (1..=last_class).rev() {
        pour.whole(1 << class);
        pour.cut(1 << class);
    }
    pour.cut(1);
    pour.last.map(pour.each);
    Ok(())
}

impl Layout {
    /// The pages that moves may write, if nothing is staged there, but for berths. What huge pages
    /// leave is among them.
    pub fn destinations(&self, keep: &FrameSet) -> FrameSet {
        let later = self.spans.iter().skip(1);
        let heads = later.filter_map(|s| PhysRange::from_len(s.start(), SPAN_HEAD_BYTES).ok());
        let taken: RangeSet = heads.chain([self.head, self.mover]).collect();
        let spans: RangeSet = self.spans.iter().copied().collect();
        let room = spans.subtract(&taken.union(&self.berths())).subtract(&self.avoid);
        let mut free = FrameSet::from(&room);
        free.remove_all(keep);
        let left = self.berths.iter().filter_map(|m| PhysRange::from_len(m.from, m.len).ok());
        free.extend(left.collect::<RangeSet>().intersect(&room).iter());
        free
    }
}

/// Displaced pages on their way into free ones.
struct Pour<F> {
    left: FrameSet,
    free: FrameSet,
    each: F,
    /// The last move, which the next one may continue.
    last: Option<MoveRun>,
}

impl<F: FnMut(MoveRun)> Pour<F> {
    /// Moves runs of at least `least` pages, but less than twice as many, into gaps that take them
    /// whole. Where longer runs are left there is no longer gap.
    fn whole(&mut self, least: u64) {
        let (mut from, mut to) = (Cursor::default(), Cursor::default());
        while let Some(run) = self.left.next_run(&mut from, least) {
            if run.pages() >= 2 * least {
                continue;
            }
            let Some(gap) = self.free.next_run(&mut to, run.pages()) else { return };
            to.skip_to(gap.start() + run.len());
            self.put(run.start(), gap.start(), run.len());
        }
    }

    /// Moves runs of at least `least` pages into gaps of at least as many, in as large pieces as
    /// these take.
    fn cut(&mut self, least: u64) {
        let (mut from, mut to) = (Cursor::default(), Cursor::default());
        while let Some(run) = self.left.next_run(&mut from, least) {
            let Some(gap) = self.free.next_run(&mut to, least) else { return };
            let len = run.len().min(gap.len());
            from.skip_to(run.start() + len);
            to.skip_to(gap.start() + len);
            if least == 1 {
                // Nothing comes after: both cursors only go up.
                self.emit(run.start(), gap.start(), len);
            } else {
                self.put(run.start(), gap.start(), len);
            }
        }
    }

    fn put(&mut self, from: u64, to: u64, len: u64) {
        for (set, start) in [(&mut self.left, from), (&mut self.free, to)] {
            PhysRange::from_len(start, len).into_iter().for_each(|range| set.remove(range));
        }
        self.emit(from, to, len);
    }

    fn emit(&mut self, from: u64, to: u64, len: u64) {
        match &mut self.last {
            Some(last) if last.from + last.len == from && last.to + last.len == to => {
                last.len += len;
            }
            _ => {
                let done = self.last.replace(MoveRun { from, to, len });
                done.into_iter().for_each(&mut self.each);
            }
        }
    }
}
