//! `.pkram/manifest.json` in the region: who saved what, from where, under which plan.

use crate::census::Held;
use crate::picture::Picture;
use serde::{Deserialize, Serialize};
use std::fmt;

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
    /// How memory lay then, and what was to become of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<Picture>,
}

/// One node, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its directory in the region.
    pub name: String,
    /// Where it comes from.
    #[serde(flatten)]
    pub origin: Origin,
}

/// Where a node comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Origin {
    /// A file or tree on tmpfs.
    Tmpfs {
        /// Where it was.
        path: String,
        /// Whether that is a file, which is alone in the node's directory then.
        #[serde(default)]
        file: bool,
    },
    /// A file or tree on hugetlbfs.
    Hugetlbfs {
        /// Where it was.
        path: String,
        /// Whether that is a file, which is alone in the node's directory then.
        #[serde(default)]
        file: bool,
        /// Bytes in a page.
        page: u64,
    },
    /// A memfd of a process.
    Memfd(MemfdOrigin),
    /// A SysV segment.
    Sysv(SysvOrigin),
    /// A program, through the library.
    Program,
}

/// What a memfd was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemfdOrigin {
    /// The process that had it.
    pub pid: u32,
    /// Its descriptor there.
    pub fd: u32,
    /// That process's name (`/proc/PID/comm`).
    pub process: String,
    /// The name given to `memfd_create(2)`.
    pub memfd: String,
    /// Bytes.
    pub size: u64,
    /// Its seals, as `fcntl(2)` names them without `F_SEAL_`, in lower case.
    pub seals: Vec<String>,
    /// Where in the file the descriptor stood.
    pub offset: u64,
}

/// What a segment was (`shmctl(2)`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SysvOrigin {
    /// Its identifier.
    pub id: i32,
    /// Its key; 0 for a private one.
    pub key: i32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permissions.
    pub mode: u16,
    /// Bytes.
    pub size: u64,
    /// How many had it attached.
    pub attached: u64,
    /// Bytes in a page of it.
    pub page: u64,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tmpfs { path, .. } | Self::Hugetlbfs { path, .. } => f.write_str(path),
            Self::Memfd(m) => {
                write!(f, "memfd {:?} of {} ({}:{})", m.memfd, m.process, m.pid, m.fd)
            }
            Self::Sysv(s) => write!(f, "SysV segment {} with key {:#x}", s.id, s.key),
            Self::Program => f.write_str("a program"),
        }
    }
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
    /// How its pages were held.
    #[serde(default)]
    pub held: Held,
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
    /// RAM that `pkram restore` takes at most besides the region, as it gives back span by span.
    #[serde(default)]
    pub copy_room: u64,
}
