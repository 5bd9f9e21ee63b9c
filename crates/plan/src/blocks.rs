//! Pieces of whole memory blocks that hold all, with as little moved as can be (`walk.rs`).
//!
//! A price on each block is lowered until the pieces are long enough; then the emptiest blocks at
//! their ends go. What is left is the next kernel's, its image in it.

use crate::ground::Ground;
use crate::nodes::Nodes;
use crate::place::Placed;
use crate::stretch::{Stretch, ground as addresses, stretches, within, without};
use crate::walk::{Block, Terms, best_pieces};
use crate::wish::{fit_all, usable, wishes};
use crate::{GRANULE, HUGE_PRICE, PlanError, SPAN_HEAD_BYTES};
use physmem::{PhysRange, RangeSet};
use std::ops::Range;

/// More blocks than this are not looked at: 32 TiB of the largest.
const MAX_BLOCKS: u64 = 1 << 14;

/// How often the spans may turn out too short for what has to move.
const ATTEMPTS: u32 = 3;

/// The largest number of blocks that are lost where pieces touch.
const LOSSES: usize = 15;

/// Pieces of which each takes at most so much RAM to be copied out, were they full, if they can hold
/// all: with the parts wherever there is room beside them, else with the parts where they are in `whole`.
pub(crate) fn in_blocks(ground: &Ground<'_>, whole: &Placed, room: u64) -> Option<(Nodes, Placed)> {
    let r = ground.request;
    let open = stretches(r, ground.limits.nodes);
    let free = pieces(ground, &open, room).and_then(|(nodes, spans)| {
        let room = usable(r).subtract(&spans);
        let parts = fit_all(&wishes(r), room, r.seed).ok()?;
        Some((nodes, Placed { spans, parts }))
    });
    free.or_else(|| {
        let (nodes, spans) = pieces(ground, &without(&open, &whole.taken()), room)?;
        Some((nodes, Placed { spans, parts: whole.parts.clone() }))
    })
}

/// The pieces, with borders where they touch.
fn pieces(ground: &Ground<'_>, open: &[Stretch], room: u64) -> Option<(Nodes, RangeSet)> {
    let mut line = Line::new(ground, open)?;
    let mut more = 0;
    for _ in 0..ATTEMPTS {
        let needed = |pieces: usize| ground.least(pieces) * GRANULE + more;
        line.limit(room, ground.request.keep.bytes(), needed(1));
        let pieces = line.shortest(&needed)?;
        let set: RangeSet = pieces.iter().filter_map(|piece| line.span(piece)).collect();
        let touching = pieces.windows(2).filter(|pair| pair[0].end == pair[1].start);
        let cuts: Vec<_> = touching.filter_map(|pair| Some(line.span(&pair[1])?.start())).collect();
        let nodes = ground.limits.nodes.with_borders(&cuts);
        if nodes.count(&set) > ground.limits.spans
            || set.bytes() > ground.limits.budget
            || !nodes.overfull(&set, 0).is_empty()
        {
            return None;
        }
        // Nothing else may be added: it would join them.
        let inside: Vec<_> = set.iter().flat_map(|span| within(open, span)).collect();
        match Ground::new(ground.request, &nodes).complete(&inside, set.clone()) {
            Ok(spans) => return Some((nodes, spans.set)),
            Err(PlanError::NoBerth { missing }) => more += missing,
            Err(PlanError::TooLittleRam { needed, .. }) => {
                more += needed.saturating_sub(set.bytes()).max(GRANULE);
            }
            Err(_) => return None,
        }
    }
    None
}

/// Memory as blocks.
struct Line {
    /// Bytes in a block.
    block: u64,
    blocks: Vec<Block>,
    terms: Terms,
}

impl Line {
    fn new(ground: &Ground<'_>, open: &[Stretch]) -> Option<Self> {
        let r = ground.request;
        let block = r.memory_block;
        let open = addresses(open);
        let top = r.map.ram().hull()?.end();
        if block <= GRANULE || top.div_ceil(block) > MAX_BLOCKS {
            return None;
        }
        let blocks: Option<Vec<_>> = (0..top.div_ceil(block))
            .map(|i| {
                let range = PhysRange::from_len(i * block, block).ok()?;
                let whole = open.contains_range(range) && ground.limits.nodes.in_one(range);
                let start = range.start().checked_sub(GRANULE);
                let head = start.and_then(|start| {
                    let granule = PhysRange::from_len(start, GRANULE).ok()?;
                    let one = PhysRange::new(start, range.end()).ok()?;
                    let fits = open.contains_range(granule) && ground.limits.nodes.in_one(one);
                    ground.under_head(start, SPAN_HEAD_BYTES).filter(|_| fits)
                });
                Some(Block {
                    cost: i64::try_from(ground.cost_within(range)).ok()?,
                    // Some RAM has to be above the last span (`Figures::ram_above`).
                    open: whole && range.end() < top,
                    fixed: r.fixed.overlaps(range),
                    head: head.and_then(|cost| i64::try_from(cost).ok()),
                })
            })
            .collect();
        let price = |bytes: u64| i64::try_from(bytes / r.stay_price).unwrap_or(i64::MAX);
        let terms = Terms {
            most: 0,
            lowest: 0,
            losses: 0,
            lost: price(block),
            piece: price(r.span_price).min(i64::MAX >> 24),
            block: 0,
        };
        Some(Self { block, blocks: blocks?, terms })
    }

    fn span(&self, piece: &Range<usize>) -> Option<PhysRange> {
        let [start, end] = [piece.start, piece.end].map(|i| i as u64 * self.block);
        PhysRange::new(start.checked_sub(GRANULE)?, end).ok()
    }

    /// Bytes in pieces: where two touch, the 2 MiB before the upper one are its own.
    fn bytes(&self, pieces: &[Range<usize>]) -> u64 {
        pieces.iter().filter_map(|p| self.span(p)).collect::<RangeSet>().bytes()
    }

    /// Limits pieces to so much room, where blocks are needed for more than what is kept.
    fn limit(&mut self, room: u64, kept: u64, needed: u64) {
        // The 2 MiB before the blocks of each piece do not come back.
        let (room, spare) =
            (room.saturating_sub(GRANULE), needed.next_multiple_of(self.block) - kept);
        let blocks = |bytes: u64| usize::try_from(bytes / self.block).unwrap_or(usize::MAX);
        let (most, lowest) = (blocks(room), blocks(room.saturating_add(spare)));
        self.terms = Terms { most, lowest, losses: LOSSES.min(most), ..self.terms };
    }

    /// The pieces with the fewest blocks that have as many bytes as are needed.
    fn shortest(&self, needed: &dyn Fn(usize) -> u64) -> Option<Vec<Range<usize>>> {
        let enough = |pieces: &Vec<_>| self.bytes(pieces) >= needed(pieces.len());
        let at = |block| best_pieces(&self.blocks, Terms { block, ..self.terms }).filter(enough);
        let block = i64::try_from(self.block).ok()?;
        let mut low = -2 * block;
        let mut pieces = at(low)?;
        let mut high = block * i64::try_from(HUGE_PRICE).ok()? + 1;
        // To some pages: trimming does the rest.
        while high - low > block / 1024 {
            let price = low + (high - low) / 2;
            match at(price) {
                Some(fewer) => (low, pieces) = (price, fewer),
                None => high = price,
            }
        }
        while let Some(fewer) = self.trimmed(&pieces).filter(enough) {
            pieces = fewer;
        }
        Some(pieces)
    }

    /// The pieces without the emptiest block at an end, of equal ones that of the shortest piece.
    fn trimmed(&self, pieces: &[Range<usize>]) -> Option<Vec<Range<usize>>> {
        let ends = pieces.iter().enumerate().flat_map(|(i, piece)| {
            let (first, last) = (piece.start, piece.end - 1);
            let above = pieces.get(i + 1).is_none_or(|next| next.start > piece.end);
            let below = i == 0 || pieces[i - 1].end < first;
            let down = piece.len() > 1 && self.blocks[first + 1].head.is_some();
            let up = above.then_some((last, i, first..last));
            let down = (below && down).then_some((first, i, first + 1..piece.end));
            [up, down].into_iter().flatten()
        });
        let free = ends.filter(|(block, ..)| !self.blocks[*block].fixed);
        let cost = |block: usize, i: usize| (self.blocks[block].cost, pieces[i].len());
        let (_, i, rest) = free.min_by_key(|(block, i, _)| cost(*block, *i))?;
        let mut pieces = pieces.to_vec();
        if rest.is_empty() {
            pieces.remove(i);
        } else {
            pieces[i] = rest;
        }
        Some(pieces)
    }
}
