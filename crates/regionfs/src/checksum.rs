//! CRC-32C as ext4 takes it: without the final inversion, and chained from a seed.
//!
//! | what | seed | over |
//! |---|---|---|
//! | superblock | all ones | its first 1020 bytes |
//! | descriptor | filesystem | group number, descriptor with a zero sum; low 16 bits |
//! | bitmap | filesystem | the bits that the group has |
//! | inode | inode | the inode with a zero sum |
//! | extent block, directory block | inode | all before the sum |
//! | xattr block | filesystem | block number (64 bits), block with a zero sum |
//!
//! The filesystem's seed is the sum of its UUID; an inode's goes on over its number and generation
//! (`fs/ext4/ext4.h` `ext4_chksum`, `fs/ext4/inode.c` `ext4_inode_csum_set`).

use crate::layout::{
    BLOCK, Block, EXTENT_TAIL, INODE, OLD_INODE, RawDescriptor, RawSuperblock, SUPERBLOCK_AT,
};
use zerocopy::IntoBytes;
use zerocopy::little_endian::U16;

/// A running sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sum(u32);

impl Sum {
    pub(crate) const START: Self = Self(!0);

    pub(crate) fn over(self, bytes: &[u8]) -> Self {
        Self(!crc32c::crc32c_append(!self.0, bytes))
    }

    pub(crate) const fn value(self) -> u32 {
        self.0
    }

    /// The seed of a filesystem.
    pub(crate) fn of_filesystem(uuid: &[u8; 16]) -> Self {
        Self::START.over(uuid)
    }

    /// The seed of an inode, from its filesystem's.
    pub(crate) fn of_inode(self, number: u32, generation: u32) -> Self {
        self.over(&number.to_le_bytes()).over(&generation.to_le_bytes())
    }
}

pub(crate) fn superblock(raw: &RawSuperblock) -> u32 {
    let bytes = raw.as_bytes();
    Sum::START.over(&bytes[..SUPERBLOCK_AT - 4]).value()
}

pub(crate) fn descriptor(filesystem: Sum, group: u32, raw: &RawDescriptor) -> U16 {
    let mut raw = raw.clone();
    raw.checksum = U16::ZERO;
    crate::layout::lo16(filesystem.over(&group.to_le_bytes()).over(raw.as_bytes()).value())
}

/// The sum of an inode, whose `bytes` hold two sum fields that count as zero.
pub(crate) fn inode(seed: Sum, bytes: &[u8; INODE]) -> u32 {
    const LO: usize = 0x7c;
    const HI: usize = OLD_INODE + 2;
    seed.over(&bytes[..LO])
        .over(&[0; 2])
        .over(&bytes[LO + 2..HI])
        .over(&[0; 2])
        .over(&bytes[HI + 2..])
        .value()
}

pub(crate) fn extent_block(seed: Sum, block: &Block) -> u32 {
    seed.over(&block[..EXTENT_TAIL]).value()
}

/// The sum of a directory block that ends in a checksum record.
pub(crate) fn directory_block(seed: Sum, block: &Block) -> u32 {
    seed.over(&block[..BLOCK - crate::layout::DIRENT_TAIL]).value()
}

/// The sum of a hash tree block with its list's head at byte `list` and room for `limit` entries,
/// `count` of which are used (`ext4_dx_csum`: the rest between count and limit is not covered).
pub(crate) fn hash_tree_block(
    seed: Sum,
    block: &Block,
    list: usize,
    count: usize,
    limit: usize,
) -> u32 {
    let tail = list + 8 * limit;
    seed.over(&block[..list + 8 * count]).over(&block[tail..tail + 4]).over(&[0; 4]).value()
}

pub(crate) fn xattr_block(filesystem: Sum, number: u64, block: &Block) -> u32 {
    const AT: usize = 0x10;
    filesystem
        .over(&number.to_le_bytes())
        .over(&block[..AT])
        .over(&[0; 4])
        .over(&block[AT + 4..])
        .value()
}
