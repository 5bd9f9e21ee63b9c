//! An ext4 filesystem composed around blocks that already hold the data, and the reader for it.
//!
//! 1. Composing copies no data: files are given as extents of region blocks, and only metadata
//!    come out, as a stream of blocks, packed at the region's start.
//! 2. What comes out is ext4 that `e2fsck` finds clean and stock Linux mounts, nothing of our own.
//! 3. The reader trusts no byte: whatever a region holds, it ends with a value or an error.
//! 4. Pure computation: no I/O but what callers hand in, no unsafe code.

#![forbid(unsafe_code)]

mod acl;
mod bitmap;
mod checksum;
mod compose;
mod directory;
mod dirhash;
mod extents;
mod geometry;
mod inode;
mod layout;
pub mod read;
pub mod synthetic;
mod time;
mod tree;
mod write;
mod xattr;

pub use compose::{ComposeError, Figures, RegionImage, compose, head_blocks};
pub use extents::FileExtent;
pub use geometry::{Geometry, GeometryError, LABEL};
pub use layout::BLOCK;
pub use time::Timestamp;
pub use tree::{Attributes, Content, NodeId, Tree, TreeError};
pub use uuid::Uuid;
pub use write::BlockSink;
pub use xattr::{Xattr, XattrError};
