//! The region in pieces, each a span that can be given back by itself.
//!
//! Spans are cut where memory blocks end, with RAM of the next kernel between the pieces:
//!
//! ```text
//! blocks   |            |            |            |            |
//! span    [################################################]
//! narrow  [#############]--[###############################]   the next block begins with the gap
//! wide    [#############]----------[#######################]   and cannot be given back; here all
//!                                  ▲ k × block − 2 MiB         can, but more has to move
//! ```
//!
//! Of the ends of blocks near to where the pieces would be equal that one is taken at which least
//! must move; a block that cannot be given back counts as much waste.

use crate::ground::Ground;
use crate::place::Placed;
use crate::stretch::{stretches, without};
use crate::{GRANULE, PlanError, SPAN_HEAD_BYTES};
use physmem::{PhysRange, RangeSet};

/// Cuts the spans into as many pieces as are asked for, or more.
pub(crate) fn cut(ground: &Ground<'_>, placed: Placed) -> Result<Placed, PlanError> {
    let wanted = ground.request.pieces;
    let spans = ground.limits.nodes.split(&placed.spans);
    if spans.len() >= wanted {
        return Ok(placed);
    }
    let ideal = placed.spans.bytes().div_ceil(wanted as u64).max(GRANULE);
    let count = |span: &PhysRange| span.len().div_ceil(ideal);
    let total = spans.iter().map(count).sum::<u64>();
    if total > ground.limits.spans as u64 {
        let needed = usize::try_from(total).unwrap_or(usize::MAX);
        return Err(PlanError::TooManySpans { needed, max: ground.limits.spans });
    }
    let head = |i| if i == 0 { ground.head_len(0) } else { SPAN_HEAD_BYTES };
    let gaps: RangeSet = spans
        .iter()
        .enumerate()
        .flat_map(|(i, span)| gaps(ground, *span, count(span), head(i)))
        .collect();
    let open = stretches(ground.request, ground.limits.nodes);
    let around = without(&open, &placed.taken().union(&gaps));
    let spans = ground.complete(&around, placed.spans.subtract(&gaps))?.set;
    let most = ground.limits.nodes.count(&spans);
    if most < wanted {
        return Err(PlanError::TooFewPieces { most, wanted });
    }
    Ok(Placed { spans, ..placed })
}

/// Where to cut a span into `count` pieces.
fn gaps(ground: &Ground<'_>, span: PhysRange, count: u64, head: u64) -> Vec<PhysRange> {
    let mut gaps = Vec::new();
    let mut from = span.start() + head;
    for i in 1..count {
        let piece = span.len() / count;
        let about = span.start() + piece * i;
        let best = candidates(ground, about, piece / 2)
            .filter(|gap| gap.start() >= from && gap.end() + 2 * GRANULE <= span.end())
            .filter_map(|gap| Some((price(ground, gap)?, about.abs_diff(gap.start()), gap)))
            .min();
        if let Some((_, _, gap)) = best {
            from = gap.end() + 2 * GRANULE;
            gaps.push(gap);
        }
    }
    gaps
}

/// How many blocks away from where pieces would be equal a cut may be.
const FAR: u64 = 8;

/// Gaps that begin with a memory block, at most `far` bytes and [`FAR`] blocks from `about`.
fn candidates(
    ground: &Ground<'_>,
    about: u64,
    far: u64,
) -> impl Iterator<Item = PhysRange> + use<> {
    let block = ground.request.memory_block;
    let far = far.min(FAR * block);
    let first = about.saturating_sub(far).next_multiple_of(block);
    let starts = (0..=2 * far / block).map(move |i| first + i * block);
    starts.filter(move |&at| at <= about.saturating_add(far)).flat_map(move |at| {
        let wide = (block / 2 <= far).then_some(block.saturating_sub(GRANULE));
        let lengths = [Some(GRANULE), wide.filter(|&len| len > GRANULE)];
        lengths.into_iter().flatten().filter_map(move |len| PhysRange::from_len(at, len).ok())
    })
}

/// What a gap costs in moved bytes, and in bytes that cannot be given back; `None` where there can
/// be none, or no head behind it.
fn price(ground: &Ground<'_>, gap: PhysRange) -> Option<u64> {
    let r = ground.request;
    if r.fixed.overlaps(gap) {
        return None;
    }
    let moved = ground.cost_within(gap) + ground.under_head(gap.end(), SPAN_HEAD_BYTES)?;
    let lost = if gap.len() == GRANULE { r.memory_block } else { 0 };
    Some(moved + lost / r.stay_price)
}
