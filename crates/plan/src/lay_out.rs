//! The plan, step by step.

use crate::ground::Ground;
use crate::layout::{Figures, Layout, first_blocks};
use crate::nodes::Nodes;
use crate::pieces::{copy_room, cut};
use crate::place::{Placed, place, place_mover};
use crate::stretch::{below_4g, stretches};
use crate::tidy::returned;
use crate::{MoveRun, Node, Part, PlanError, Request};
use physmem::{PAGE_SIZE, PhysRange, RangeSet};

/// Decides where everything goes.
///
/// # Errors
///
/// [`PlanError`] says what does not fit, and how much is missing.
pub fn lay_out(request: &Request<'_>) -> Result<Layout, PlanError> {
    request.check()?;
    // What is only to be so where it can is first tried as if it had to be.
    let mut fixed = request.fixed.clone();
    fixed.extend(request.giant.iter());
    let shareless: Vec<_> =
        request.nodes.iter().map(|node| Node { reserve_ram: 0, ..node.clone() }).collect();
    let mut outcome = plan(&Request { fixed: &fixed, ..*request });
    if outcome.is_err() && !request.giant.is_empty() {
        outcome = plan(request);
    }
    if outcome.is_err() && !shareless.is_empty() {
        outcome = plan(&Request { fixed: &fixed, nodes: &shareless, ..*request });
    }
    if outcome.is_err() && !request.giant.is_empty() && !shareless.is_empty() {
        outcome = plan(&Request { nodes: &shareless, ..*request });
    }
    outcome
}

fn plan(request: &Request<'_>) -> Result<Layout, PlanError> {
    let nodes = Nodes::new(request);
    let whole = place(&Ground::new(request, &nodes))?;
    let (nodes, placed) = cut(request, nodes, whole)?;
    let ground = Ground::new(request, &nodes);
    let stretches = stretches(request, &nodes);
    let no_berth = |missing| PlanError::NoBerth { missing };
    let berths = ground.berths(&stretches, &placed.spans, &placed.taken()).map_err(no_berth)?;
    let places = berths.iter().filter_map(|m| PhysRange::from_len(m.to, m.len).ok()).collect();
    let mover = place_mover(&ground, &placed, &places)?;
    finish(&ground, &placed, mover, berths)
}

fn finish(
    ground: &Ground<'_>,
    placed: &Placed,
    mover: PhysRange,
    berths: Vec<MoveRun>,
) -> Result<Layout, PlanError> {
    let r = ground.request;
    let set = &placed.spans;
    let spans = ground.limits.nodes.split(set);
    let heads = ground.heads(set);
    let part = |part| {
        let none = PlanError::NoPlace { part, len: 0, below: 0, largest: 0 };
        placed.part(part).ok_or(none)
    };
    let first = spans.first().ok_or_else(|| ground.no_head(set))?;
    let head =
        PhysRange::from_len(first.start(), ground.head_len(0)).map_err(|_| ground.no_head(set))?;
    let stays = ground.stays(set);
    let leaving = stays.complement();
    let stuck: RangeSet = leaving.iter().flat_map(|range| r.fixed.within(range)).collect();
    if !stuck.is_empty() {
        return Err(PlanError::FixedMustMove { ranges: stuck });
    }
    let ram = r.map.ram().subtract(set);
    let in_spans: u64 = set.bytes();
    let figures = Figures {
        kept: r.keep.bytes(),
        displaced: leaving.iter().map(|range| r.keep.bytes_within(range)).sum(),
        waste: in_spans - heads.bytes() - r.keep.bytes(),
        ram: ram.bytes(),
        low_ram: below_4g(&ram).bytes(),
        ram_above: spans.last().map_or(0, |last| {
            ram.iter().map(|r| r.end().saturating_sub(r.start().max(last.end()))).sum()
        }),
        returnable: returned(ground, set).iter().sum(),
        copy_room: copy_room(ground, set),
    };
    let layout = Layout {
        head,
        window: part(Part::Window)?,
        initrd: placed.part(Part::Initrd),
        boot_block: part(Part::BootBlock)?,
        mover,
        low_ram: placed.part(Part::LowRam),
        stays,
        berths,
        figures,
        first_blocks: first_blocks(&spans),
        avoid: r.avoid.align_outward(PAGE_SIZE),
        spans,
    };
    let needed = layout.next_map(r.map).entries().len();
    if needed > r.max_entries {
        return Err(PlanError::TooManyEntries { needed, max: r.max_entries });
    }
    Ok(layout)
}
