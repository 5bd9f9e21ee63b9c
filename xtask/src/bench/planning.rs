//! Planning for a host of 1 TiB whose kept pages lie as badly as can be.

use anyhow::{Result, ensure};
use physmem::RangeSet;
use plan::synthetic::{Lie, host, kept, request};
use plan::{assign, lay_out};

use super::figure::Figure;
use super::once::{peak_mib, timed};

const RAM: u64 = 1 << 40;

const RANGES: u64 = 10_000_000;

pub(super) fn measure() -> Result<Vec<Figure>> {
    let map = host(RAM);
    // Lengths and gaps are random: ask for more ranges, to get at least as many as promised.
    let (keep, none) = (kept(&map, Lie::Scattered(RANGES / 10 * 13)), RangeSet::new());
    let ranges = keep.count() as u64;
    ensure!(ranges >= RANGES, "{ranges} ranges are fewer than {RANGES}");

    let (layout, laid_out) = timed(|| lay_out(&request(&map, &keep, &none)));
    let layout = layout?;
    let (moves, assigned) = timed(|| assign(&layout, &keep, &none));
    let moves = moves?;

    let what = format!("{ranges} ranges over 1 TiB, {} moves", moves.len());
    let peak = "most memory of the process, with the ranges themselves";
    Ok(vec![
        Figure::new("plan.seconds", laid_out + assigned, "s", what),
        Figure::new("plan.lay-out", laid_out, "s", "of it spans and the next kernel's place"),
        Figure::new("plan.assign", assigned, "s", "of it a new place for each page that moves"),
        Figure::new("plan.peak", peak_mib()?, "MiB", peak),
    ])
}
