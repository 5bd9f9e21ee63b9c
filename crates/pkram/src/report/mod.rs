//! What can be told of the kexec that started this kernel: plain values, to be shown by others.
//!
//! ```text
//! handover record ──┐
//! this kernel's log ├─► Timeline  where the blackout went
//! systemd's stamps ─┘
//! region's manifest ──► before    how memory lay, and what was to become of it
//! /proc/iomem, spans ─► after     how it lies now
//! history.jsonl ──────► history   the last kexecs
//! arrival.json ───────► arrived   what became of the sources of pkram.toml
//! ```
//!
//! What cannot be read is left out, and a note says why.

pub mod clock;
mod memory;
pub mod timeline;

use crate::arrivals::{self, Arrivals};
use crate::handover::Handover;
use crate::history::{self, Arrival, Entry};
use crate::machine;
use crate::manifest::Manifest;
use crate::picture::Picture;
use crate::region::{self, Discovered, Region};
use clock::Boot;
use serde::Serialize;
use std::path::Path;
use timeline::{Marks, Timeline};
use uuid::Uuid;

/// Everything that is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Release of this kernel.
    pub kernel: String,
    /// The kexec that started it, if pkram did it.
    pub jump: Option<Jump>,
    /// What became of each source of `pkram.toml` in this boot; none where the service did not say.
    pub arrived: Option<Arrivals>,
    /// Where the blackout went.
    pub timeline: Option<Timeline>,
    /// The regions that are here.
    pub regions: Vec<RegionLine>,
    /// Devices that may have been spans, and are left as they are.
    pub damaged: u64,
    /// How memory lay before, as it was planned.
    pub before: Option<Picture>,
    /// How it lies now.
    pub after: Option<Picture>,
    /// The last kexecs, oldest first.
    pub history: Vec<Entry>,
    /// What could not be read, and why.
    pub notes: Vec<String>,
}

/// The kexec that started this kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Jump {
    /// The region that was made.
    pub region: Uuid,
    /// Release of the kernel before, where its manifest can be read.
    pub old_kernel: Option<String>,
    /// Nanoseconds since 1970.
    pub time: u64,
}

/// A region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RegionLine {
    /// Its name.
    pub uuid: Uuid,
    /// Bytes of its spans.
    pub bytes: u64,
    /// How many spans were found.
    pub spans: u64,
    /// How many were not.
    pub missing: u64,
    /// Seconds since 1970.
    pub created: u64,
    /// Its nodes.
    pub sources: Vec<String>,
    /// Bytes kept.
    pub kept: Option<u64>,
    /// Of them, bytes that were moved.
    pub moved: Option<u64>,
    /// By so many copies.
    pub moves: Option<u64>,
    /// Bytes of the region filesystem's own.
    pub metadata: Option<u64>,
}

impl Timeline {
    /// Where the time of this boot went. `arrived` is when the memory was back, in seconds of this
    /// kernel's clock.
    #[must_use]
    pub fn measure(record: &Handover, boot: &Boot, arrived: Option<f64>) -> Self {
        Self::of(&Marks::of(record, boot, arrived))
    }
}

impl Report {
    /// Of this machine, now. What needs root is left out without it.
    #[must_use]
    pub fn collect() -> Self {
        let mut report = Self { kernel: machine::kernel_release(), ..Self::default() };
        report.history = report.take(history::read(), "the history").unwrap_or_default();
        let record = Handover::of_this_boot();
        report.timeline = record.as_ref().map(|record| {
            let arrival = report.arrival(record);
            let boot = Boot::read(record.tsc_hz);
            let boot = boot.with(arrival.map(|a| a.clock).unwrap_or_default());
            Timeline::measure(record, &boot, arrival.map(|a| a.monotonic))
        });
        if Path::new(arrivals::PATH).exists() {
            report.arrived = report.take(Arrivals::read(), "what arrived");
        }
        let found = report.take(region::discover(), "regions").unwrap_or_default();
        let manifests: Vec<_> = found.regions.iter().map(|r| report.manifest(r)).collect();
        report.regions = found.regions.iter().zip(&manifests).map(RegionLine::of).collect();
        report.damaged = found.damaged.len() as u64;
        report.jump = record.map(|record| {
            let made = manifests.iter().flatten().find(|m| m.region == record.region.to_string());
            let old_kernel = made.map(|m| m.old_kernel.clone());
            report.before = made.and_then(|m| m.picture.clone()?.checked());
            Jump { region: record.region, old_kernel, time: record.jump_time }
        });
        report.after = report.memory(&found, &manifests);
        report
    }

    /// Whether all memory is here that was to come, as far as can be told: each source, each span.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let spans = self.damaged == 0 && self.regions.iter().all(|region| region.missing == 0);
        spans && self.missing().next().is_none()
    }

    /// The sources that were to come and did not, with the reason.
    pub fn missing(&self) -> impl Iterator<Item = (&str, &str)> {
        self.arrived.iter().flat_map(Arrivals::missing)
    }

    /// What was written down when the memory of this boot was back.
    fn arrival(&self, record: &Handover) -> Option<&Arrival> {
        let boot = machine::boot_id().ok()?;
        let entry = self.history.iter().rev().find(|e| e.region == record.region)?;
        entry.arrival.as_ref().filter(|arrival| arrival.boot == boot)
    }

    fn memory(&mut self, found: &Discovered, manifests: &[Option<Manifest>]) -> Option<Picture> {
        let iomem = self.take(machine::iomem(), "memory")?;
        let known = manifests.iter().flatten().filter_map(|m| m.picture.clone()?.checked());
        Some(memory::now(&iomem, found, &known.collect::<Vec<_>>()))
    }

    fn manifest(&mut self, region: &Region) -> Option<Manifest> {
        if !region.missing.is_empty() {
            return None;
        }
        let manifest =
            region::contents::open(region).and_then(|fs| region::contents::manifest(&fs));
        self.take(manifest, &format!("region {}", region.uuid))?
    }

    /// The value, or a note.
    fn take<T>(&mut self, got: Result<T, impl std::fmt::Display>, what: &str) -> Option<T> {
        got.map_err(|error| self.notes.push(format!("{what}: {error}"))).ok()
    }
}

impl RegionLine {
    fn of((region, manifest): (&Region, &Option<Manifest>)) -> Self {
        let plan = manifest.as_ref().map(|m| &m.plan);
        let names = manifest.iter().flat_map(|m| &m.sources).map(|s| s.name.clone());
        Self {
            uuid: region.uuid,
            bytes: region.bytes(),
            spans: region.spans.len() as u64,
            missing: region.missing.len() as u64,
            created: region.spans.first().map_or(0, |s| s.head.created),
            sources: names.collect(),
            kept: plan.map(|p| p.preserved),
            moved: plan.map(|p| p.moved),
            moves: plan.map(|p| p.moves),
            metadata: plan.map(|p| p.metadata),
        }
    }
}
