//! Where each displaced page goes.
//!
//! Long runs first, each into the smallest gap that takes it whole; where none does, the largest
//! gap takes what it can. So runs stay contiguous as long as there is room, and little gaps are
//! filled by little runs. Gaps are kept by length: near-linear in the number of runs and gaps.

use crate::{Layout, PlanError, SPAN_HEAD_BYTES};
use physmem::{PAGE_SIZE, PhysRange, RangeSet};
use std::collections::BTreeMap;

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

/// Destinations for all displaced pages, ascending by source. No destination is kept, staged,
/// to be avoided, in a head or in the mover segment, so that moves may be done in any order.
///
/// # Errors
///
/// [`PlanError::NoDestination`] where more is staged in spans than the request made room for.
pub fn assign(
    layout: &Layout,
    keep: &RangeSet,
    staged: &RangeSet,
) -> Result<Vec<MoveRun>, PlanError> {
    if layout.displaced.is_empty() {
        return Ok(Vec::new());
    }
    let free = layout.destinations(keep).subtract(&staged.align_outward(PAGE_SIZE));
    let mut gaps = Lengths::from_set(&free);
    let mut runs = Lengths::from_set(&layout.displaced);
    let mut moves = Vec::with_capacity(layout.displaced.count());
    while let Some((from, len)) = runs.pop_longest() {
        let Some((to, room)) = gaps.pop_best(len) else {
            let missing = len + runs.bytes();
            return Err(PlanError::NoDestination { missing });
        };
        let part = len.min(room);
        moves.push(MoveRun { from, to, len: part });
        runs.put(from + part, len - part);
        gaps.put(to + part, room - part);
    }
    moves.sort_unstable();
    moves.dedup_by(|next, last| {
        let joins = last.from + last.len == next.from && last.to + last.len == next.to;
        if joins {
            last.len += next.len;
        }
        joins
    });
    Ok(moves)
}

impl Layout {
    /// The pages that moves may write, if nothing is staged there.
    pub fn destinations(&self, keep: &RangeSet) -> RangeSet {
        let later = self.spans.iter().skip(1);
        let heads = later.filter_map(|s| PhysRange::from_len(s.start(), SPAN_HEAD_BYTES).ok());
        let spans: RangeSet = self.spans.iter().copied().collect();
        let taken: RangeSet = heads.chain([self.head, self.mover]).collect();
        spans.subtract(&taken).subtract(&self.avoid).subtract(keep)
    }
}

/// Pieces of memory by length. There are far fewer lengths than pieces.
#[derive(Debug, Default)]
struct Lengths(BTreeMap<u64, Vec<u64>>);

impl Lengths {
    fn from_set(set: &RangeSet) -> Self {
        let mut all = Self::default();
        // The lowest addresses end up on top.
        set.iter().rev().for_each(|r| all.put(r.start(), r.len()));
        all
    }

    fn put(&mut self, start: u64, len: u64) {
        if len > 0 {
            self.0.entry(len).or_default().push(start);
        }
    }

    fn pop(&mut self, len: u64) -> Option<(u64, u64)> {
        let starts = self.0.get_mut(&len)?;
        let start = starts.pop();
        if starts.is_empty() {
            self.0.remove(&len);
        }
        start.map(|start| (start, len))
    }

    fn pop_longest(&mut self) -> Option<(u64, u64)> {
        let len = *self.0.last_key_value()?.0;
        self.pop(len)
    }

    /// The shortest piece that holds `len`, else the longest.
    fn pop_best(&mut self, len: u64) -> Option<(u64, u64)> {
        match self.0.range(len..).next() {
            Some((&fits, _)) => self.pop(fits),
            None => self.pop_longest(),
        }
    }

    fn bytes(&self) -> u64 {
        self.0.iter().map(|(len, starts)| starts.iter().map(|_| len).sum::<u64>()).sum()
    }
}
