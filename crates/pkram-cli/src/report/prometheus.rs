//! A report for node_exporter's textfile collector.
//!
//! The text format 0.0.4: each metric has its `# HELP` and `# TYPE` before its samples, times are in
//! seconds, sizes in bytes. What is not known has no sample.

use super::words;
use pkram::arrivals::Came;
use pkram::picture::{Kind, Picture};
use pkram::report::Report;
use pkram::report::timeline::{Name, Timeline};
use std::collections::BTreeMap;
use std::fmt::{self, Display};

/// A report as metrics.
#[derive(Debug)]
pub(crate) struct Metrics<'a>(pub(crate) &'a Report);

/// Labels of a sample.
type Labels<'a> = &'a [(&'a str, &'a str)];

impl Display for Metrics<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let mut out = Out { f };
        out.metric("pkram_info", "The pkram that wrote this, and the kernel it runs under.")?;
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("kernel", report.kernel.as_str())];
        out.sample("pkram_info", &labels, 1)?;
        out.metric("pkram_started", "Whether pkram started this kernel.")?;
        out.sample("pkram_started", &[], u8::from(report.jump.is_some()))?;
        if let Some(jump) = &report.jump {
            out.metric("pkram_jump_timestamp_seconds", "When the old kernel was left.")?;
            out.sample("pkram_jump_timestamp_seconds", &[], jump.time / 1_000_000_000)?;
        }
        if let Some(timeline) = &report.timeline {
            blackout(&mut out, timeline)?;
        }
        sources(&mut out, report)?;
        handovers(&mut out, report)?;
        regions(&mut out, report)?;
        memory(&mut out, report)?;
        history(&mut out, report)
    }
}

fn blackout(out: &mut Out<'_, '_>, timeline: &Timeline) -> fmt::Result {
    if let (Some(blackout), Some(until)) = (timeline.blackout, timeline.until) {
        let help = format!("How long the last blackout took, {}.", words::until(until));
        out.metric("pkram_blackout_seconds", &help)?;
        out.sample("pkram_blackout_seconds", &[], blackout)?;
    }
    let names: BTreeMap<Name, ()> = timeline.phases.iter().map(|p| (p.name, ())).collect();
    if !names.is_empty() {
        out.metric("pkram_phase_seconds", "How long each phase of the last kexec took.")?;
    }
    for name in names.into_keys() {
        let phase = words::phase(name).0;
        let labels = [("part", words::part(name.part())), ("phase", phase)];
        if let Some(seconds) = timeline.seconds(name) {
            out.sample("pkram_phase_seconds", &labels, seconds)?;
        }
    }
    Ok(())
}

fn sources(out: &mut Out<'_, '_>, report: &Report) -> fmt::Result {
    let sources = || report.arrived.iter().flat_map(|arrived| &arrived.sources);
    if sources().next().is_some() {
        let help = "Whether memory of a source was to come in this boot, and did not.";
        out.metric("pkram_source_missing", help)?;
    }
    for (source, came) in sources() {
        let missing = u8::from(matches!(came, Came::Missing { .. }));
        out.sample("pkram_source_missing", &[("source", source)], missing)?;
    }
    Ok(())
}

fn handovers(out: &mut Out<'_, '_>, report: &Report) -> fmt::Result {
    let handovers = || report.arrived.iter().flat_map(|arrived| &arrived.handovers);
    if handovers().next().is_some() {
        let help = "Descriptors that were handed over before the kexec, and did not arrive.";
        out.metric("pkram_handover_lost", help)?;
    }
    for (owner, came) in handovers() {
        out.sample("pkram_handover_lost", &[("owner", owner)], came.lost.len())?;
    }
    Ok(())
}

fn regions(out: &mut Out<'_, '_>, report: &Report) -> fmt::Result {
    out.metric("pkram_regions", "Regions that are here.")?;
    out.sample("pkram_regions", &[], report.regions.len())?;
    out.metric("pkram_damaged_spans", "Devices that may have been spans, left as they are.")?;
    out.sample("pkram_damaged_spans", &[], report.damaged)?;
    type Figure = fn(&pkram::report::RegionLine) -> Option<u64>;
    let figures: [(&str, &str, Figure); 7] = [
        ("pkram_region_bytes", "Memory of a region.", |r| Some(r.bytes)),
        ("pkram_region_spans", "Spans of a region that were found.", |r| Some(r.spans)),
        ("pkram_region_missing_spans", "Spans of a region that were not.", |r| Some(r.missing)),
        ("pkram_region_created_timestamp_seconds", "When it was made.", |r| Some(r.created)),
        ("pkram_region_kept_bytes", "What it keeps.", |r| r.kept),
        ("pkram_region_moved_bytes", "What of that was moved.", |r| r.moved),
        ("pkram_region_metadata_bytes", "The region filesystem's own.", |r| r.metadata),
    ];
    for (name, help, figure) in figures {
        let known = report.regions.iter().filter_map(|r| Some((r.uuid.to_string(), figure(r)?)));
        for (i, (uuid, value)) in known.enumerate() {
            if i == 0 {
                out.metric(name, help)?;
            }
            out.sample(name, &[("region", &uuid)], value)?;
        }
    }
    Ok(())
}

fn memory(out: &mut Out<'_, '_>, report: &Report) -> fmt::Result {
    let pictures = [("before", &report.before), ("now", &report.after)];
    if pictures.iter().any(|(_, picture)| picture.is_some()) {
        out.metric("pkram_memory_bytes", "Physical memory by use, as planned before and now.")?;
    }
    for (when, picture) in pictures {
        for (kind, bytes) in picture.iter().flat_map(by_kind) {
            out.sample("pkram_memory_bytes", &[("when", when), ("use", words::slug(kind))], bytes)?;
        }
    }
    Ok(())
}

fn by_kind(picture: &Picture) -> BTreeMap<Kind, u64> {
    let mut sums = BTreeMap::new();
    for strip in &picture.strips {
        *sums.entry(strip.kind).or_default() += strip.len;
    }
    sums
}

fn history(out: &mut Out<'_, '_>, report: &Report) -> fmt::Result {
    let mut counts = BTreeMap::<&str, u64>::new();
    for entry in &report.history {
        *counts.entry(words::outcome(entry)).or_default() += 1;
    }
    if !counts.is_empty() {
        out.metric("pkram_history_kexecs", "What came of the last kexecs, at most a hundred.")?;
    }
    for (outcome, count) in counts {
        out.sample("pkram_history_kexecs", &[("outcome", outcome)], count)?;
    }
    Ok(())
}

struct Out<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
}

impl Out<'_, '_> {
    /// All of them go up and down.
    fn metric(&mut self, name: &str, help: &str) -> fmt::Result {
        writeln!(self.f, "# HELP {name} {help}\n# TYPE {name} gauge")
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) -> fmt::Result {
        let label = |(name, value): &(&str, &str)| {
            let value = value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
            format!("{name}=\"{value}\"")
        };
        let labels: Vec<_> = labels.iter().map(label).collect();
        let labels = labels.join(",");
        let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
        writeln!(self.f, "{name}{labels} {value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::report;
    use std::collections::BTreeSet;

    /// The labels in braces, each name once.
    fn labels(mut text: &str) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        while !text.is_empty() {
            let (name, rest) = text.split_once("=\"").unwrap();
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            let (mut value, mut chars) = (String::new(), rest.char_indices());
            let end = loop {
                match chars.next().unwrap() {
                    (_, '\\') => value.push(match chars.next().unwrap().1 {
                        'n' => '\n',
                        c @ ('\\' | '"') => c,
                        c => panic!("\\{c} is no escape"),
                    }),
                    (at, '"') => break at + 1,
                    (_, '\n') => panic!("a label has a line break"),
                    (_, c) => value.push(c),
                }
            };
            assert!(found.insert(name.to_owned(), value).is_none(), "{name} twice");
            text = &rest[end..];
            text = text.strip_prefix(',').unwrap_or(text);
        }
        found
    }

    /// Strictly by the text format 0.0.4: samples by metric.
    type Samples = BTreeMap<String, Vec<(BTreeMap<String, String>, f64)>>;

    fn parse(text: &str) -> Samples {
        let mut metrics = Samples::new();
        let (mut helped, mut current) = (String::new(), String::new());
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                helped = help.split_once(' ').unwrap().0.to_owned();
                assert!(!metrics.contains_key(&helped), "{helped} is told twice");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                current = kind.strip_suffix(" gauge").unwrap().to_owned();
                assert_eq!(current, helped);
                metrics.insert(current.clone(), Vec::new());
            } else {
                let (name, value) = line.rsplit_once(' ').unwrap();
                let (name, inside) = match name.split_once('{') {
                    Some((name, rest)) => (name, rest.strip_suffix('}').unwrap()),
                    None => (name, ""),
                };
                assert_eq!(name, current, "a sample without its metric");
                let sample = (labels(inside), value.parse().unwrap());
                let samples = metrics.get_mut(name).unwrap();
                assert!(samples.iter().all(|s| s.0 != sample.0), "{line} twice");
                samples.push(sample);
            }
        }
        metrics
    }

    #[test]
    fn collectors_can_read_it() {
        let mut report = report();
        report.kernel = "a\\b\"c\nd".to_owned();
        let metrics = parse(&Metrics(&report).to_string());
        assert_eq!(metrics["pkram_info"][0].0["kernel"], report.kernel);
        let units = ["_seconds", "_bytes"];
        let counts = [
            "pkram_info",
            "pkram_started",
            "pkram_source_missing",
            "pkram_handover_lost",
            "pkram_regions",
            "pkram_history_kexecs",
        ];
        for (name, samples) in &metrics {
            let unit = units.iter().any(|unit| name.ends_with(unit)) || name.ends_with("_spans");
            assert!(name.starts_with("pkram_"), "{name}");
            assert!(unit || counts.contains(&name.as_str()), "{name} has no unit");
            assert!(!samples.is_empty(), "{name} has no samples");
        }
        let missing = &metrics["pkram_source_missing"];
        let missing: Vec<_> = missing.iter().map(|(of, is)| (of["source"].as_str(), *is)).collect();
        assert_eq!(missing, [("memcached", 0.0), ("redis", 1.0)]);
        let phases = &metrics["pkram_phase_seconds"];
        let names: BTreeSet<_> = phases.iter().map(|s| s.0["phase"].clone()).collect();
        assert_eq!(names.len(), report.timeline.as_ref().unwrap().phases.len());
        let inside = phases.iter().filter(|s| s.0["phase"] != "boot").map(|s| s.1).sum::<f64>();
        assert!((inside - metrics["pkram_blackout_seconds"][0].1).abs() < 1e-3);
    }
}
