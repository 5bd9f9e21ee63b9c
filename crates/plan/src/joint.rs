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
//! State: spans so far, their length, parts placed, inside of a span or not. Where there are too
//! many states the length is left out, and the outcome is good if it happens to be short enough.

use crate::ground::Ground;
use crate::runs::PAGE_GAIN;
use crate::stretch::Stretch;
use crate::wish::Wish;
use crate::{GRANULE, Part};
use physmem::{PAGE_SIZE, PhysRange, RangeSet};

/// The most states that are looked at: 9 bytes each.
const MAX_STATES: usize = 1 << 18;

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
    /// Whether the granule below is the one before it in the line.
    joined: bool,
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
    placed: usize,
    inside: bool,
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
    /// The greatest length that states tell apart; 0 where they do not.
    lengths: usize,
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
    let n = usize::try_from(granules).ok()?;
    let budget = usize::try_from(ground.limits.budget / GRANULE).ok()?.min(n);
    let per_length = (n + 1)
        .checked_mul(ground.limits.spans + 1)?
        .checked_mul(2 << wishes.len())
        .filter(|&states| states <= MAX_STATES)?;
    let lengths = if per_length * (budget + 1) <= MAX_STATES { budget } else { 0 };
    let cells = cells(stretches);
    let fits = wishes.iter().map(|w| cells.iter().map(|c| fits(c, w, room)).collect()).collect();
    let granule_cost = ground.limits.granule_price().unsigned_abs();
    let span_cost = ground.limits.run_price().unsigned_abs();
    Walk { ground, cells, wishes, fits, lengths, granule_cost, span_cost }.best()
}

fn cells(stretches: &[Stretch]) -> Vec<Cell> {
    let mut cells: Vec<Cell> = Vec::new();
    for s in stretches {
        for i in 0..s.granules() {
            let Ok(range) = PhysRange::from_len(s.range.start() + i * GRANULE, GRANULE) else {
                continue;
            };
            let next = cells.last().is_some_and(|c| c.range.end() == range.start());
            let joined = next && !(s.apart && i == 0);
            cells.push(Cell { range, cost: s.cost, fixed: s.fixed, joined });
        }
    }
    cells
}

fn fits(cell: &Cell, wish: &Wish, room: &RangeSet) -> bool {
    wish.at(cell.range.start()).is_some_and(|place| room.contains_range(place))
}

impl Walk<'_> {
    fn best(&self) -> Option<Joint> {
        let width = self.state_count();
        let n = self.cells.len();
        let mut cost = vec![UNREACHED; (n + 1) * width];
        let mut from = vec![0u8; (n + 1) * width];
        cost[0] = 0;
        for i in 0..n {
            for index in 0..width {
                let so_far = cost[i * width + index];
                if so_far == UNREACHED {
                    continue;
                }
                let state = self.state(index);
                for way in self.ways() {
                    let Some((step, next)) = self.step(i, state, way) else { continue };
                    let at = (i + step.cells) * width + self.index(next);
                    if so_far + step.cost < cost[at] {
                        cost[at] = so_far + step.cost;
                        from[at] = encode(way, state.inside);
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
        let s = self.state(index);
        let whole = s.spans > 0 && s.placed + 1 == 1 << self.wishes.len();
        let spans = s.spans as u64 * self.span_cost + s.len as u64 * self.granule_cost;
        let moves = cost.saturating_sub(spans) >= PAGE_COST;
        whole && (self.lengths == 0 || !moves || s.len as u64 >= self.ground.least(s.spans))
    }

    fn ways(&self) -> impl Iterator<Item = Way> + use<> {
        let parts = u8::try_from(self.wishes.len()).unwrap_or(0);
        [Way::Leave, Way::GoOn, Way::Start].into_iter().chain((0..parts).map(Way::Place))
    }

    /// The way from this state at cell `i`, if there is one.
    fn step(&self, i: usize, s: State, way: Way) -> Option<(Step, State)> {
        let cell = &self.cells[i];
        let touches = s.inside && cell.joined;
        match way {
            Way::Leave if !cell.fixed => {
                let step = Step { cells: 1, cost: cell.cost * PAGE_COST };
                Some((step, State { inside: false, ..s }))
            }
            Way::GoOn if touches => {
                let next = State { len: self.longer(s.len, 1)?, ..s };
                Some((Step { cells: 1, cost: self.granule_cost }, next))
            }
            Way::Start if !touches && s.spans < self.ground.limits.spans => {
                let head = self.ground.head_len(s.spans);
                let cells = usize::try_from(head.div_ceil(GRANULE)).ok()?;
                self.run(i, cells)?;
                let under = self.ground.under_head(cell.range.start(), head)? / PAGE_SIZE;
                let len = self.longer(s.len, cells)?;
                let length = cells as u64 * self.granule_cost + self.span_cost;
                let step = Step { cells, cost: under * PAGE_COST + length };
                Some((step, State { spans: s.spans + 1, len, inside: true, ..s }))
            }
            Way::Place(p) if s.placed >> p & 1 == 0 && self.fits[usize::from(p)][i] => {
                let cells = usize::try_from(self.wishes[usize::from(p)].len.div_ceil(GRANULE));
                let run = self.run(i, cells.ok()?)?;
                let cost = run.iter().map(|c| c.cost).sum::<u64>();
                let step = Step { cells: run.len(), cost: cost * PAGE_COST };
                Some((step, State { placed: s.placed | 1 << p, inside: false, ..s }))
            }
            _ => None,
        }
    }

    /// The `count` cells from `i` on, if they lie next to each other.
    fn run(&self, i: usize, count: usize) -> Option<&[Cell]> {
        let run = self.cells.get(i..i.checked_add(count)?)?;
        run.iter().skip(1).all(|c| c.joined).then_some(run)
    }

    fn longer(&self, len: usize, by: usize) -> Option<usize> {
        if self.lengths == 0 { Some(0) } else { Some(len + by).filter(|&l| l <= self.lengths) }
    }

    fn state_count(&self) -> usize {
        ((self.ground.limits.spans + 1) * (self.lengths + 1)) << self.wishes.len() << 1
    }

    fn index(&self, s: State) -> usize {
        let lengths = s.spans * (self.lengths + 1) + s.len;
        (((lengths << self.wishes.len()) | s.placed) << 1) | usize::from(s.inside)
    }

    fn state(&self, index: usize) -> State {
        let lengths = index >> 1 >> self.wishes.len();
        State {
            spans: lengths / (self.lengths + 1),
            len: lengths % (self.lengths + 1),
            placed: (index >> 1) & ((1 << self.wishes.len()) - 1),
            inside: index & 1 == 1,
        }
    }

    /// Follows the walk that ends in state `index` back to its start.
    fn trace(&self, from: &[u8], index: usize) -> Option<Joint> {
        let width = self.state_count();
        let (mut i, mut s) = (self.cells.len(), self.state(index));
        let (mut covered, mut parts) = (Vec::new(), Vec::new());
        while i > 0 {
            let (way, inside) = decode(from[i * width + self.index(s)]);
            let head = self.ground.head_len(s.spans.saturating_sub(1)).div_ceil(GRANULE);
            let cells = match way {
                Way::Leave | Way::GoOn => 1,
                Way::Start => usize::try_from(head).ok()?,
                Way::Place(p) => {
                    usize::try_from(self.wishes[usize::from(p)].len.div_ceil(GRANULE)).ok()?
                }
            };
            i = i.checked_sub(cells)?;
            match way {
                Way::Leave => {}
                Way::GoOn | Way::Start => {
                    covered.extend(self.cells[i..i + cells].iter().map(|c| c.range));
                    s.len = s.len.saturating_sub(cells);
                    s.spans -= usize::from(way == Way::Start);
                }
                Way::Place(p) => {
                    let wish = &self.wishes[usize::from(p)];
                    parts.push((wish.part, wish.at(self.cells[i].range.start())?));
                    s.placed &= !(1 << p);
                }
            }
            s.inside = inside;
        }
        Some(Joint { spans: covered.into_iter().collect(), parts })
    }
}

fn encode(way: Way, inside: bool) -> u8 {
    let way = match way {
        Way::Leave => 0,
        Way::GoOn => 1,
        Way::Start => 2,
        Way::Place(p) => 3 + p,
    };
    way << 1 | u8::from(inside)
}

fn decode(code: u8) -> (Way, bool) {
    let way = match code >> 1 {
        0 => Way::Leave,
        1 => Way::GoOn,
        2 => Way::Start,
        p => Way::Place(p - 3),
    };
    (way, code & 1 == 1)
}
