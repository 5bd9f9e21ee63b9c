//! The page's tables: what the pictures show, in words, for those who do not see them or want the
//! numbers.

use super::blackout::is_within;
use super::svg::escape;
use super::words;
use config::size::show;
use pkram::history::Entry;
use pkram::picture::Picture;
use pkram::report::Report;
use pkram::report::timeline::Timeline;

/// A table, which scrolls by itself where it is too wide; a heading that begins with `#` is one of
/// numbers. Cells are HTML.
fn table(label: &str, headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let class = |i: usize| if headings[i].starts_with('#') { " class=\"n\"" } else { "" };
    let head = headings.iter().enumerate().map(|(i, heading)| {
        format!("<th scope=\"col\"{}>{}</th>", class(i), heading.trim_start_matches('#'))
    });
    let row = |cells: Vec<String>| {
        let cells = cells.iter().take(headings.len()).enumerate();
        let cells: String = cells.map(|(i, c)| format!("<td{}>{c}</td>", class(i))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let (head, rows): (String, String) = (head.collect(), rows.into_iter().map(row).collect());
    format!(
        "<div class=\"scroll\" role=\"group\" aria-label=\"{label}\" tabindex=\"0\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

/// The phases.
pub(super) fn phases(timeline: &Timeline) -> String {
    let rows = timeline.phases.iter().map(|phase| {
        let (name, what) = words::phase(phase.name);
        let outside = timeline.blackout.is_some_and(|blackout| !is_within(phase, blackout));
        let what = if outside { format!("{what} (not in the blackout)") } else { what.to_owned() };
        let part = words::part(phase.name.part()).to_owned();
        vec![part, name.to_owned(), words::seconds(phase.seconds), what]
    });
    table("Phases", &["Who", "Phase", "#Took", "What happens"], rows)
}

/// Both pictures of memory.
pub(super) fn pictures(before: Option<&Picture>, now: &Picture) -> String {
    let one = |label: &str, picture: &Picture| {
        let some = |bytes: u64| if bytes > 0 { show(bytes) } else { String::new() };
        let rows = picture.strips.iter().map(|s| {
            let range = format!("<code>{:08x}-{:08x}</code>", s.start, s.end() - 1);
            let kept = [s.in_place, s.moved_out, s.moved_in].map(some);
            [range, escape(&words::strip(s)), show(s.len)].into_iter().chain(kept).collect()
        });
        table(label, &["Range", "Use", "#Size", "#In place", "#Moves away", "#Moved here"], rows)
    };
    let before =
        before.map(|p| format!("<h3>Before, as it was planned</h3>\n{}", one("Memory before", p)));
    format!("{}<h3>Now</h3>\n{}", before.unwrap_or_default(), one("Memory now", now))
}

/// The regions that are here.
pub(super) fn regions(report: &Report) -> String {
    let rows = report.regions.iter().map(|r| {
        let known = |bytes: Option<u64>| bytes.map(show).unwrap_or_default();
        let missing = match r.missing {
            0 => String::new(),
            missing => format!(" ({missing} missing)"),
        };
        vec![
            format!("<code>{}</code>", r.uuid),
            escape(&r.sources.join(", ")),
            format!("{}{missing}", r.spans),
            show(r.bytes),
            known(r.kept),
            known(r.moved),
            words::moment(r.created.saturating_mul(1_000_000_000)),
        ]
    });
    table("Regions", &["Region", "Sources", "#Spans", "#Size", "#Kept", "#Moved", "Made"], rows)
}

/// The last kexecs, latest first.
pub(super) fn history(entries: &[Entry]) -> String {
    let rows = entries.iter().rev().map(|entry| {
        let next = entry.next_kernel.as_deref().unwrap_or("unknown");
        let blackout = entry.arrival.as_ref().and_then(|a| a.timeline.blackout);
        let why = entry.arrival.iter().filter_map(|a| a.message.as_deref());
        let why: String = why.map(|why| format!(": {}", escape(why))).collect();
        vec![
            words::moment(entry.began),
            words::way(entry.way).to_owned(),
            format!("<code>{}</code> to <code>{}</code>", escape(&entry.old_kernel), escape(next)),
            show(entry.kept),
            show(entry.moved),
            blackout.map(words::seconds).unwrap_or_default(),
            format!("{}{why}", words::outcome(entry)),
        ]
    });
    table(
        "The last kexecs",
        &["When", "By", "Kernels", "#Kept", "#Moved", "#Blackout", "Outcome"],
        rows,
    )
}
