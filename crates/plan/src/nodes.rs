//! NUMA nodes: borders that no span crosses, and RAM that stays on each. Where a region is cut there
//! are borders as well.
//!
//! Sets of ranges know no borders. So sets of spans are cut at them wherever single spans matter:
//!
//! ```text
//! nodes   0 0 0 0 0 0|1 1 1 1 1 1
//! set       [#############]
//! spans     [########][####]        two that touch
//! ```

use crate::{GRANULE, Request};
use physmem::{PhysRange, RangeSet};

/// What the nodes of a request mean for its spans.
#[derive(Debug)]
pub(crate) struct Nodes {
    /// Each node's RAM, and how many bytes of it spans may take.
    shares: Vec<(RangeSet, u64)>,
    /// First addresses of what belongs to another node, or piece, than what lies below.
    borders: Vec<u64>,
}

impl Nodes {
    pub(crate) fn new(request: &Request<'_>) -> Self {
        let ram = request.map.ram();
        let fixed = request.fixed.align_outward(GRANULE);
        let share = |node: &crate::Node| {
            let own = node.memory.intersect(&ram);
            // In-place granules are in spans in any case, with heads before them.
            let fixed = own.intersect(&fixed);
            let heads = fixed.count().min(request.max_spans) as u64 * GRANULE;
            let head = if fixed.is_empty() { 0 } else { request.head_bytes };
            let least = fixed.bytes() + heads + head.next_multiple_of(GRANULE);
            let budget = own.bytes().saturating_sub(node.reserve_ram).max(least);
            (own, budget)
        };
        let ends = request.nodes.iter().flat_map(|node| node.memory.iter());
        let mut borders: Vec<_> = ends.flat_map(|range| [range.start(), range.end()]).collect();
        borders.sort_unstable();
        borders.dedup();
        Self { shares: request.nodes.iter().map(share).collect(), borders }
    }

    /// The same nodes, with more borders.
    pub(crate) fn with_borders(&self, more: &[u64]) -> Self {
        let mut borders = [&self.borders, more].concat();
        borders.sort_unstable();
        borders.dedup();
        Self { shares: self.shares.clone(), borders }
    }

    /// Whether a span of `set` that ends or begins at `addr` could go on there.
    pub(crate) fn goes_on(&self, set: &RangeSet, addr: u64) -> bool {
        let touches = set.contains(addr) || addr > 0 && set.contains(addr - 1);
        touches && self.borders.binary_search(&addr).is_err()
    }

    /// Whether all of `range` is on one node.
    pub(crate) fn in_one(&self, range: PhysRange) -> bool {
        self.inside(range).is_empty()
    }

    /// The borders inside of `range`.
    fn inside(&self, range: PhysRange) -> &[u64] {
        let first = self.borders.partition_point(|&b| b <= range.start());
        let last = self.borders.partition_point(|&b| b < range.end());
        &self.borders[first..last.max(first)]
    }

    /// The ranges of `set`, cut at borders.
    pub(crate) fn split(&self, set: &RangeSet) -> Vec<PhysRange> {
        let mut all = Vec::with_capacity(set.count());
        for range in set.iter() {
            let mut from = range.start();
            for &to in self.inside(range).iter().chain([&range.end()]) {
                all.extend(PhysRange::new(from, to));
                from = to;
            }
        }
        all
    }

    /// How many spans `set` is.
    pub(crate) fn count(&self, set: &RangeSet) -> usize {
        set.iter().map(|range| 1 + self.inside(range).len()).sum()
    }

    /// How many bytes more spans may take where `range` is, which is on one node.
    pub(crate) fn room(&self, set: &RangeSet, range: PhysRange) -> u64 {
        let own = self.shares.iter().find(|(memory, _)| memory.overlaps(range));
        own.map_or(u64::MAX, |(memory, budget)| {
            budget.saturating_sub(set.intersect(memory).bytes())
        })
    }

    /// Which node `range` is on, and how many bytes spans may take of it.
    pub(crate) fn share(&self, range: PhysRange) -> (usize, u64) {
        let own = self.shares.iter().position(|(memory, _)| memory.overlaps(range));
        own.map_or((self.shares.len(), u64::MAX), |i| (i, self.shares[i].1))
    }

    /// The nodes of which `set` leaves less than `headroom` of what it may take, each with that.
    pub(crate) fn overfull(&self, set: &RangeSet, headroom: u64) -> Vec<(&RangeSet, u64)> {
        let shares = self.shares.iter().map(|(own, most)| (own, most.saturating_sub(headroom)));
        shares.filter(|(own, most)| set.intersect(own).bytes() > *most).collect()
    }
}
