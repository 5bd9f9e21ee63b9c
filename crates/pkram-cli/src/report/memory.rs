//! The picture of memory: before and now side by side, low addresses at the top.
//!
//! ```text
//!            before                now
//!  00100000 ┌────────┐          ┌────────┐
//!           │ RAM  ▒▒│╲         │ RAM    │      ▒ leaves    ░ arrives    █ stays
//!  10000000 ├────────┤ ╲        ├────────┤
//!           │████████│──╲──────►│██████░ │
//!           └────────┘          └────────┘
//! ```
//!
//! Both columns have one axis, cut where a piece begins or ends. A piece's height grows with the
//! logarithm of its size, so that megabytes are seen beside terabytes.

use super::svg::{Anchor, Rect, Svg};
use super::words;
use config::size::show;
use pkram::picture::{Kind, Picture, Strip};

const WIDTH: f64 = 360.0;
const COLUMN: f64 = 108.0;
const BEFORE: f64 = 70.0;
const AFTER: f64 = WIDTH - COLUMN - 1.0;
const TOP: f64 = 24.0;
/// Between pieces that do not touch.
const HOLE: f64 = 11.0;
/// The picture is to be no taller, if that can be.
const TALLEST: f64 = 900.0;
/// A label needs so much.
const LABEL: f64 = 12.0;

/// Where each address lies in the picture.
struct Axis {
    /// Ascending: an address at which something begins or ends, and its height.
    cuts: Vec<(u64, f64)>,
}

impl Axis {
    fn of(pictures: &[&Picture]) -> Self {
        let strips = || pictures.iter().flat_map(|p| &p.strips);
        let mut addresses: Vec<u64> = strips().flat_map(|s| [s.start, s.end()]).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let is_piece = |pair: &[u64]| strips().any(|s| s.start <= pair[0] && pair[1] <= s.end());
        let mut heights: Vec<_> = addresses
            .windows(2)
            .map(|pair| if is_piece(pair) { height(pair[1] - pair[0]) } else { HOLE })
            .collect();
        shrink(&mut heights);
        let mut y = TOP;
        let mut cuts: Vec<_> = addresses.first().map(|first| (*first, y)).into_iter().collect();
        for (address, height) in addresses.iter().skip(1).zip(heights) {
            y += height;
            cuts.push((*address, y));
        }
        Self { cuts }
    }

    fn at(&self, address: u64) -> f64 {
        let index = self.cuts.partition_point(|cut| cut.0 < address);
        self.cuts.get(index).map_or(TOP, |cut| cut.1)
    }

    /// Top and height of a strip.
    fn place(&self, strip: &Strip) -> (f64, f64) {
        let top = self.at(strip.start);
        (top, self.at(strip.end()) - top)
    }

    fn bottom(&self) -> f64 {
        self.cuts.last().map_or(TOP, |cut| cut.1)
    }
}

/// 5 more for each doubling above 1 MiB.
fn height(bytes: u64) -> f64 {
    (5.0 + 5.0 * f64::from((bytes >> 20).max(1).ilog2())).clamp(LABEL, 80.0)
}

/// Of many pieces each has less room, down to where it can just be seen.
fn shrink(heights: &mut [f64]) {
    for least in [LABEL, 4.0] {
        let spare: f64 = heights.iter().map(|h| (h - least).max(0.0)).sum();
        let excess = heights.iter().sum::<f64>() - TALLEST;
        if excess > 0.0 && spare > 0.0 {
            let keep = 1.0 - (excess / spare).min(1.0);
            for height in heights.iter_mut().filter(|h| **h > least) {
                *height = least + (*height - least) * keep;
            }
        }
    }
}

/// Draws both pictures, or the one that is known.
pub(super) fn draw(before: Option<&Picture>, now: &Picture) -> String {
    let pictures: Vec<_> = before.into_iter().chain([now]).collect();
    let axis = Axis::of(&pictures);
    let mut svg = Svg::default();
    if let Some(before) = before {
        svg.text("column", BEFORE + COLUMN / 2.0, 12.0, Anchor::Middle, "before");
        stays(&mut svg, &axis, before, now);
        column(&mut svg, &axis, before, BEFORE);
        flows(&mut svg, &axis, before);
    }
    svg.text("column", AFTER + COLUMN / 2.0, 12.0, Anchor::Middle, "now");
    column(&mut svg, &axis, now, AFTER);
    addresses(&mut svg, &axis);
    let desc = "Physical memory from low addresses at the top to high ones at the bottom, before the \
                kexec on the left, now on the right; heights grow with the logarithm of the size. The \
                tables below say the same in words.";
    svg.finish("memory", WIDTH, axis.bottom() + 8.0, "How physical memory lies", desc)
}

fn column(svg: &mut Svg, axis: &Axis, picture: &Picture, x: f64) {
    for strip in &picture.strips {
        let (y, height) = axis.place(strip);
        let title = in_words(strip);
        let at = Rect { x, y, width: COLUMN, height };
        svg.rect(&format!("strip {}", words::slug(strip.kind)), at, &title);
        let mut from = x;
        let kept =
            [("stays", strip.in_place), ("leaves", strip.moved_out), ("arrives", strip.moved_in)];
        for (class, bytes) in kept.into_iter().filter(|(_, bytes)| *bytes > 0) {
            let width = share(bytes, strip.len).max(2.0).min(x + COLUMN - from);
            svg.rect(class, Rect { x: from, y, width, height }, &title);
            from += width;
        }
        svg.rect("frame", at, &title);
        if height >= LABEL - 0.01 {
            let middle = y + height / 2.0 + 3.2;
            svg.text("name", x + 5.0, middle, Anchor::Start, words::kind(strip.kind));
            svg.text("size", x + COLUMN - 5.0, middle, Anchor::End, &show(strip.len));
        }
    }
}

/// The part of a column that so many bytes of a strip fill.
#[expect(clippy::cast_precision_loss, reason = "a picture is not that fine")]
fn share(bytes: u64, len: u64) -> f64 {
    COLUMN * bytes as f64 / len.max(1) as f64
}

/// A band between the columns where a span is now what it was to be.
fn stays(svg: &mut Svg, axis: &Axis, before: &Picture, now: &Picture) {
    for strip in before.strips.iter().filter(|s| s.kind == Kind::Region && s.in_place > 0) {
        let same = |s: &&Strip| (s.start, s.len, s.kind) == (strip.start, strip.len, strip.kind);
        if now.strips.iter().any(|s| same(&s)) {
            let (y, height) = axis.place(strip);
            let x = BEFORE + COLUMN;
            let title = format!("{} stay in place", show(strip.in_place));
            svg.rect("band", Rect { x, y, width: AFTER - x, height }, &title);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a picture is not that fine")]
fn flows(svg: &mut Svg, axis: &Axis, before: &Picture) {
    let most = before.flows.iter().map(|f| f.bytes).max().unwrap_or(1).max(1);
    let middle = |index: usize| {
        let strip = before.strips.get(index)?;
        let (y, height) = axis.place(strip);
        Some(y + height / 2.0)
    };
    for flow in &before.flows {
        let (Some(from), Some(to)) = (middle(flow.from), middle(flow.to)) else { continue };
        let width = 1.0 + 5.0 * (flow.bytes as f64 / most as f64).sqrt();
        let title = format!("{} move", show(flow.bytes));
        let to = (AFTER - 5.0, to);
        svg.curve("flow", (BEFORE + COLUMN, from), to, width, &title);
        svg.line("arrow", &[(to.0, to.1 - 3.5), (AFTER, to.1), (to.0, to.1 + 3.5)]);
    }
}

/// Addresses at the cuts, as far as there is room.
fn addresses(svg: &mut Svg, axis: &Axis) {
    let mut free = f64::MIN;
    for (address, y) in &axis.cuts {
        if *y - free >= 9.5 {
            svg.text("address", BEFORE - 6.0, y + 3.0, Anchor::End, &format!("{address:08x}"));
            free = *y;
        }
    }
}

/// A strip in words.
pub(super) fn in_words(strip: &Strip) -> String {
    let kept = [
        (strip.in_place, "stay in place"),
        (strip.moved_out, "move away"),
        (strip.moved_in, "move in"),
    ];
    let kept = kept.into_iter().filter(|(bytes, _)| *bytes > 0);
    let kept: String = kept.map(|(bytes, what)| format!(", {} {what}", show(bytes))).collect();
    format!("{} {}{kept}", words::strip(strip), show(strip.len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strip(start: u64, len: u64) -> Strip {
        Strip {
            start: start << 20,
            len: len << 20,
            kind: Kind::Ram,
            region: None,
            in_place: 0,
            moved_out: 0,
            moved_in: 0,
        }
    }

    #[test]
    fn the_axis_ascends_and_has_room_for_a_terabyte() {
        let before = Picture { strips: vec![strip(1, 255), strip(512, 1 << 20)], flows: vec![] };
        let now = Picture { strips: vec![strip(1, 100), strip(101, 4)], flows: vec![] };
        let axis = Axis::of(&[&before, &now]);
        for pair in axis.cuts.windows(2) {
            assert!(pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1, "{:?}", axis.cuts);
        }
        let (top, height) = axis.place(&before.strips[1]);
        assert!((height - 80.0).abs() < 1e-9 && top > axis.at(256 << 20));
        assert!(axis.bottom() < 400.0);
        // However many pieces there are.
        let many = |count: u64| Picture {
            strips: (0..count).map(|i| strip(2048 * i, 1024)).collect(),
            flows: vec![],
        };
        assert!(Axis::of(&[&many(30)]).bottom() < TOP + TALLEST + 0.1);
        assert!(Axis::of(&[&many(256)]).bottom() < 2.5 * TALLEST);
        // Nothing at all is drawn as nothing.
        assert!(draw(None, &Picture::default()).contains("</svg>"));
    }
}
