//! `pkram list`: regions here, and what they carry.

use crate::answer::print;
use crate::size::show;
use pkram::region::{Discovered, discover};
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
    spans: Vec<SpanLine>,
    missing: Vec<u32>,
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
        let regions = found.regions.iter().map(|r| RegionLine {
            uuid: r.uuid.to_string(),
            bytes: r.bytes(),
            created: r.spans.first().map_or(0, |s| s.head.created),
            spans: r
                .spans
                .iter()
                .map(|s| SpanLine {
                    range: s.head.range.to_string(),
                    start: s.head.range.start(),
                    bytes: s.head.range.len(),
                    device: s.device.block.as_ref().map(|b| b.display().to_string()),
                })
                .collect(),
            missing: r.missing.clone(),
        });
        let damaged = found.damaged.iter().map(|d| DamagedLine {
            device: d.device.name().to_string(),
            range: d.device.range.to_string(),
            error: d.error.to_string(),
        });
        Self { regions: regions.collect(), damaged: damaged.collect() }
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.regions.is_empty() && self.damaged.is_empty() {
            return writeln!(f, "no regions");
        }
        for r in &self.regions {
            writeln!(f, "{}  {}", r.uuid, show(r.bytes))?;
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
