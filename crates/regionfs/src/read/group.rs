//! Group descriptors: where a group's bitmaps and inodes are.

use super::{Filesystem, Problem, ReadAt, ReadError};
use crate::checksum;
use crate::layout::{
    BLOCK64, BLOCKS_PER_GROUP, Block, DESCRIPTOR, INODES_PER_BLOCK, MAX_INODES_PER_GROUP,
    RawDescriptor, group_flag, index, join16, join32, lo32, zeroed,
};
use std::ops::Range;
use zerocopy::IntoBytes;

/// A group descriptor with the right checksum, whose parts lie in the filesystem.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) number: u64,
    pub(super) block_bitmap: u64,
    pub(super) inode_bitmap: u64,
    /// First block of the inode table.
    pub(super) inode_table: u64,
    pub(super) free_blocks: u32,
    pub(super) free_inodes: u32,
    pub(super) directories: u32,
    pub(super) unused_inodes: u32,
    /// The bitmaps were written at least once.
    pub(super) has_block_bitmap: bool,
    pub(super) has_inodes: bool,
    block_bitmap_sum: u32,
    inode_bitmap_sum: u32,
}

impl<R: ReadAt> Filesystem<R> {
    /// The one way to a well-formed descriptor.
    pub(super) fn group(&self, number: u64) -> Result<Group, ReadError> {
        let mut raw: RawDescriptor = zeroed();
        self.bytes(BLOCK64 + number * DESCRIPTOR as u64, raw.as_mut_bytes())?;
        let place = format!("the descriptor of group {number}");
        let sum = checksum::descriptor(self.seed, lo32(number).get(), &raw);
        if sum != raw.checksum {
            return Err(
                Problem::checksum(place, sum.get().into(), raw.checksum.get().into()).into()
            );
        }
        let group = Group {
            number,
            block_bitmap: join32(raw.block_bitmap_lo, raw.block_bitmap_hi),
            inode_bitmap: join32(raw.inode_bitmap_lo, raw.inode_bitmap_hi),
            inode_table: join32(raw.inode_table_lo, raw.inode_table_hi),
            free_blocks: join16(raw.free_blocks_lo, raw.free_blocks_hi),
            free_inodes: join16(raw.free_inodes_lo, raw.free_inodes_hi),
            directories: join16(raw.directories_lo, raw.directories_hi),
            unused_inodes: join16(raw.unused_inodes_lo, raw.unused_inodes_hi),
            has_block_bitmap: raw.flags.get() & group_flag::BLOCK_UNINIT == 0,
            has_inodes: raw.flags.get() & group_flag::INODE_UNINIT == 0,
            block_bitmap_sum: join16(raw.block_bitmap_sum_lo, raw.block_bitmap_sum_hi),
            inode_bitmap_sum: join16(raw.inode_bitmap_sum_lo, raw.inode_bitmap_sum_hi),
        };
        let ends = [group.block_bitmap, group.inode_bitmap, group.inode_table];
        let lens = [1, 1, self.table_blocks()];
        for (start, len) in ends.into_iter().zip(lens) {
            if start.checked_add(len).is_none_or(|end| end > self.superblock.blocks) {
                let expected = self.superblock.below_end();
                return Err(Problem::new(place, expected, format!("{len} from {start} on")).into());
            }
        }
        Ok(group)
    }

    /// Blocks of inode table that each group has.
    pub(super) fn table_blocks(&self) -> u64 {
        u64::from(self.superblock.inodes_per_group) / INODES_PER_BLOCK
    }

    /// The blocks that a group is made of.
    pub(super) fn group_blocks(&self, number: u64) -> Range<u64> {
        number * BLOCKS_PER_GROUP..self.superblock.blocks.min((number + 1) * BLOCKS_PER_GROUP)
    }

    pub(super) fn block_bitmap(&self, group: &Group) -> Result<Box<Block>, ReadError> {
        let place = || format!("the block bitmap of group {}", group.number);
        let bitmap = self.block(group.block_bitmap, place)?;
        let sum = self.seed.over(&bitmap[..]).value();
        if sum != group.block_bitmap_sum {
            return Err(Problem::checksum(place(), sum, group.block_bitmap_sum).into());
        }
        Ok(bitmap)
    }

    /// An inode bitmap; that of a group whose inodes were never used is empty.
    pub(super) fn inode_bitmap(&self, group: &Group) -> Result<Box<Block>, ReadError> {
        if !group.has_inodes {
            return Ok(Box::new([0; crate::layout::BLOCK]));
        }
        let place = || format!("the inode bitmap of group {}", group.number);
        let bitmap = self.block(group.inode_bitmap, place)?;
        let used = index(self.superblock.inodes_per_group.into()) / 8;
        let sum = self.seed.over(&bitmap[..used]).value();
        if sum != group.inode_bitmap_sum {
            return Err(Problem::checksum(place(), sum, group.inode_bitmap_sum).into());
        }
        // The rest has no checksum. `mke2fs` and Linux keep it set.
        if bitmap[used..index(MAX_INODES_PER_GROUP / 8)].iter().any(|&byte| byte != 0xff) {
            return Err(Problem::new(place(), "set bits past the last inode", "a zero").into());
        }
        Ok(bitmap)
    }
}
