//! Why a source cannot be kept.

use super::SpecError;
use crate::nodes::NodeError;
use std::io;
use std::path::PathBuf;

/// Why a source cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The sources as they were asked for make no sense.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A path cannot be opened or read.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The pages are not memory, or not only memory.
    #[error("{path} lies on {filesystem}, which is not memory", path = .path.display())]
    NotMemory {
        /// The source.
        path: PathBuf,
        /// What it lies on.
        filesystem: String,
    },
    /// The source itself is neither a file nor a directory.
    #[error("{path} is a {kind}", path = .path.display())]
    NotFileOrDirectory {
        /// The source.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A directory was met twice: one source lies in another.
    #[error("{path} is already part of source {first:?}", path = .path.display())]
    Overlap {
        /// Where it was met again.
        path: PathBuf,
        /// The source that has it.
        first: String,
    },
    /// It cannot be part of a region.
    #[error("{what}: {source}")]
    Node {
        /// What.
        what: String,
        /// Why.
        source: NodeError,
    },
    /// A process or its descriptor.
    #[error("memfd:{pid}:{fd}: {what}: {source}")]
    Memfd {
        /// The process.
        pid: u32,
        /// Its descriptor.
        fd: u32,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A SysV segment.
    #[error("sysv:{id}: {what}: {source}")]
    Sysv {
        /// Its identifier.
        id: i32,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl SourceError {
    /// What to do instead, where that is known.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::NotMemory { .. } => Some(
                "a source must lie on tmpfs or hugetlbfs: copy it to /dev/shm or another tmpfs",
            ),
            Self::NotFileOrDirectory { .. } => Some("a source is a regular file or a directory"),
            Self::Overlap { .. } => Some("give each directory once"),
            Self::Sysv { .. } => Some("`ipcs -m` lists the segments of this IPC namespace"),
            Self::Memfd { .. } => Some("`ls -l /proc/PID/fd` lists a process's descriptors"),
            Self::Spec(_) | Self::Io { .. } | Self::Node { .. } => None,
        }
    }
}
