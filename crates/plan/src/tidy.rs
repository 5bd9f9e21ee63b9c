//! Span ends at memory block borders, where that costs little.
//!
//! Only whole memory blocks behind a span's first 2 MiB can be handed back to System RAM. So a
//! span best starts 2 MiB before a block and ends with one:
//!
//! ```text
//! blocks   |            |            |            |
//! span          [#########################]          one block can be handed back
//! tidy    [#######################################]  three
//!         ▲ k × block − 2 MiB
//! ```
//!
//! What is added is not the next kernel's until the region is released, and what cannot be handed
//! back is not even then. Both are equally bad: a span grows where it has more than half of a block.

use crate::GRANULE;
use crate::ground::Ground;
use physmem::{PhysRange, RangeSet};

/// The part of the spare RAM that may be added for the sake of borders: RAM that the next kernel
/// need not have, but can use.
const SPARE_PART: u64 = 4;

/// Grows spans to block borders within `room`, where more comes back by that than goes in.
pub(crate) fn tidy(ground: &Ground<'_>, spans: &RangeSet, room: &RangeSet) -> RangeSet {
    let mut spans = spans.clone();
    let block = ground.request.memory_block;
    // The top of RAM is worth more than a border.
    let mut left = ground.limits.budget.saturating_sub(spans.bytes()) / SPARE_PART;
    let top = room.hull().map_or(0, PhysRange::end).saturating_sub(GRANULE);
    let nodes = ground.limits.nodes;
    for i in 0..nodes.count(&spans) {
        let Some(&span) = nodes.split(&spans).get(i) else { break };
        let rest = spans.subtract(&RangeSet::from(span));
        let start = ((span.start() + GRANULE) & !(block - 1)).checked_sub(GRANULE);
        let end = span.end().next_multiple_of(block);
        let starts = [Some(span.start()), start.filter(|&s| s >= GRANULE)];
        let ends = [Some(span.end()), Some(end).filter(|&e| e <= top)];
        let better = starts
            .into_iter()
            .flatten()
            .flat_map(|s| ends.into_iter().flatten().map(move |e| (s, e)))
            .filter_map(|(s, e)| PhysRange::new(s, e).ok())
            .filter(|new| {
                let added = RangeSet::from(*new).subtract(&RangeSet::from(span));
                let apart = PhysRange::new(new.start() - GRANULE, new.end() + GRANULE);
                let head = ground.head_len(i);
                added.iter().all(|a| room.contains_range(a))
                    && added.bytes() <= left.min(nodes.room(&spans, span))
                    && nodes.in_one(*new)
                    && apart.is_ok_and(|a| !rest.overlaps(a))
                    && ground.under_head(new.start(), head).is_some_and(|under| {
                        ground.under_head(span.start(), head).is_some_and(|was| under <= was)
                    })
            })
            .min_by_key(|new| (2 * new.len() - returnable(*new, block), new.len()));
        if let Some(new) = better {
            left -= (new.len() - span.len()).min(left);
            spans = rest.union(&RangeSet::from(new));
        }
    }
    spans
}

/// What can be handed back of each span. Where there is no table of nodes the kernel knows one only
/// for what lies below the end of RAM ([`Figures::ram_above`](crate::Figures::ram_above)).
pub(crate) fn returned(ground: &Ground<'_>, set: &RangeSet) -> Vec<u64> {
    let r = ground.request;
    let top = r.map.ram().subtract(set).hull().map_or(0, PhysRange::end);
    let known = |span: &PhysRange| !r.nodes.is_empty() || span.end() < top;
    let back = |span| if known(&span) { returnable(span, r.memory_block) } else { 0 };
    ground.limits.nodes.split(set).into_iter().map(back).collect()
}

/// Whole memory blocks behind the first 2 MiB, which the device-dax info block takes
/// (`drivers/nvdimm/pfn_devs.c`: data begins at ALIGN(start + 8 KiB, 2 MiB)).
pub(crate) fn returnable(span: PhysRange, block: u64) -> u64 {
    PhysRange::new(span.start() + GRANULE, span.end())
        .ok()
        .and_then(|data| data.align_inward(block))
        .map_or(0, PhysRange::len)
}
