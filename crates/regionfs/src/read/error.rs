//! What can be wrong with a filesystem that is read.

use std::fmt;
use std::io;

/// One thing that is wrong: where, what should stand there, and what does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The structure, with its number.
    pub place: String,
    /// What a whole filesystem has there.
    pub expected: String,
    /// What this one has.
    pub found: String,
}

impl Problem {
    pub(crate) fn new(
        place: impl Into<String>,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        Self { place: place.into(), expected: expected.to_string(), found: found.to_string() }
    }

    /// A checksum that is not right.
    pub(crate) fn checksum(place: impl Into<String>, expected: u32, found: u32) -> Self {
        Self::new(place, format_args!("checksum {expected:#x}"), format_args!("{found:#x}"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}", self.place, self.expected, self.found)
    }
}

/// Why reading failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The region could not be read.
    #[error("cannot read at byte {offset} of the region")]
    Io {
        /// Bytes from the region's start.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// What was read is not well-formed.
    #[error("{0}; run a verify, and keep the region as it is")]
    Damaged(Problem),
    /// Well-formed, but nothing that composing makes and Linux keeps that way.
    #[error("{place} has {what}, which no region filesystem has")]
    Unsupported {
        /// The structure, with its number.
        place: String,
        /// What it has.
        what: String,
    },
    /// No such name.
    #[error("there is no {name:?} in inode {directory}")]
    NotFound {
        /// The directory's inode.
        directory: u32,
        /// The name.
        name: String,
    },
    /// Asked of the wrong kind of inode.
    #[error("inode {inode} is no {kind}")]
    WrongKind {
        /// The inode.
        inode: u32,
        /// What was expected.
        kind: &'static str,
    },
}

impl From<Problem> for ReadError {
    fn from(problem: Problem) -> Self {
        Self::Damaged(problem)
    }
}
