//! A report for terminals.

use super::memory::in_words;
use super::words;
use config::size::show;
use pkram::history::Entry;
use pkram::picture::Picture;
use pkram::report::timeline::{Phase, Timeline};
use pkram::report::{RegionLine, Report};
use std::fmt;

/// How long the longest bar is.
const BAR: f64 = 24.0;

/// All of a report but its history.
#[derive(Debug)]
pub(crate) struct Text<'a>(pub(crate) &'a Report);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { kernel, jump, timeline, regions, damaged, before, after, notes, .. } = self.0;
        writeln!(f, "kernel      {}", words::plain(kernel))?;
        match jump {
            Some(jump) => {
                let from = jump.old_kernel.as_deref().unwrap_or("an unknown kernel");
                let when = words::moment(jump.time);
                writeln!(f, "started     by pkram from {}, {when}", words::plain(from))?;
            }
            None => writeln!(f, "started     not by pkram")?,
        }
        for (source, why) in self.0.missing() {
            writeln!(f, "missing     {}: {}", words::plain(source), words::plain(why))?;
        }
        if let Some(timeline) = timeline {
            blackout(f, timeline)?;
        }
        for region in regions {
            one_region(f, region)?;
        }
        if *damaged > 0 {
            writeln!(
                f,
                "damaged     {damaged} devices, left as they are: `pkram list` names them"
            )?;
        }
        if let Some(before) = before {
            picture(f, "memory before, as it was planned", before)?;
        }
        if let Some(after) = after {
            picture(f, "memory now", after)?;
        }
        if !notes.is_empty() {
            writeln!(f)?;
        }
        notes.iter().try_for_each(|note| writeln!(f, "note        {}", words::plain(note)))
    }
}

fn blackout(f: &mut fmt::Formatter<'_>, timeline: &Timeline) -> fmt::Result {
    if let (Some(blackout), Some(until)) = (timeline.blackout, timeline.until) {
        writeln!(f, "blackout    {}, {}", words::seconds(blackout), words::until(until))?;
    }
    let longest = timeline.phases.iter().map(|p| p.seconds).fold(0.0, f64::max);
    let mut part = None;
    for Phase { name, seconds, .. } in &timeline.phases {
        if part != Some(name.part()) {
            part = Some(name.part());
            writeln!(f, "\n{}", words::part(name.part()))?;
        }
        let (name, what) = words::phase(*name);
        let bar = bar(seconds / longest.max(1e-9));
        let took = words::seconds(*seconds);
        writeln!(f, "  {name:<10}{took:>8}  {bar:<24}  {what}")?;
    }
    writeln!(f)
}

/// Of a share of the longest.
fn bar(share: f64) -> String {
    let full = (share * BAR).round();
    (1..=24).take_while(|i| f64::from(*i) <= full).map(|_| '#').collect()
}

fn one_region(f: &mut fmt::Formatter<'_>, region: &RegionLine) -> fmt::Result {
    let RegionLine { uuid, bytes, spans, missing, sources, kept, moved, .. } = region;
    let many = if *spans == 1 { "" } else { "s" };
    write!(f, "region      {uuid}  {} in {spans} span{many}", show(*bytes))?;
    if *missing > 0 {
        write!(f, ", {missing} missing")?;
    }
    if let (Some(kept), Some(moved)) = (kept, moved) {
        let percent = words::percent(*moved, *kept);
        write!(f, "; kept {}, of it moved {} ({percent})", show(*kept), show(*moved))?;
    }
    writeln!(f)?;
    sources.iter().try_for_each(|name| writeln!(f, "  {}", words::plain(name)))
}

fn picture(f: &mut fmt::Formatter<'_>, title: &str, picture: &Picture) -> fmt::Result {
    writeln!(f, "\n{title}")?;
    for strip in &picture.strips {
        let range = format!("{:08x}-{:08x}", strip.start, strip.end() - 1);
        writeln!(f, "  {range:<25}  {}", in_words(strip))?;
    }
    Ok(())
}

/// The last kexecs.
#[derive(Debug, serde::Serialize)]
pub(crate) struct History<'a> {
    pub(crate) history: &'a [Entry],
}

impl fmt::Display for History<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.history.is_empty() {
            return writeln!(f, "no kexec is noted in /var/lib/pkram/history.jsonl");
        }
        for entry in self.history {
            let next = entry.next_kernel.as_deref().unwrap_or("unknown");
            let kernels = format!("{} -> {next}", entry.old_kernel);
            let blackout = entry.arrival.as_ref().and_then(|a| a.timeline.blackout);
            let blackout = blackout.map_or_else(|| "-".to_owned(), words::seconds);
            writeln!(
                f,
                "{}  {:<6}  {:<40}  kept {:>10}, moved {:>10}  blackout {blackout:>8}  {}",
                words::moment(entry.began),
                words::way(entry.way),
                words::plain(&kernels),
                show(entry.kept),
                show(entry.moved),
                words::outcome(entry)
            )?;
            if let Some(why) = entry.arrival.as_ref().and_then(|a| a.message.as_ref()) {
                writeln!(f, "  {}", words::plain(why))?;
            }
        }
        Ok(())
    }
}
