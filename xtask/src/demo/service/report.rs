//! What the demonstration found, as a table and as JSON.

use comfy_table::Table;
use serde::Serialize;
use serde_json::Value;

use crate::demo::frames::Frames;
use crate::demo::items::Items;
use crate::demo::journey::{Jump, Phase};
use crate::demo::rows::{Rows, seconds};

/// Everything that is shown; the JSON object's shape is version 1.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) version: u32,
    /// All items and keys found and equal, the memfd whole, and no more pages moved than the plan says.
    pub(super) ok: bool,
    pub(super) suite: &'static str,
    #[serde(flatten)]
    pub(super) jump: Jump,
    pub(super) phases: Vec<Phase>,
    /// From `systemctl kexec` to each service's first right answer under the new kernel.
    pub(super) answered: Vec<Phase>,
    /// memcached's, in place.
    pub(super) items: Items,
    /// Of memcached's memory.
    pub(super) frames: Frames,
    /// Redis's, copied back.
    pub(super) keys_set: u64,
    pub(super) keys_equal: u64,
    /// What a service handed over by sd_notify.
    pub(super) memfd: Memfd,
    /// What `pkram report --json` says.
    pub(super) report: Value,
}

#[derive(Debug, Serialize)]
pub(super) struct Memfd {
    /// Size, SHA-256 and seals.
    pub(super) before: String,
    pub(super) after: String,
    /// The service was started with it, and made no new one.
    pub(super) came: bool,
}

impl Report {
    pub(super) fn table(&self) -> Table {
        let mut rows = Rows::of(&self.jump);
        rows.add("system", format!("Debian {}", self.suite));
        rows.phases(&self.phases, &self.jump);
        for service in &self.answered {
            rows.add(&format!("until {} answered", service.name), seconds(service.seconds));
        }
        rows.items(&self.items);
        rows.add("Redis's keys set", self.keys_set.to_string());
        rows.add("Redis's keys equal", self.keys_equal.to_string());
        let whole = self.memfd.came && self.memfd.before == self.memfd.after;
        rows.add("the memfd", if whole { "the same bytes and seals" } else { "DIFFERENT" });
        rows.end(&self.frames, self.ok)
    }
}
