//! Hold and census: takes every page of every object, and reads which page lies where.
//!
//! ```text
//! object ─► files ─► parts with data ─┬─► map ─► hold (pin, reference) ─► pagemap ─► extents
//!           view.rs                   └─► … on every processor    grip.rs   frames.rs
//! ```
//!
//! Page frame numbers are read *after* pinning, because pinning moves pages out of movable zones.
//! [`Census::changes`] is the last look before the jump.

mod frames;
mod grip;
mod hold;
mod look;
mod stamp;
mod units;
mod view;

pub use hold::{Held, Hold, Manner, hold};
pub use look::Change;

use crate::nodes::Save;
use physmem::{FrameSet, PAGE_SIZE, PhysRange};
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
    /// Bytes in a page: 4 KiB, or that of its hugetlbfs.
    pub page: u64,
    /// Its data, ascending by page; what is missing is a hole.
    pub extents: Vec<PageExtent>,
    /// What `stat(2)` said of its files after that.
    stamps: Vec<stamp::Stamp>,
}

/// Where all objects lie, in the order of the save.
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
    /// io_uring does not work, for another reason than that it is forbidden.
    #[error("io_uring, which pins pages: {source}")]
    Pins {
        /// What the kernel said.
        source: io::Error,
    },
    /// The pages cannot be held.
    #[error("cannot hold {pages} pages of {path}: {source}", path = .path.display())]
    Hold {
        /// The object.
        path: PathBuf,
        /// How many pages were to be held.
        pages: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// Two objects have the same page.
    #[error(
        "{first} and {second} have the same memory, at page frame {pfn:#x}",
        first = .first.display(), second = .second.display()
    )]
    Shared {
        /// One of them.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// The first page that both have.
        pfn: u64,
    },
    /// A file changed while it was being read.
    #[error("{path} {change} while it was being read", path = .path.display())]
    Unsteady {
        /// The file.
        path: PathBuf,
        /// How.
        change: Change,
    },
}

impl Census {
    /// All page frames that the files lie in.
    pub fn frames(&self) -> FrameSet {
        let extents = self.files.iter().flat_map(|f| &f.extents);
        extents.filter_map(|e| PhysRange::from_pfn(e.pfn, e.len).ok()).collect()
    }

    /// How many pages there are.
    pub fn pages(&self) -> u64 {
        self.files.iter().flat_map(|f| &f.extents).map(|e| e.len).sum()
    }

    /// Refuses page frames that are in two objects: a block belongs to one file.
    fn refuse_shared(&self, save: &Save) -> Result<(), CensusError> {
        if self.frames().bytes() == self.pages() * PAGE_SIZE {
            return Ok(());
        }
        let extents = |(i, file): (usize, &FileCensus)| {
            file.extents.iter().map(move |e| (e.pfn, e.len, i)).collect::<Vec<_>>()
        };
        let mut all: Vec<_> = self.files.iter().enumerate().flat_map(extents).collect();
        all.sort_unstable();
        let twice = all.windows(2).find(|pair| pair[0].0 + pair[0].1 > pair[1].0);
        let Some([(_, _, first), (pfn, _, second)]) = twice else { return Ok(()) };
        let path = |i: &usize| save.path_of(&save.files[*i]);
        Err(CensusError::Shared { first: path(first), second: path(second), pfn: *pfn })
    }

    /// How many extents there are.
    pub fn extents(&self) -> u64 {
        self.files.iter().map(|f| f.extents.len() as u64).sum()
    }
}

fn io_at<P: AsRef<Path> + ?Sized>(path: &P) -> impl Fn(io::Error) -> CensusError + '_ {
    move |source| CensusError::Io { path: path.as_ref().to_owned(), source }
}
