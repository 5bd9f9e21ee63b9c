//! Reading a region filesystem, whose every byte may lie.
//!
//! | level of trust | type | constructor |
//! |---|---|---|
//! | alleged: bytes that were found | `Raw…` structures | the reader handed in |
//! | well-formed: checksum right, numbers in range | [`Superblock`], [`Inode`], [`DirEntry`], … | one each, here |
//! | whole: nothing contradicts anything else | an empty list of [`Problem`]s | [`Filesystem::verify`] |
//!
//! Well-formed does not mean consistent: two files may still claim one block. Reading stays safe
//! then (it ends, and it stays within the region), but only a whole filesystem is worth its data.

mod directory;
mod error;
mod extents;
mod file;
#[cfg(test)]
mod forge;
#[cfg(test)]
mod fuzz;
mod group;
mod inode;
mod superblock;
mod verify;
mod walk;
mod xattrs;

pub use directory::DirEntry;
pub use error::{Problem, ReadError};
pub use extents::MappedExtent;
pub use file::FileData;
pub use inode::{Inode, Kind};
pub use superblock::Superblock;
pub use walk::Visit;

use crate::checksum::Sum;
use crate::layout::{BLOCK, BLOCK64, Block};
use std::io;

/// Where a region's bytes come from.
pub trait ReadAt {
    /// Fills `buf` with the bytes from `offset` (in bytes from the region's start) on.
    ///
    /// # Errors
    /// What reading meets, the region's end among it.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
}

impl<F: Fn(u64, &mut [u8]) -> io::Result<()>> ReadAt for F {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self(offset, buf)
    }
}

/// A region filesystem with a well-formed superblock.
#[derive(Debug)]
pub struct Filesystem<R> {
    reader: R,
    superblock: Superblock,
    seed: Sum,
}

impl<R: ReadAt> Filesystem<R> {
    /// Reads and checks the superblock of the region of `blocks` blocks behind `reader`.
    ///
    /// # Errors
    /// A superblock that is damaged, of another kind of filesystem, or with features that no
    /// region filesystem has.
    pub fn open(reader: R, blocks: u64) -> Result<Self, ReadError> {
        let superblock = Superblock::read(&reader, blocks)?;
        let seed = Sum::of_filesystem(superblock.uuid.as_bytes());
        Ok(Self { reader, superblock, seed })
    }

    /// Where its bytes come from.
    pub const fn reader(&self) -> &R {
        &self.reader
    }

    /// The superblock.
    pub const fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// The bytes of one block, which must lie in the filesystem.
    fn block(&self, number: u64, who: impl FnOnce() -> String) -> Result<Box<Block>, ReadError> {
        if number >= self.superblock.blocks {
            let found = format!("block {number}");
            return Err(Problem::new(who(), self.superblock.below_end(), found).into());
        }
        let mut block = Box::new([0; BLOCK]);
        self.bytes(number * BLOCK64, &mut block[..])?;
        Ok(block)
    }

    fn bytes(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        self.reader.read_at(offset, buf).map_err(|source| ReadError::Io { offset, source })
    }
}
