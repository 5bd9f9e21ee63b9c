//! What the demonstration found, as a table and as JSON.

use comfy_table::Table;
use serde::Serialize;

use crate::demo::frames::Frames;
use crate::demo::items::Items;
use crate::demo::journey::{Jump, Phase};
use crate::demo::rows::{Rows, seconds};

/// Everything that is shown; the JSON object's shape is version 1.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) version: u32,
    /// All items set, found and equal, and no more pages moved than the plan says.
    pub(super) ok: bool,
    #[serde(flatten)]
    pub(super) jump: Jump,
    /// From memcached's last answer under the old kernel to the first under the new one, without
    /// the looks at page frames that the demonstration takes meanwhile.
    pub(super) service_gap_seconds: f64,
    pub(super) phases: Vec<Phase>,
    pub(super) items: Items,
    pub(super) frames: Frames,
}

impl Report {
    pub(super) fn table(&self) -> Table {
        let mut rows = Rows::of(&self.jump);
        rows.phases(&self.phases, &self.jump);
        rows.add("memcached away", seconds(self.service_gap_seconds));
        rows.items(&self.items);
        rows.end(&self.frames, self.ok)
    }
}
