//! Hold and census: pins every page of every source file, and reads which page lies where.
//!
//! ```text
//! file ─► SEEK_DATA ranges ─► map ─► pin (io_uring) ─► pagemap ─► extents
//! ```
//!
//! Page frame numbers are read *after* pinning, because pinning moves pages out of movable zones.
//! A second, unpinned reading ([`Census::changes`]) is the last look before the jump.

mod file;
mod hold;
mod look;

pub use hold::{Hold, hold};
pub use look::Change;

use physmem::{PhysRange, RangeSet};
use std::io;
use std::path::{Path, PathBuf};

/// A run of file pages that is contiguous in the file and in physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageExtent {
    /// First page of the file, in units of 4 KiB.
    pub page: u64,
    /// Page frame number of it.
    pub pfn: u64,
    /// How many pages.
    pub len: u64,
}

/// Where one file lies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileCensus {
    /// Size in bytes.
    pub size: u64,
    /// Its data, ascending by page; what is missing is a hole.
    pub extents: Vec<PageExtent>,
}

/// Where all files lie, in the order of [`Sources::files`](crate::source::Sources::files).
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// One for each file.
    pub files: Vec<FileCensus>,
}

/// Why the sources cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum CensusError {
    /// A file cannot be opened, mapped or read.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program file that runs cannot be opened for writing, which pinning needs.
    #[error("{path} is being executed, so its pages cannot be pinned; stop the program first", path = .path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// io_uring is switched off.
    #[error(
        "io_uring is not allowed here ({source}), and pkram pins pages with it; \
         allow it for this boot with `sysctl kernel.io_uring_disabled=0`"
    )]
    NoIoUring {
        /// What the kernel said.
        source: io::Error,
    },
    /// The pages cannot be pinned.
    #[error("cannot pin {pages} pages, the first of them in {path}: {source}", path = .path.display())]
    Pin {
        /// The first file of the batch.
        path: PathBuf,
        /// How many pages were to be pinned.
        pages: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file changed while it was being read.
    #[error("{path} {change} while it was being read; stop what writes to it and try again", path = .path.display())]
    Unsteady {
        /// The file.
        path: PathBuf,
        /// How.
        change: Change,
    },
}

impl Census {
    /// All page frames that the files lie in.
    pub fn frames(&self) -> RangeSet {
        let extents = self.files.iter().flat_map(|f| &f.extents);
        extents.filter_map(|e| PhysRange::from_pfn(e.pfn, e.len).ok()).collect()
    }

    /// How many pages there are.
    pub fn pages(&self) -> u64 {
        self.files.iter().flat_map(|f| &f.extents).map(|e| e.len).sum()
    }

    /// How many extents there are.
    pub fn extents(&self) -> u64 {
        self.files.iter().map(|f| f.extents.len() as u64).sum()
    }
}

fn io_at<P: AsRef<Path> + ?Sized>(path: &P) -> impl Fn(io::Error) -> CensusError + '_ {
    move |source| CensusError::Io { path: path.as_ref().to_owned(), source }
}
