//! An ext4 filesystem composed around blocks that already hold the data, and the reader for it.
//!
//! 1. Composing copies no data: files are given as extents of region blocks, and only metadata
//!    come out, as a stream of blocks, packed at the region's start.
//! 2. What comes out is ext4 that `e2fsck` finds clean and stock Linux mounts, nothing of our own.
//! 3. The reader trusts no byte: whatever a region holds, it ends with a value or an error.
//! 4. Pure computation: no I/O but what callers hand in, no unsafe code.
//!
//! ```
//! use regionfs::{Attributes, Content, FileExtent, Geometry, Timestamp, Tree, Uuid, compose};
//! use regionfs::read::Filesystem;
//!
//! // Two pages of a file lie in blocks 700 and 701 of a region of 4 MiB.
//! let mut tree = Tree::new(Attributes { mode: 0o755, ..Attributes::default() })?;
//! let extents = vec![FileExtent { logical: 0, block: 700, len: 2 }];
//! let content = Content::File { size: 8000, extents: extents.clone() };
//! let file = tree.add_inode(Attributes { mode: 0o644, ..Attributes::default() }, content)?;
//! tree.link(tree.root(), b"cache", file)?;
//!
//! let geometry = Geometry {
//!     blocks: 1024,
//!     uuid: Uuid::from_u128(1),
//!     created: Timestamp { secs: 1_790_000_000, nanos: 0 },
//!     bad: Vec::new(),
//!     journal_blocks: 0,
//!     free_inodes: 0,
//!     boot_area: [0; 1024],
//! };
//! let image = compose(tree, geometry)?;
//! let mut region = vec![0; 4 << 20];
//! image.write_metadata(&mut |block, bytes| {
//!     let at = usize::try_from(block).map_err(std::io::Error::other)? * 4096;
//!     region[at..at + 4096].copy_from_slice(bytes);
//!     Ok(())
//! })?;
//!
//! let read = |offset: u64, buf: &mut [u8]| {
//!     let at = usize::try_from(offset).map_err(std::io::Error::other)?;
//!     buf.copy_from_slice(&region[at..at + buf.len()]);
//!     Ok(())
//! };
//! let fs = Filesystem::open(read, 1024)?;
//! assert!(fs.verify()?.is_empty());
//! let inode = fs.lookup(b"/cache")?;
//! assert_eq!(fs.file(&inode)?.extents()[0].extent, extents[0]);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

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
mod journal;
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
pub use tree::{Attributes, Content, Mark, NodeId, Tree, TreeError};
pub use uuid::Uuid;
pub use write::BlockSink;
pub use xattr::{Xattr, XattrError};
