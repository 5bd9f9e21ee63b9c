//! The region in pieces: spans that can be copied out and given back one after the other.
//!
//! Only whole memory blocks come back, and device-dax takes the 2 MiB before them. There are two
//! ways to cut a span:
//!
//! ```text
//! blocks     |          |          |          |          |          |
//! touching  [##############################][#####################]   a block is lost at each cut,
//!                                           ▲ k × block − 2 MiB        and 8 KiB move for the head
//! apart     [#####################]        [######################]   all comes back, but what was
//!                                  ╰ RAM ─╯                            kept between them moves
//! ```
//!
//! Touching pieces are tried first, as they cost next to nothing. Where blocks are large beside the
//! region too much is lost, and some pieces lie apart (`blocks.rs`): what is between them is RAM that
//! the next kernel has from the start.

use crate::blocks::in_blocks;
use crate::ground::Ground;
use crate::nodes::Nodes;
use crate::place::Placed;
use crate::stretch::{stretches, without};
use crate::tidy::{returnable, returned};
use crate::{GRANULE, Pieces, PlanError, Request, SPAN_HEAD_BYTES};
use physmem::{PhysRange, RangeSet};

/// Cuts the spans as they are to come back, if they are to. Cuts are borders among the nodes'.
pub(crate) fn cut(
    request: &Request<'_>,
    nodes: Nodes,
    whole: Placed,
) -> Result<(Nodes, Placed), PlanError> {
    let ground = Ground::new(request, &nodes);
    let wanted = |spans: &RangeSet| match request.pieces {
        Pieces::Any => u64::MAX,
        Pieces::ToFit { needs } => {
            let left = request.map.ram().bytes().saturating_sub(spans.bytes());
            left.saturating_sub(needs)
        }
        Pieces::Parts(parts) => request.keep.bytes() / parts,
    };
    let room = wanted(&whole.spans);
    let mut least = copy_room(&ground, &whole.spans);
    if least <= room {
        return Ok((nodes, whole));
    }
    let mut fits = |ground: &Ground<'_>, spans: &RangeSet| {
        let needed = copy_room(ground, spans);
        least = least.min(needed);
        needed <= wanted(spans)
    };
    for parts in few_parts(&ground, room) {
        let Some((nodes, placed)) = touching(&ground, &nodes, &whole, parts) else { continue };
        if fits(&Ground::new(request, &nodes), &placed.spans) {
            return Ok((nodes, placed));
        }
    }
    // Sparse pieces may be longer than what is copied out of them.
    let block = request.memory_block;
    for most in [room.saturating_mul(2), room + block, room, room.saturating_sub(block)] {
        let Some((nodes, placed)) = in_blocks(&ground, &whole, most) else { continue };
        if fits(&Ground::new(request, &nodes), &placed.spans) {
            return Ok((nodes, placed));
        }
    }
    match request.pieces {
        Pieces::Parts(_) => Err(PlanError::NoPieces { least, room, block: request.memory_block }),
        _ => Ok((nodes, whole)),
    }
}

/// RAM that it takes at most, besides the spans, to copy all out of them one after the other, the
/// last first, and to give each back when it is copied. Where moved pages go is not known yet: to
/// the last spans, if they have room.
pub(crate) fn copy_room(ground: &Ground<'_>, set: &RangeSet) -> u64 {
    let r = ground.request;
    let (stays, moved, returned) =
        (ground.stays(set), ground.displaced(set), returned(ground, set));
    let (mut room, mut back, mut fits, mut stay) = (0u64, 0u64, 0, 0);
    for (i, span) in ground.limits.nodes.split(set).into_iter().enumerate().rev() {
        fits += span.len().saturating_sub(ground.head_len(i));
        stay += stays.within(span).map(|part| r.keep.bytes_within(part)).sum::<u64>();
        room = room.max(fits.min(stay + moved).saturating_sub(back));
        back += returned[i];
    }
    room
}

/// Numbers of touching pieces that could do, the fewest first: from what is kept alone up to three
/// times as many, as blocks are lost at cuts.
fn few_parts(ground: &Ground<'_>, room: u64) -> impl Iterator<Item = u64> + use<> {
    let least = ground.request.keep.bytes().div_ceil(room.max(1)).max(2);
    let most = ground.limits.spans as u64;
    [4, 5, 6, 8, 12]
        .into_iter()
        .map(move |quarters| least * quarters / 4)
        .filter(move |&n| n <= most)
}

/// The spans cut so that no piece has more than one part in `parts` of what is kept, where that can
/// be; `None` where it makes too many or does not hold all.
fn touching(
    ground: &Ground<'_>,
    nodes: &Nodes,
    whole: &Placed,
    parts: u64,
) -> Option<(Nodes, Placed)> {
    let most = ground.request.keep.bytes().div_ceil(parts);
    let spans = nodes.split(&whole.spans).into_iter().enumerate();
    let cuts: Vec<_> = spans
        .flat_map(|(i, span)| {
            let head = if i == 0 { ground.head_len(0) } else { SPAN_HEAD_BYTES };
            cuts(ground, span, head, most)
        })
        .collect();
    let nodes = nodes.with_borders(&cuts);
    if cuts.is_empty() || nodes.count(&whole.spans) > ground.limits.spans {
        return None;
    }
    let ground = Ground::new(ground.request, &nodes);
    let around = without(&stretches(ground.request, &nodes), &whole.taken());
    let spans = ground.complete(&around, whole.spans.clone()).ok()?.set;
    Some((nodes, Placed { spans, parts: whole.parts.clone() }))
}

/// Where to cut a span: before a piece has more than `most`, of the places in its second half the
/// one where a head costs least.
fn cuts(ground: &Ground<'_>, span: PhysRange, head: u64, most: u64) -> Vec<u64> {
    let (block, keep) = (ground.request.memory_block, ground.request.keep);
    let mut cuts = Vec::new();
    let mut start = span.start();
    let mut kept = 0;
    let mut best: Option<(u64, u64)> = None;
    let mut below = span.start();
    let mut at = (span.start() + 2 * GRANULE).next_multiple_of(block) - GRANULE;
    while below < span.end() {
        let next = at.min(span.end());
        kept += PhysRange::new(below, next).map_or(0, |part| keep.bytes_within(part));
        if let Some((_, cut)) = best.filter(|_| kept > most) {
            cuts.push(cut);
            (start, best) = (cut, None);
            kept = PhysRange::new(cut, next).map_or(0, |part| keep.bytes_within(part));
        }
        let piece = PhysRange::new(start, next).ok();
        let whole = piece.is_some_and(|p| returnable(p, block) > 0 && p.len() > head);
        if whole && next < span.end() && kept >= most / 2 {
            let cost = ground.under_head(next, SPAN_HEAD_BYTES);
            best = cost.filter(|c| best.is_none_or(|b| *c <= b.0)).map(|c| (c, next)).or(best);
        }
        (below, at) = (next, at.saturating_add(block));
    }
    cuts
}
