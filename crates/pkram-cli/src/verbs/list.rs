//! `pkram list`: regions here, and what they carry.

use crate::answer::print;
use crate::size::show;
use pkram::region::{Discovered, Region, contents, discover};
use serde::Serialize;
use std::fmt;
use std::process::ExitCode;

pub(crate) fn run(json: bool) -> anyhow::Result<ExitCode> {
    print(json, &List::of(&discover()?))?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Serialize)]
struct List {
    regions: Vec<RegionLine>,
    damaged: Vec<DamagedLine>,
}

#[derive(Debug, Serialize)]
struct RegionLine {
    uuid: String,
    bytes: u64,
    created: u64,
    old_kernel: Option<String>,
    sources: Vec<SourceLine>,
    /// Why sources cannot be told.
    error: Option<String>,
    spans: Vec<SpanLine>,
    missing: Vec<u32>,
}

#[derive(Debug, Serialize)]
struct SourceLine {
    name: String,
    from: String,
}

#[derive(Debug, Serialize)]
struct SpanLine {
    range: String,
    start: u64,
    bytes: u64,
    device: Option<String>,
}

#[derive(Debug, Serialize)]
struct DamagedLine {
    device: String,
    range: String,
    error: String,
}

impl List {
    fn of(found: &Discovered) -> Self {
        let regions = found.regions.iter().map(RegionLine::of);
        let damaged = found.damaged.iter().map(|d| DamagedLine {
            device: d.device.name().to_string(),
            range: d.device.range.to_string(),
            error: d.error.to_string(),
        });
        Self { regions: regions.collect(), damaged: damaged.collect() }
    }
}

impl RegionLine {
    fn of(region: &Region) -> Self {
        let manifest = match region.missing.is_empty() {
            true => contents::open(region).and_then(|fs| contents::manifest(&fs)),
            false => Ok(None),
        };
        let error = manifest.as_ref().err().map(ToString::to_string);
        let manifest = manifest.ok().flatten();
        let spans = region.spans.iter().map(|s| SpanLine {
            range: s.head.range.to_string(),
            start: s.head.range.start(),
            bytes: s.head.range.len(),
            device: s.device.block.as_ref().map(|b| b.display().to_string()),
        });
        Self {
            uuid: region.uuid.to_string(),
            bytes: region.bytes(),
            created: region.spans.first().map_or(0, |s| s.head.created),
            old_kernel: manifest.as_ref().map(|m| m.old_kernel.clone()),
            sources: manifest
                .into_iter()
                .flat_map(|m| m.sources)
                .map(|s| SourceLine { from: s.origin.to_string(), name: s.name })
                .collect(),
            error,
            spans: spans.collect(),
            missing: region.missing.clone(),
        }
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.regions.is_empty() && self.damaged.is_empty() {
            return writeln!(f, "no regions");
        }
        for r in &self.regions {
            let from = r.old_kernel.as_deref().unwrap_or("an unknown kernel");
            writeln!(f, "{}  {} from {from}", r.uuid, show(r.bytes))?;
            for s in &r.sources {
                writeln!(f, "  {}  from {}", s.name, s.from)?;
            }
            if let Some(error) = &r.error {
                writeln!(f, "  damaged, left as it is: {error}")?;
            }
            for s in &r.spans {
                let device = s.device.as_deref().unwrap_or("no block device");
                writeln!(f, "  {}  {}  {device}", s.range, show(s.bytes))?;
            }
            for index in &r.missing {
                writeln!(f, "  span {index} is missing; the region is left as it is")?;
            }
        }
        for d in &self.damaged {
            writeln!(f, "damaged, left as it is: {} at {}: {}", d.device, d.range, d.error)?;
        }
        Ok(())
    }
}
