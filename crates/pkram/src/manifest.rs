//! `.pkram/manifest.json` in the region: who saved what, from where, under which plan.

use serde::{Deserialize, Serialize};

/// Version of the manifest's shape.
pub const VERSION: u32 = 1;

/// The manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`VERSION`].
    pub version: u32,
    /// The pkram that wrote it.
    pub pkram: String,
    /// The region's UUID.
    pub region: String,
    /// Seconds since 1970 when the region was composed.
    pub created: u64,
    /// Release of the kernel that the sources were saved under.
    pub old_kernel: String,
    /// Release of the kernel that was started, as its image says.
    pub next_kernel: Option<String>,
    /// The sources.
    pub sources: Vec<Source>,
    /// What the planner decided.
    pub plan: PlanFigures,
}

/// One source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its directory in the region.
    pub name: String,
    /// Where it was.
    pub path: String,
    /// What kind of source it was.
    pub kind: SourceKind,
}

/// Kinds of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// A file or tree on tmpfs.
    Tmpfs,
}

/// Figures of the plan, in bytes where nothing else is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanFigures {
    /// Regular files.
    pub files: u64,
    /// Extents of all files as the census found them.
    pub extents: u64,
    /// Preserved memory.
    pub preserved: u64,
    /// Of it, what the mover copies.
    pub moved: u64,
    /// Copies that the mover makes of preserved memory.
    pub moves: u64,
    /// The region filesystem's own blocks.
    pub metadata: u64,
    /// All spans together.
    pub region: u64,
    /// Physical ranges of the spans, inclusive, as in `/proc/iomem`.
    pub spans: Vec<String>,
    /// RAM that the next kernel has.
    pub ram_left: u64,
    /// What `pkram release` can give back while the system runs.
    pub returnable: u64,
}
