//! Where a region filesystem goes, and where in its head each kind of metadata lies.

use crate::layout::{
    BLOCKS_PER_GROUP, DESCRIPTORS_PER_BLOCK, FIRST_INODE, INODES_PER_BLOCK, MAX_INODES_PER_GROUP,
};
use crate::time::Timestamp;
use std::ops::Range;
use uuid::Uuid;

/// The volume label of every region filesystem.
pub const LABEL: &str = "pkram";

/// The blocks that a region offers, and what identifies it. Block numbers count blocks of
/// [`BLOCK`](crate::BLOCK) bytes from the region's start.
#[derive(Clone, Debug)]
pub struct Geometry {
    /// Blocks in the region.
    pub blocks: u64,
    /// The filesystem's UUID; all checksums begin with it.
    pub uuid: Uuid,
    /// When the filesystem was made.
    pub created: Timestamp,
    /// Blocks that no file may ever get: the heads of later spans. The bad-blocks inode owns them.
    pub bad: Vec<Range<u64>>,
    /// Blocks of the journal, 0 for none; Linux wants at least 1024 (`JBD2_MIN_JOURNAL_BLOCKS`).
    pub journal_blocks: u64,
    /// Inodes that stay free at least; some always do.
    pub free_inodes: u64,
    /// The first 1024 bytes of block 0, which ext4 leaves alone: the head of the first span.
    pub boot_area: [u8; 1024],
}

/// The first blocks of a region: everything whose place follows from the number of blocks and
/// inodes alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadMap {
    pub(crate) blocks: u64,
    pub(crate) groups: u64,
    pub(crate) inodes_per_group: u64,
    pub(crate) used_inodes: u64,
}

/// Why a region cannot carry a tree at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GeometryError {
    /// Too large.
    #[error("a region of {blocks} blocks is larger than the {max} whose group descriptors fit")]
    TooLarge {
        /// Blocks asked for.
        blocks: u64,
        /// Blocks possible.
        max: u64,
    },
    /// Too small for so many inodes.
    #[error(
        "{inodes} inodes need a region of at least {needed} blocks, this one has {blocks}; add \
         free blocks or keep fewer files in it"
    )]
    TooManyInodes {
        /// Inodes needed, free ones included.
        inodes: u64,
        /// Blocks in the region.
        blocks: u64,
        /// Blocks needed.
        needed: u64,
    },
}

impl HeadMap {
    /// The map of a region with `inodes` inodes from [`FIRST_INODE`] − 1 on.
    pub(crate) fn new(geometry: &Geometry, inodes: u64) -> Result<Self, GeometryError> {
        let blocks = geometry.blocks;
        // The descriptors stand in one run behind the superblock, within the first group.
        const MAX_GROUPS: u64 = (BLOCKS_PER_GROUP - 1) * DESCRIPTORS_PER_BLOCK;
        let groups = blocks.div_ceil(BLOCKS_PER_GROUP).max(1);
        if groups > MAX_GROUPS {
            return Err(GeometryError::TooLarge { blocks, max: MAX_GROUPS * BLOCKS_PER_GROUP });
        }
        let used_inodes = u64::from(FIRST_INODE) - 2 + inodes;
        // Some inodes stay free, so that the mounted filesystem can be written to.
        let wanted = used_inodes + (used_inodes / 16).max(256).max(geometry.free_inodes);
        let inodes_per_group = wanted.div_ceil(groups).next_multiple_of(INODES_PER_BLOCK);
        if inodes_per_group > MAX_INODES_PER_GROUP {
            let needed = wanted.div_ceil(MAX_INODES_PER_GROUP) * BLOCKS_PER_GROUP;
            return Err(GeometryError::TooManyInodes { inodes: wanted, blocks, needed });
        }
        Ok(Self { blocks, groups, inodes_per_group, used_inodes })
    }

    pub(crate) const fn inodes(&self) -> u64 {
        self.groups * self.inodes_per_group
    }

    /// Blocks of inode table that each group has.
    pub(crate) const fn table_blocks(&self) -> u64 {
        self.inodes_per_group / INODES_PER_BLOCK
    }

    pub(crate) const fn descriptor_blocks(&self) -> u64 {
        self.groups.div_ceil(DESCRIPTORS_PER_BLOCK)
    }

    pub(crate) const fn block_bitmap(&self, group: u64) -> u64 {
        1 + self.descriptor_blocks() + group
    }

    pub(crate) const fn inode_bitmap(&self, group: u64) -> u64 {
        self.block_bitmap(self.groups) + group
    }

    pub(crate) const fn inode_table(&self, group: u64) -> u64 {
        self.inode_bitmap(self.groups) + group * self.table_blocks()
    }

    /// The first block behind all inode tables.
    pub(crate) const fn end(&self) -> u64 {
        self.inode_table(self.groups)
    }

    /// The blocks of a group that the region has.
    pub(crate) fn group_blocks(&self, group: u64) -> Range<u64> {
        group * BLOCKS_PER_GROUP..self.blocks.min((group + 1) * BLOCKS_PER_GROUP)
    }

    /// How many of a group's inodes are in use; they are its first ones, because inodes are
    /// numbered without a gap.
    pub(crate) fn group_inodes(&self, group: u64) -> u64 {
        self.used_inodes.saturating_sub(group * self.inodes_per_group).min(self.inodes_per_group)
    }
}
