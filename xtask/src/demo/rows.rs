//! What the demonstrations' tables have in common.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, Table};

use super::frames::Frames;
use super::items::Items;
use super::journey::{EXEC, Jump, KEXEC, LOAD, Phase, SERVICE};

pub(super) struct Rows(Table);

impl Rows {
    /// Begins with what was replaced by what.
    pub(super) fn of(jump: &Jump) -> Self {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        let mut rows = Self(table);
        rows.add("old kernel", jump.from.clone());
        rows.add("next kernel", jump.to.clone());
        rows.add("firmware", if jump.uefi { "UEFI" } else { "BIOS" });
        rows.add("preserved", mib(jump.bytes_preserved));
        rows.add("moved", mib(jump.bytes_moved));
        rows
    }

    pub(super) fn add(&mut self, name: &str, value: impl Into<String>) {
        self.0.add_row([Cell::new(name), Cell::new(value.into())]);
    }

    /// Where the time went; the kexec is taken apart.
    pub(super) fn phases(&mut self, phases: &[Phase], jump: &Jump) {
        for phase in phases {
            self.add(phase.name, seconds(phase.seconds));
            for step in jump.timeline.iter().filter(|step| belongs(step, phase)) {
                let name = format!("  of it {}", step.name.replace('_', " "));
                self.add(&name, format!("{:.4} s", step.seconds));
            }
            if [KEXEC, EXEC, SERVICE].contains(&phase.name) {
                let boot = seconds(jump.next_kernel_boot_seconds);
                self.add("  of it the next kernel's boot", boot);
            }
        }
    }

    /// What became of memcached's items.
    pub(super) fn items(&mut self, items: &Items) {
        self.add("items set", items.set.to_string());
        self.add("items found", items.checked.found.to_string());
        self.add("items equal", items.checked.equal.to_string());
    }

    /// Ends with the proof and the verdict.
    pub(super) fn end(mut self, frames: &Frames, ok: bool) -> Table {
        self.add("page frames before", frames.pages_before.to_string());
        self.add("page frames after", frames.pages_after.to_string());
        self.add("in the same place", frames.same_place.to_string());
        if let Some(equal) = frames.outside_pages_equal {
            self.add("bytes seen from outside", if equal { "equal" } else { "DIFFERENT" });
        }
        self.add("verdict", if ok { "everything came through" } else { "FAILED" });
        self.0
    }
}

/// In two steps, the last look includes the wait between them, so it belongs to neither; the service's
/// includes the rest of the shutdown.
fn belongs(step: &Phase, phase: &Phase) -> bool {
    let prepares = ["hold", "compose", "load"].contains(&step.name);
    match phase.name {
        KEXEC => true,
        LOAD => prepares,
        EXEC => !prepares && step.name != "last_look",
        SERVICE => step.name != "last_look",
        _ => false,
    }
}

pub(super) fn mib(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) >> 20;
    format!("{bytes} bytes ({}.{} MiB)", tenths / 10, tenths % 10)
}

pub(super) fn seconds(seconds: f64) -> String {
    format!("{seconds:.2} s")
}
