//! Why something cannot be part of a save.

use regionfs::TreeError;
use std::io;

/// Why something cannot be part of a save.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The name cannot be a directory in the region.
    #[error(
        "name {name:?} {why}; a name has 1 to 255 bytes, no '/', and is none of \
         \".\", \"..\", \".pkram\", \"lost+found\""
    )]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The region filesystem cannot take it.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Private memory has no file that could be kept.
    #[error(
        "memory at {address:#x} is {what}, which ends with its process; pkram keeps the pages of \
         files in memory: get the memory with memfd_create(2), or from a file on tmpfs or \
         hugetlbfs, and map it with MAP_SHARED"
    )]
    Private {
        /// The first such address.
        address: u64,
        /// What is mapped there.
        what: String,
    },
    /// Pages are taken whole.
    #[error(
        "memory at {address:#x}, {len:#x} bytes long, does not begin on a page of {page:#x} bytes \
         or does not follow whole pages; give whole pages"
    )]
    Unaligned {
        /// Where it begins.
        address: u64,
        /// Bytes.
        len: u64,
        /// Bytes in a page of it.
        page: u64,
    },
    /// Shared, but not from memory.
    #[error(
        "{what} lies on {filesystem}; pkram keeps memory: files on tmpfs or hugetlbfs, memfds, SysV segments"
    )]
    NotMemory {
        /// What it is.
        what: String,
        /// What it lies on.
        filesystem: String,
    },
    /// The byte stream of an object is for what is small.
    #[error("object {object:?}: more than {limit} bytes in its byte stream; put them into pages")]
    ManyBytes {
        /// The object.
        object: String,
        /// What is possible.
        limit: usize,
    },
    /// The system did not let us look.
    #[error("{what}: {source}")]
    Io {
        /// Where.
        what: String,
        /// Why.
        source: io::Error,
    },
}
