//! Small machines: spans and parts at once, the best there is.
//!
//! A walk over the granules from the lowest to the highest. At each one there are four ways on;
//! of all walks that come to the same granule in the same state only the cheapest is kept:
//!
//! | way | goes on by | costs | state |
//! |---|---|---|---|
//! | leave the granule to the next kernel | 1 | its kept pages | outside |
//! | go on with a span | 1 | | inside, length + 1 |
//! | start a span | what its head takes | kept pages under the head | inside, spans + 1, length + … |
//! | place a part | what it takes | kept pages there | outside, part placed |
//!
//! State: spans so far, their length in all and on this node, parts placed, berths less huge pages
//! that need one, inside of a span or not. Where there are too many states some of it is left out,
//! and the outcome is good if it happens to hold.

use crate::ground::Ground;
use crate::runs::PAGE_GAIN;
use crate::stretch::Stretch;
use crate::wish::Wish;
use crate::{GRANULE, Part};
use physmem::{PAGE_SIZE, PhysRange, RangeSet};

/// The most states that are looked at: 13 bytes each.
const MAX_STATES: usize = 1 << 20;

/// Cost of a page that moves. A granule of span costs at least 1, so that length decides between
/// equals.
const PAGE_COST: u64 = PAGE_GAIN.unsigned_abs();

const UNREACHED: u64 = u64::MAX;

/// One granule.
struct Cell {
    range: PhysRange,
    /// What moving what is kept there costs, in pages.
    cost: u64,
    fixed: bool,
    huge: bool,
    /// Whether a huge page could move there.
    berth: bool,
    /// Whether the granule below is the one before it in the line.
    joined: bool,
    /// Whether a node begins here.
    fresh: bool,
    /// How many granules spans may have on its node.
    share: usize,
}

/// How a state was reached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Leave,
    GoOn,
    Start,
    Place(u8),
}

/// What is reached by a way: how far on, at what cost.
struct Step {
    cells: usize,
    cost: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct State {
    spans: usize,
    len: usize,
    /// Length on this node.
    here: usize,
    placed: usize,
    /// Berths, less huge pages that move, plus [`Sizes::huge`].
    berths: usize,
    inside: bool,
}

/// What states tell apart, up to which number; 0 where they do not.
#[derive(Clone, Copy)]
struct Sizes {
    spans: usize,
    len: usize,
    here: usize,
    parts: usize,
    huge: usize,
}

impl Sizes {
    fn states(&self) -> usize {
        let all = (self.spans + 1) * (self.len + 1) * (self.here + 1) * (2 * self.huge + 1);
        all << self.parts << 1
    }

    fn index(&self, s: State) -> usize {
        let numbers = (s.spans * (self.len + 1) + s.len) * (self.here + 1) + s.here;
        let all = numbers * (2 * self.huge + 1) + s.berths;
        (((all << self.parts) | s.placed) << 1) | usize::from(s.inside)
    }

    fn state(&self, index: usize) -> State {
        let all = index >> 1 >> self.parts;
        let numbers = all / (2 * self.huge + 1);
        let lengths = numbers / (self.here + 1);
        State {
            spans: lengths / (self.len + 1),
            len: lengths % (self.len + 1),
            here: numbers % (self.here + 1),
            placed: (index >> 1) & ((1 << self.parts) - 1),
            berths: all % (2 * self.huge + 1),
            inside: index & 1 == 1,
        }
    }
}

/// The spans and parts of the cheapest walk.
#[derive(Debug)]
pub(crate) struct Joint {
    pub(crate) spans: RangeSet,
    pub(crate) parts: Vec<(Part, PhysRange)>,
}

struct Walk<'a> {
    ground: &'a Ground<'a>,
    cells: Vec<Cell>,
    wishes: &'a [Wish],
    /// For each wish and cell, whether the part may start there.
    fits: Vec<Vec<bool>>,
    sizes: Sizes,
    /// Cost of a granule of span.
    granule_cost: u64,
    /// Cost of a span.
    span_cost: u64,
}

/// The best spans with the best places for all wishes in `room`, if the machine is small enough,
/// and if there are any within the limits.
pub(crate) fn joint(
    ground: &Ground<'_>,
    stretches: &[Stretch],
    wishes: &[Wish],
    room: &RangeSet,
) -> Option<Joint> {
    let granules: u64 = stretches.iter().map(Stretch::granules).sum();
    let n = usize::try_from(granules).ok().filter(|&n| n < MAX_STATES)?;
    let budget = usize::try_from(ground.limits.budget / GRANULE).ok()?.min(n);
    let cells = cells(ground, stretches);
    let huge = cells.iter().filter(|c| c.huge).count();
    let here = cells.iter().map(|c| c.share).filter(|&share| share < n).max().unwrap_or(0);
    let least =
        Sizes { spans: ground.limits.spans.min(n), len: 0, here: 0, parts: wishes.len(), huge: 0 };
    let sizes = [
        Sizes { len: budget, here, huge, ..least },
        Sizes { here, huge, ..least },
        Sizes { len: budget, ..least },
        least,
    ];
    let few = |sizes: &Sizes| sizes.states().checked_mul(n + 1).is_some_and(|s| s <= MAX_STATES);
    let sizes = sizes.into_iter().find(few)?;
    let fits = wishes.iter().map(|w| cells.iter().map(|c| fits(c, w, room)).collect()).collect();
    let granule_cost = ground.limits.granule_price().unsigned_abs();
    let span_cost = ground.limits.run_price().unsigned_abs();
    Walk { ground, cells, wishes, fits, sizes, granule_cost, span_cost }.best()
}

fn cells(ground: &Ground<'_>, stretches: &[Stretch]) -> Vec<Cell> {
    let r = ground.request;
    let huge = r.huge.union(r.giant);
    let mut cells: Vec<Cell> = Vec::new();
    let mut node = None;
    for s in stretches {
        let (this, share) = ground.limits.nodes.share(s.range);
        let mut fresh = node.replace(this) != Some(this);
        for i in 0..s.granules() {
            let Ok(range) = PhysRange::from_len(s.range.start() + i * GRANULE, GRANULE) else {
                continue;
            };
            let next = cells.last().is_some_and(|c| c.range.end() == range.start());
            cells.push(Cell {
                range,
                cost: s.cost,
                fixed: s.fixed,
                huge: huge.overlaps(range),
                berth: s.cost == 0 && !r.avoid.overlaps(range),
                joined: next && !(s.apart && i == 0),
                fresh,
                share: usize::try_from(share / GRANULE).unwrap_or(usize::MAX),
            });
            fresh = false;
        }
    }
    cells
}

fn fits(cell: &Cell, wish: &Wish, room: &RangeSet) -> bool {
    wish.at(cell.range.start()).is_some_and(|place| room.contains_range(place))
}

impl Walk<'_> {
    fn best(&self) -> Option<Joint> {
        let width = self.sizes.states();
        let n = self.cells.len();
        let mut cost = vec![UNREACHED; (n + 1) * width];
        let mut from = vec![(0_u32, Way::Leave); (n + 1) * width];
        let none =
            State { spans: 0, len: 0, here: 0, placed: 0, berths: self.sizes.huge, inside: false };
        cost[self.sizes.index(none)] = 0;
        for i in 0..n {
            for index in 0..width {
                let so_far = cost[i * width + index];
                if so_far == UNREACHED {
                    continue;
                }
                let state = self.sizes.state(index);
                for way in self.ways() {
                    let Some((step, next)) = self.step(i, state, way) else { continue };
                    let at = (i + step.cells) * width + self.sizes.index(next);
                    if so_far + step.cost < cost[at] {
                        cost[at] = so_far + step.cost;
                        from[at] = (u32::try_from(index).ok()?, way);
                    }
                }
            }
        }
        let last = &cost[n * width..];
        let done = (0..width).filter(|&s| last[s] != UNREACHED && self.allowed(s, last[s]));
        let end = done.min_by_key(|&s| last[s])?;
        self.trace(&from, end)
    }

    /// Whether a walk may end in this state.
    fn allowed(&self, index: usize, cost: u64) -> bool {
        let s = self.sizes.state(index);
        let whole = s.spans > 0 && s.placed + 1 == 1 << self.wishes.len();
        let spans = s.spans as u64 * self.span_cost + s.len as u64 * self.granule_cost;
        let moves = cost.saturating_sub(spans) >= PAGE_COST;
        let enough = self.sizes.len == 0 || !moves || s.len as u64 >= self.ground.least(s.spans);
        whole && enough && s.berths >= self.sizes.huge
    }

    fn ways(&self) -> impl Iterator<Item = Way> + use<> {
        let parts = u8::try_from(self.wishes.len()).unwrap_or(0);
        [Way::Leave, Way::GoOn, Way::Start].into_iter().chain((0..parts).map(Way::Place))
    }

    /// The way from this state at cell `i`, if there is one.
    fn step(&self, i: usize, mut s: State, way: Way) -> Option<(Step, State)> {
        let cell = &self.cells[i];
        let touches = s.inside && cell.joined;
        if cell.fresh {
            s.here = 0;
        }
        match way {
            Way::Leave if !cell.fixed => {
                let step = Step { cells: 1, cost: cell.cost * PAGE_COST };
                Some((step, State { inside: false, ..self.moved(s, i, 1)? }))
            }
            Way::GoOn if touches => {
                let free = usize::from(cell.berth && self.sizes.huge > 0);
                let berths = (s.berths + free).min(2 * self.sizes.huge);
                let next = State { berths, ..self.longer(s, i, 1)? };
                Some((Step { cells: 1, cost: self.granule_cost }, next))
            }
            Way::Start if !touches && s.spans < self.sizes.spans => {
                let head = self.ground.head_len(s.spans);
                let cells = usize::try_from(head.div_ceil(GRANULE)).ok()?;
                self.run(i, cells)?;
                let under = self.ground.under_head(cell.range.start(), head)? / PAGE_SIZE;
                let next = self.moved(self.longer(s, i, cells)?, i, cells)?;
                let length = cells as u64 * self.granule_cost + self.span_cost;
                let step = Step { cells, cost: under * PAGE_COST + length };
                Some((step, State { spans: s.spans + 1, inside: true, ..next }))
            }
            Way::Place(p) if s.placed >> p & 1 == 0 && self.fits[usize::from(p)][i] => {
                let cells = usize::try_from(self.wishes[usize::from(p)].len.div_ceil(GRANULE));
                let run = self.cells.get(i..i.checked_add(cells.ok()?)?)?;
                let whole = run.windows(2).all(|w| w[0].range.end() == w[1].range.start());
                if !whole {
                    return None;
                }
                let cost = run.iter().map(|c| c.cost).sum::<u64>();
                let step = Step { cells: run.len(), cost: cost * PAGE_COST };
                let next = self.moved(s, i, run.len())?;
                let here = if run.iter().skip(1).any(|c| c.fresh) { 0 } else { next.here };
                Some((step, State { placed: s.placed | 1 << p, inside: false, here, ..next }))
            }
            _ => None,
        }
    }

    /// The `count` cells from `i` on, if they can be in one span.
    fn run(&self, i: usize, count: usize) -> Option<&[Cell]> {
        let run = self.cells.get(i..i.checked_add(count)?)?;
        run.iter().skip(1).all(|c| c.joined).then_some(run)
    }

    /// With the spans longer by the `by` cells from `i` on.
    fn longer(&self, s: State, i: usize, by: usize) -> Option<State> {
        let len = if self.sizes.len == 0 { 0 } else { s.len + by };
        let here = if self.sizes.here == 0 { 0 } else { s.here + by };
        let share = self.cells[i].share;
        let fits = len <= self.sizes.len && (self.sizes.here == 0 || here <= share);
        // Beyond the largest share that matters lengths need not be told apart.
        fits.then_some(State { len, here: here.min(self.sizes.here), ..s })
    }

    /// With a berth taken for each huge page among the `count` cells from `i` on.
    fn moved(&self, s: State, i: usize, count: usize) -> Option<State> {
        let huge = self.cells.get(i..i + count)?.iter().filter(|c| c.huge).count();
        let berths = s.berths.checked_sub(if self.sizes.huge == 0 { 0 } else { huge })?;
        Some(State { berths, ..s })
    }

    /// Follows the walk that ends in state `index` back to its start.
    fn trace(&self, from: &[(u32, Way)], mut index: usize) -> Option<Joint> {
        let width = self.sizes.states();
        let mut i = self.cells.len();
        let (mut covered, mut parts) = (Vec::new(), Vec::new());
        while i > 0 {
            let (before, way) = from[i * width + index];
            index = usize::try_from(before).ok()?;
            let state = self.sizes.state(index);
            let cells = match way {
                Way::Leave | Way::GoOn => 1,
                Way::Start => self.ground.head_len(state.spans).div_ceil(GRANULE),
                Way::Place(p) => self.wishes[usize::from(p)].len.div_ceil(GRANULE),
            };
            i = i.checked_sub(usize::try_from(cells).ok()?)?;
            match way {
                Way::Leave => {}
                Way::GoOn | Way::Start => {
                    let end = i + usize::try_from(cells).ok()?;
                    covered.extend(self.cells[i..end].iter().map(|c| c.range));
                }
                Way::Place(p) => {
                    let wish = &self.wishes[usize::from(p)];
                    parts.push((wish.part, wish.at(self.cells[i].range.start())?));
                }
            }
        }
        Some(Joint { spans: covered.into_iter().collect(), parts })
    }
}
