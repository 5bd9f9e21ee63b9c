//! `pkram list`: regions here, and what they carry.

use crate::answer::print;
use anyhow::Context as _;
use config::size::show;
use pkram::ages::{Age, Ages};
use pkram::machine::MachineError;
use pkram::region::{Device, Discovered, Region, contents, discover, given_back};
use serde::Serialize;
use std::fmt;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) fn run(json: bool) -> anyhow::Result<ExitCode> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock")?.as_secs();
    print(json, &List::of(&discover()?, &Ages::here(), now)?)?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Serialize)]
struct List {
    regions: Vec<RegionLine>,
    damaged: Vec<DamagedLine>,
    released: Vec<ReleasedLine>,
}

/// Memory that was a region's until it was released.
#[derive(Debug, Serialize)]
struct ReleasedLine {
    range: String,
    bytes: u64,
    /// Of it, what is System RAM now; the rest is RAM from the next `pkram kexec` on.
    given_back: u64,
}

#[derive(Debug, Serialize)]
struct RegionLine {
    uuid: String,
    bytes: u64,
    created: u64,
    /// Since it was made.
    seconds: u64,
    /// How many it has lived under, the running one among them.
    kernels: u32,
    /// There may have been more kernels: another tool's kexec does not pass the count on.
    kernels_at_least: bool,
    /// Of a reserved region: how often it was made or arrived.
    generation: Option<u64>,
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
    fn of(found: &Discovered, ages: &Ages, now: u64) -> anyhow::Result<Self> {
        let regions = found.regions.iter().map(|r| RegionLine::of(r, ages.of(r.uuid), now));
        let damaged = found.damaged.iter().map(|d| DamagedLine {
            device: d.device.name().to_string(),
            range: d.device.range.to_string(),
            error: d.error.to_string(),
        });
        let released = found.released.iter().map(ReleasedLine::of).collect::<Result<_, _>>()?;
        Ok(Self { regions: regions.collect(), damaged: damaged.collect(), released })
    }
}

impl ReleasedLine {
    fn of(span: &Device) -> Result<Self, MachineError> {
        let (range, bytes) = (span.range.to_string(), span.range.len());
        Ok(Self { range, bytes, given_back: given_back(span)? })
    }
}

impl RegionLine {
    fn of(region: &Region, age: Age, now: u64) -> Self {
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
        let created = region.spans.first().map_or(0, |s| s.head.created);
        Self {
            uuid: region.uuid.to_string(),
            bytes: region.bytes(),
            created,
            seconds: now.saturating_sub(created),
            kernels: age.kernels,
            kernels_at_least: age.at_least,
            generation: region.generation(),
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

    /// For people.
    fn age(&self) -> String {
        let least = if self.kernels_at_least { "at least " } else { "" };
        let kernels = if self.kernels == 1 { "kernel" } else { "kernels" };
        format!("{} old, {least}{} {kernels}", duration(self.seconds), self.kernels)
    }
}

/// In the two largest units.
fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.regions.is_empty() && self.damaged.is_empty() {
            writeln!(f, "no regions")?;
        }
        for r in &self.regions {
            write!(f, "{}  {}", r.uuid, show(r.bytes))?;
            match r.generation {
                Some(generation) => write!(f, " reserved, generation {generation}")?,
                None => {
                    let from = r.old_kernel.as_deref().unwrap_or("an unknown kernel");
                    write!(f, " from {from}")?;
                }
            }
            writeln!(f, ", {}", r.age())?;
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
        for r in &self.released {
            let left = show(r.bytes - r.given_back.min(r.bytes));
            writeln!(f, "released: {}, {left} of it aside until the next kexec", r.range)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_in_two_units() {
        let texts = [59, 61, 3600 + 120, 86400 * 3 + 3600 * 5].map(duration);
        assert_eq!(texts, ["59 s", "1 min 1 s", "1 h 2 min", "3 d 5 h"]);
    }
}
