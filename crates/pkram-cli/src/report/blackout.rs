//! The picture of the blackout: a bar for each phase, one below the other.
//!
//! ```text
//! old system
//!   freeze     ▐██▌                            1.20 s
//!   hold            ▐▌                        30.1 ms
//! mover
//!   moves             ▏                        1.3 ms
//!              0 s       1 s       2 s
//! ```

use super::svg::{Anchor, Rect, Svg};
use super::words;
use pkram::report::timeline::{Part, Phase, Timeline};

const WIDTH: f64 = 360.0;
/// Where the bars begin and end.
const LEFT: f64 = 78.0;
const RIGHT: f64 = 304.0;
const ROW: f64 = 17.0;
const BAR: f64 = 11.0;
/// A bar that could not be seen otherwise.
const THINNEST: f64 = 1.5;

/// Draws the phases; nothing where none is known.
pub(super) fn draw(timeline: &Timeline) -> Option<String> {
    let end = timeline.phases.iter().map(|p| p.start + p.seconds).fold(0.0, f64::max);
    let total = timeline.blackout.unwrap_or(end).max(1e-6);
    let scale = (RIGHT - LEFT) / total;
    let mut svg = Svg::default();
    let mut y = 4.0;
    let rows = timeline.phases.len() + groups(&timeline.phases);
    #[expect(clippy::cast_precision_loss, reason = "some ten rows")]
    let bottom = y + rows as f64 * ROW + 2.0;
    for (tick, label) in ticks(total) {
        let x = LEFT + tick * scale;
        svg.line("grid", &[(x, y), (x, bottom)]);
        svg.text("axis", x, bottom + 10.0, Anchor::Middle, &label);
    }
    let mut part = None;
    for phase in &timeline.phases {
        if part != Some(phase.name.part()) {
            part = Some(phase.name.part());
            svg.text("group", 0.0, y + 12.0, Anchor::Start, words::part(phase.name.part()));
            y += ROW;
        }
        let (name, what) = words::phase(phase.name);
        let took = words::seconds(phase.seconds);
        svg.text("label", 8.0, y + 11.5, Anchor::Start, name);
        svg.text("value", WIDTH, y + 11.5, Anchor::End, &took);
        if is_within(phase, total) {
            let x = LEFT + phase.start.max(0.0) * scale;
            let width = (phase.seconds * scale).max(THINNEST);
            let at = Rect { x, y: y + 3.0, width, height: BAR };
            svg.rect(
                &format!("phase {}", class(phase.name.part())),
                at,
                &format!("{name}: {took}, {what}"),
            );
        } else {
            let when = if phase.start < 0.0 { "before the blackout" } else { "after the blackout" };
            svg.text("axis", LEFT + 4.0, y + 11.5, Anchor::Start, when);
        }
        y += ROW;
    }
    let title = "Where the blackout went";
    (!timeline.phases.is_empty())
        .then(|| svg.finish("blackout", WIDTH, bottom + 16.0, title, &in_words(timeline)))
}

/// For those who do not see the picture.
fn in_words(timeline: &Timeline) -> String {
    let phase = |p: &Phase| format!("{} {}", words::phase(p.name).0, words::seconds(p.seconds));
    let phases: Vec<_> = timeline.phases.iter().map(phase).collect();
    format!("One bar for each phase, in the order of time: {}.", phases.join(", "))
}

/// Whether a phase is part of the blackout.
pub(super) fn is_within(phase: &Phase, blackout: f64) -> bool {
    // What was added up may be off by a rounding.
    phase.start > -1e-6 && phase.start + phase.seconds < blackout + 1e-6
}

fn groups(phases: &[Phase]) -> usize {
    let changes = phases.windows(2).filter(|p| p[0].name.part() != p[1].name.part()).count();
    changes + usize::from(!phases.is_empty())
}

/// The class of the bars of who is at work.
pub(super) const fn class(part: Part) -> &'static str {
    match part {
        Part::OldSystem => "old",
        Part::Mover => "mover",
        Part::NextKernel => "next",
        Part::UserSpace => "user",
    }
}

/// Three to six round numbers from 0 to `total` seconds.
fn ticks(total: f64) -> Vec<(f64, String)> {
    let power = 10f64.powf((total / 3.0).log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|step| step * power);
    let step = steps.into_iter().rev().find(|step| total / step >= 3.0).unwrap_or(power);
    let at = |i: u32| f64::from(i) * step;
    let label = |seconds: f64| match step {
        step if step >= 1.0 => format!("{seconds:.0} s"),
        step if step >= 0.1 => format!("{seconds:.1} s"),
        _ => format!("{:.1} ms", seconds * 1e3),
    };
    (0..10).map(at).take_while(|t| *t <= total).map(|t| (t, label(t))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        for total in [1e-5, 0.003, 0.9, 1.0, 8.2, 59.0, 1e4, 1e9] {
            let ticks = ticks(total);
            assert!((4..=10).contains(&ticks.len()), "{total}: {ticks:?}");
        }
        let labels: Vec<_> = ticks(8.2).into_iter().map(|t| t.1).collect();
        assert_eq!(labels, ["0 s", "2 s", "4 s", "6 s", "8 s"]);
    }
}
