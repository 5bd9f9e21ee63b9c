//! What the demonstration found, as a table and as JSON.

use anyhow::{Context, Result};
use comfy_table::Table;
use serde::Serialize;
use testbed::Kernel;

use super::beats::{Beat, one_life};
use super::qemu::MEMORY_MIB;
use crate::demo::frames::Frames;
use crate::demo::journey::{Jump, Phase};
use crate::demo::rows::{Rows, mib, seconds};

/// Everything that is shown; the JSON object's shape is version 1.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) version: u32,
    /// One life of the guest, all of its memory checked after the jump, every page in its place.
    pub(super) ok: bool,
    #[serde(flatten)]
    pub(super) jump: Jump,
    /// From the guest's pause to its continuation, without the looks from outside that the
    /// demonstration takes meanwhile.
    pub(super) blackout_seconds: f64,
    pub(super) phases: Vec<Phase>,
    pub(super) guest: Guest,
    /// Of the file that is the guest's memory.
    pub(super) frames: Frames,
    /// Bytes of RAM (`MemTotal`) that the old and the next kernel of the host have.
    pub(super) memory_before: u64,
    pub(super) memory_after: u64,
}

/// The virtual machine, from what it said itself.
#[derive(Debug, Serialize)]
pub(super) struct Guest {
    pub(super) kernel: String,
    /// Under KVM; else QEMU translates.
    pub(super) kvm: bool,
    pub(super) memory_bytes: u64,
    pub(super) pattern_bytes: u64,
    /// Of its device state, all that was written to a file.
    pub(super) state_bytes: u64,
    pub(super) boot_id: String,
    /// One boot id, no second left out or counted twice, no page ever wrong.
    pub(super) one_life: bool,
    /// The last second that it counted before the jump, and the last that was heard.
    pub(super) counter_before: u64,
    pub(super) counter_after: u64,
    /// How often it had checked all of its pattern by then.
    pub(super) rounds_before: u64,
    pub(super) rounds_after: u64,
    pub(super) wrong_pages: u64,
    /// From the last second before to the first after the jump, by its own clock and by the
    /// battery-backed one.
    pub(super) gap_by_uptime_seconds: f64,
    pub(super) gap_by_rtc_seconds: Option<u64>,
}

impl Guest {
    /// From all that it said, where `last` was the last before the jump.
    pub(super) fn from_beats(
        beats: &[Beat],
        last: &Beat,
        kernel: &Kernel,
        kvm: bool,
        state_bytes: u64,
    ) -> Result<Self> {
        let heard = beats.last().context("no line of the guest")?;
        let mut after = beats.iter().skip_while(|beat| *beat != last).skip(1);
        let first = after.next().context("no line of the guest after the jump")?;
        let rtc = first.rtc.zip(last.rtc);
        Ok(Self {
            kernel: kernel.release.clone(),
            kvm,
            memory_bytes: MEMORY_MIB << 20,
            pattern_bytes: heard.bytes,
            state_bytes,
            boot_id: heard.boot_id.clone(),
            one_life: one_life(beats),
            counter_before: last.counter,
            counter_after: heard.counter,
            rounds_before: last.rounds,
            rounds_after: heard.rounds,
            wrong_pages: heard.wrong,
            gap_by_uptime_seconds: first.uptime - last.uptime,
            gap_by_rtc_seconds: rtc.and_then(|(first, last)| first.checked_sub(last)),
        })
    }
}

impl Report {
    pub(super) fn table(&self) -> Table {
        let guest = &self.guest;
        let mut rows = Rows::of(&self.jump);
        rows.add("guest", format!("{}, {}", guest.kernel, if guest.kvm { "KVM" } else { "TCG" }));
        rows.add("its memory", mib(guest.memory_bytes));
        rows.add("its device state", mib(guest.state_bytes));
        rows.add("host's RAM before", mib(self.memory_before));
        rows.add("host's RAM after", mib(self.memory_after));
        rows.phases(&self.phases, &self.jump);
        rows.add("blackout", seconds(self.blackout_seconds));
        let gap = |by: &str| format!("  by the guest's {by}");
        rows.add(&gap("uptime"), seconds(guest.gap_by_uptime_seconds));
        let rtc = guest.gap_by_rtc_seconds.map_or("it has none".into(), |gap| format!("{gap} s"));
        rows.add(&gap("clock"), rtc);
        rows.add("guest's boot id", guest.boot_id.clone());
        let step = |before, after| format!("{before} → {after}");
        rows.add("its seconds", step(guest.counter_before, guest.counter_after));
        rows.add("its checks", step(guest.rounds_before, guest.rounds_after));
        rows.add("  of", mib(guest.pattern_bytes));
        rows.add("wrong pages", guest.wrong_pages.to_string());
        rows.add("one life", if guest.one_life { "yes" } else { "NO" });
        rows.end(&self.frames, self.ok)
    }
}
