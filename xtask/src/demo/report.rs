//! What the demonstration found, as a table and as JSON.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, Table};
use serde::Serialize;

use super::scenario;

/// Everything that is shown; the JSON object's shape is version 1.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) version: u32,
    /// All items set, found and equal, and no more pages moved than the plan says.
    pub(super) ok: bool,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) uefi: bool,
    pub(super) bytes_preserved: u64,
    pub(super) bytes_moved: u64,
    /// From memcached's last answer under the old kernel to the first under the new one, without
    /// the looks at page frames that the demonstration takes meanwhile.
    pub(super) service_gap_seconds: f64,
    /// The part of it that the new kernel took from its start to its first program's answer.
    pub(super) next_kernel_boot_seconds: f64,
    pub(super) phases: Vec<Phase>,
    /// What `pkram kexec` did, by the TSC: up to the last look under the old kernel, from the
    /// mover's check on in between.
    pub(super) timeline: Vec<Phase>,
    pub(super) items: Items,
    pub(super) frames: Frames,
}

#[derive(Debug, Serialize)]
pub(super) struct Phase {
    pub(super) name: &'static str,
    pub(super) seconds: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Items {
    pub(super) set: u64,
    pub(super) found: u64,
    pub(super) equal: u64,
}

/// Pages of memcached's file, 4 KiB each.
#[derive(Debug, Serialize)]
pub(super) struct Frames {
    pub(super) pages_before: u64,
    pub(super) pages_after: u64,
    pub(super) same_place: u64,
    /// Bytes of sampled pages, read from outside the guest, are the same before and after.
    pub(super) outside_pages_equal: bool,
}

impl Report {
    pub(super) fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        let mut row = |name: &str, value: String| {
            table.add_row([Cell::new(name), Cell::new(value)]);
        };
        row("old kernel", self.from.clone());
        row("next kernel", self.to.clone());
        row("firmware", if self.uefi { "UEFI" } else { "BIOS" }.into());
        row("preserved", mib(self.bytes_preserved));
        row("moved", mib(self.bytes_moved));
        for phase in &self.phases {
            row(phase.name, seconds(phase.seconds));
            if phase.name == scenario::KEXEC {
                for step in &self.timeline {
                    let name = format!("  of it {}", step.name.replace('_', " "));
                    row(&name, format!("{:.4} s", step.seconds));
                }
                row("  of it the next kernel's boot", seconds(self.next_kernel_boot_seconds));
            }
        }
        row("memcached away", seconds(self.service_gap_seconds));
        row("items set", self.items.set.to_string());
        row("items found", self.items.found.to_string());
        row("items equal", self.items.equal.to_string());
        row("page frames before", self.frames.pages_before.to_string());
        row("page frames after", self.frames.pages_after.to_string());
        row("in the same place", self.frames.same_place.to_string());
        let equal = if self.frames.outside_pages_equal { "equal" } else { "DIFFERENT" };
        row("bytes seen from outside", equal.into());
        row("verdict", if self.ok { "everything came through" } else { "FAILED" }.into());
        table
    }
}

fn mib(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) >> 20;
    format!("{bytes} bytes ({}.{} MiB)", tenths / 10, tenths % 10)
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.2} s")
}
