//! A report as one page: no scripts, nothing from elsewhere, light or dark as the reader likes.

use super::svg::escape;
use super::tables::{history, phases, pictures, regions};
use super::{blackout, memory, words};
use config::size::show;
use pkram::picture::{Kind, Picture};
use pkram::report::Report;
use std::fmt;

const STYLE: &str = include_str!("page.css");

/// The fills that say what moves; hatched and dotted, so that it is seen without colours as well.
const PATTERNS: &str = r#"<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>
<pattern id="leaves" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="moves-paper" width="5" height="5"/><path class="moves-ink" d="M0 0V5"/></pattern>
<pattern id="arrives" width="5" height="5" patternUnits="userSpaceOnUse"><rect class="moves-paper" width="5" height="5"/><circle class="moves-dot" cx="2.5" cy="2.5" r=".8"/></pattern>
</defs></svg>
"#;

/// A report as a page.
#[derive(Debug)]
pub(crate) struct Page<'a>(pub(crate) &'a Report);

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let kernel = escape(&report.kernel);
        write!(
            f,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <link rel=\"icon\" href=\"data:,\">\n\
             <title>pkram report: {kernel}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
             {PATTERNS}<header>\n<h1>pkram report</h1>\n<p class=\"soft\">{}</p>\n</header>\n",
            started(report)
        )?;
        figures(f, report)?;
        writeln!(f, "<main>")?;
        if let Some(timeline) = &report.timeline
            && let Some(picture) = blackout::draw(timeline)
        {
            writeln!(f, "<section>\n<h2>Where the blackout went</h2>\n{picture}")?;
            writeln!(f, "{}</section>", folded("The same in words", &phases(timeline)))?;
        }
        if let Some(now) = &report.after {
            let before = report.before.as_ref();
            writeln!(f, "<section>\n<h2>How memory lies</h2>\n{}", memory::draw(before, now))?;
            legend(f, before, now)?;
            writeln!(f, "{}</section>", folded("The same in words", &pictures(before, now)))?;
        }
        if !report.regions.is_empty() {
            writeln!(
                f,
                "<section class=\"wide\">\n<h2>Regions</h2>\n{}</section>",
                regions(report)
            )?;
        }
        if !report.history.is_empty() {
            let table = history(&report.history);
            writeln!(f, "<section class=\"wide\">\n<h2>The last kexecs</h2>\n{table}</section>")?;
        }
        if !report.notes.is_empty() {
            writeln!(f, "<section class=\"wide\">\n<h2>What could not be read</h2>")?;
            report.notes.iter().try_for_each(|note| writeln!(f, "<p>{}</p>", escape(note)))?;
            writeln!(f, "</section>")?;
        }
        writeln!(f, "</main>\n</body>\n</html>")
    }
}

fn started(report: &Report) -> String {
    let kernel = escape(&report.kernel);
    let Some(jump) = &report.jump else {
        return format!("Linux <code>{kernel}</code>, not started by pkram");
    };
    let from = escape(jump.old_kernel.as_deref().unwrap_or("an unknown kernel"));
    let when = words::moment(jump.time);
    format!("Linux <code>{kernel}</code>, started by pkram from <code>{from}</code>, {when}")
}

fn figures(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let mut figures = Vec::new();
    if let Some((blackout, until)) = report.timeline.as_ref().and_then(|t| t.blackout.zip(t.until))
    {
        figures.push(("Blackout", words::seconds(blackout), words::until(until).to_owned()));
    }
    for (source, why) in report.missing() {
        figures.push(("Missing", escape(source), escape(why)));
    }
    let made = report.jump.as_ref().map(|jump| jump.region);
    if let Some(region) = report.regions.iter().find(|r| Some(r.uuid) == made)
        && let (Some(kept), Some(moved), Some(moves)) = (region.kept, region.moved, region.moves)
    {
        let in_place = show(kept.saturating_sub(moved));
        figures.push(("Kept", show(kept), format!("{in_place} of it in place")));
        let part = words::percent(moved, kept);
        figures.push(("Moved", show(moved), format!("{part} of it, in {moves} moves")));
    }
    let bytes = report.regions.iter().map(|r| r.bytes).sum();
    let count = match report.regions.len() {
        1 => "in one region".to_owned(),
        count => format!("in {count} regions"),
    };
    figures.push(("Memory in regions", show(bytes), count));
    writeln!(f, "<dl class=\"figures\">")?;
    for (what, value, more) in figures {
        writeln!(f, "<div><dt>{what}</dt><dd>{value}<small>{more}</small></dd></div>")?;
    }
    writeln!(f, "</dl>")
}

/// What the fills in the picture of memory mean.
fn legend(f: &mut fmt::Formatter<'_>, before: Option<&Picture>, now: &Picture) -> fmt::Result {
    let strips = || before.into_iter().chain([now]).flat_map(|p| &p.strips);
    let mut items: Vec<(&str, &str)> = [
        ("stays", "kept, in place", strips().any(|s| s.in_place > 0)),
        ("leaves", "kept, moves away", strips().any(|s| s.moved_out > 0)),
        ("arrives", "kept, moved here", strips().any(|s| s.moved_in > 0)),
    ]
    .into_iter()
    .filter_map(|(class, text, is_there)| is_there.then_some((class, text)))
    .collect();
    let mut kinds: Vec<Kind> = strips().map(|s| s.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    items.extend(kinds.into_iter().map(|kind| (words::slug(kind), words::kind(kind))));
    writeln!(f, "<ul class=\"legend\">")?;
    for (class, text) in items {
        writeln!(
            f,
            "<li><svg viewBox=\"0 0 20 12\" aria-hidden=\"true\"><rect class=\"strip {class}\" \
             width=\"20\" height=\"12\"/><rect class=\"frame\" width=\"20\" height=\"12\"/></svg>{text}</li>"
        )?;
    }
    writeln!(f, "</ul>")
}

fn folded(summary: &str, what: &str) -> String {
    format!("<details><summary>{summary}</summary>\n{what}</details>\n")
}
