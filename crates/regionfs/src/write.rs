//! Writing the head: every block of it once, in ascending order, nothing else.

use crate::bitmap::set_bits;
use crate::checksum::{self, Sum};
use crate::compose::RegionImage;
use crate::geometry::LABEL;
use crate::layout::{
    BLOCK, BLOCKS_PER_GROUP, Block, DESCRIPTOR, DESCRIPTORS_PER_BLOCK, EXTRA_ISIZE, FIRST_INODE,
    INODE, INODES_PER_BLOCK, MAX_INODES_PER_GROUP, ROOT_INODE, RawDescriptor, RawSuperblock,
    STATE_CLEAN, SUPER_MAGIC, SUPERBLOCK_AT, feature, group_flag, hi16, hi32, index, lo16, lo32,
    zeroed,
};
use crate::tree::{Body, NodeId};
use std::io;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

/// Takes a block's number and its bytes.
pub type BlockSink<'a> = dyn FnMut(u64, &[u8; BLOCK]) -> io::Result<()> + 'a;

/// Numbers the blocks that go by.
struct Writer<'a, 'b> {
    next: u64,
    sink: &'a mut BlockSink<'b>,
}

impl Writer<'_, '_> {
    fn put(&mut self, block: &Block) -> io::Result<()> {
        (self.sink)(self.next, block)?;
        self.next += 1;
        Ok(())
    }
}

impl RegionImage {
    /// Hands every block of the head to `sink`, ascending from block 0 to
    /// [`head_blocks`](Self::head_blocks) − 1. Data blocks are not touched.
    ///
    /// # Errors
    /// What `sink` returns.
    pub fn write_metadata(&self, sink: &mut BlockSink<'_>) -> io::Result<()> {
        let filesystem = Sum::of_filesystem(self.geometry.uuid.as_bytes());
        let mut out = Writer { next: 0, sink };
        out.put(&self.block_zero())?;
        self.write_descriptors(filesystem, &mut out)?;
        for group in 0..self.map.groups {
            out.put(&self.usage.bitmap(self.map.group_blocks(group)).0)?;
        }
        for group in 0..self.map.groups {
            out.put(&self.inode_bitmap(group))?;
        }
        for table in 0..self.map.groups * self.map.table_blocks() {
            let mut block = [0; BLOCK];
            for (slot, number) in block.chunks_exact_mut(INODE).zip(table * INODES_PER_BLOCK + 1..)
            {
                slot.copy_from_slice(&self.inode(filesystem, number));
            }
            out.put(&block)?;
        }
        let bad_seed = filesystem.of_inode(crate::layout::BAD_BLOCKS_INODE, 0);
        self.bad_blocks_tree().write(bad_seed, &mut |block| out.put(block))?;
        self.write_journal(filesystem, |block| out.put(block))?;
        for id in (0..).map(NodeId).take(self.tree.nodes.len()) {
            debug_assert_eq!(out.next, self.own[id.index()]);
            self.write_own(filesystem, id, &mut out)?;
        }
        debug_assert_eq!(out.next, self.head_blocks());
        Ok(())
    }

    /// The boot area and the superblock.
    fn block_zero(&self) -> Block {
        let figures = self.figures();
        let mut raw: RawSuperblock = zeroed();
        // HeadMap::new keeps inode numbers within 32 bits.
        raw.inodes = lo32(figures.inodes);
        (raw.blocks_lo, raw.blocks_hi) = (lo32(figures.blocks), hi32(figures.blocks));
        (raw.free_blocks_lo, raw.free_blocks_hi) =
            (lo32(figures.free_blocks), hi32(figures.free_blocks));
        raw.free_inodes = lo32(figures.free_inodes);
        raw.overhead = lo32(self.map.end() + self.geometry.journal_blocks);
        raw.log_block_size = U32::new(2);
        raw.log_cluster_size = U32::new(2);
        raw.blocks_per_group = lo32(BLOCKS_PER_GROUP);
        raw.clusters_per_group = lo32(BLOCKS_PER_GROUP);
        raw.inodes_per_group = lo32(self.map.inodes_per_group);
        raw.max_mounts = U16::MAX_VALUE;
        raw.magic = U16::new(SUPER_MAGIC);
        raw.state = U16::new(STATE_CLEAN);
        // Remount read-only: what is damaged shall not be damaged further.
        raw.on_errors = U16::new(2);
        raw.revision = U32::new(1);
        raw.first_inode = U32::new(FIRST_INODE);
        raw.inode_size = lo16(lo32(INODE as u64).get());
        raw.compat = U32::new(feature::COMPAT);
        raw.incompat = U32::new(feature::INCOMPAT);
        raw.ro_compat = U32::new(feature::RO);
        raw.uuid = *self.geometry.uuid.as_bytes();
        raw.label[..LABEL.len()].copy_from_slice(LABEL.as_bytes());
        raw.hash_seed = crate::compose::hash_seed(&self.geometry).map(U32::new);
        raw.hash_version = crate::dirhash::HALF_MD4;
        raw.descriptor_size = lo16(lo32(DESCRIPTOR as u64).get());
        // User extended attributes and ACLs (`EXT4_DEFM_XATTR_USER`, `EXT4_DEFM_ACL`).
        raw.mount_options = U32::new(0xc);
        // The superblock's times have 8 more bits, taken together one unsigned number.
        let made = u64::try_from(self.geometry.created.secs).unwrap_or(0);
        (raw.made_time, raw.write_time, raw.last_check) = (lo32(made), lo32(made), lo32(made));
        let [made_hi, ..] = hi32(made).get().to_le_bytes();
        // In order: write, mount, made, last check.
        raw.times_hi[..4].copy_from_slice(&[made_hi, 0, made_hi, made_hi]);
        raw.min_extra_isize = U16::new(EXTRA_ISIZE);
        raw.want_extra_isize = U16::new(EXTRA_ISIZE);
        raw.flags = U32::new(2);
        raw.log_groups_per_flex = 4;
        raw.checksum_type = 1;
        self.note_journal(&mut raw);
        raw.checksum = U32::new(checksum::superblock(&raw));
        let mut block = [0; BLOCK];
        block[..SUPERBLOCK_AT].copy_from_slice(&self.geometry.boot_area);
        block[SUPERBLOCK_AT..][..size_of::<RawSuperblock>()].copy_from_slice(raw.as_bytes());
        block
    }

    fn write_descriptors(&self, filesystem: Sum, out: &mut Writer<'_, '_>) -> io::Result<()> {
        let directories = self.directories_by_group();
        let groups: Vec<_> = (0..self.map.groups).collect();
        for chunk in groups.chunks(index(DESCRIPTORS_PER_BLOCK)) {
            let mut block = [0; BLOCK];
            for (slot, &group) in block.chunks_exact_mut(DESCRIPTOR).zip(chunk) {
                let raw = self.descriptor(filesystem, group, directories[index(group)]);
                slot.copy_from_slice(raw.as_bytes());
            }
            out.put(&block)?;
        }
        Ok(())
    }

    fn directories_by_group(&self) -> Vec<u32> {
        let mut directories = vec![0; index(self.map.groups)];
        for (id, _) in (0..).map(NodeId).zip(&self.tree.nodes).filter(|(_, n)| n.is_directory()) {
            let group = u64::from(id.inode() - 1) / self.map.inodes_per_group;
            directories[index(group)] += 1;
        }
        directories
    }

    fn descriptor(&self, filesystem: Sum, group: u64, directories: u32) -> RawDescriptor {
        let map = &self.map;
        let blocks = map.group_blocks(group);
        let (bitmap, used) = self.usage.bitmap(blocks.clone());
        let free_blocks = lo32(blocks.end - blocks.start - used).get();
        let free_inodes = lo32(map.inodes_per_group - map.group_inodes(group)).get();
        let block_sum = filesystem.over(&bitmap).value();
        let inode_bits = &self.inode_bitmap(group)[..index(map.inodes_per_group / 8)];
        let inode_sum = filesystem.over(inode_bits).value();
        let mut raw = RawDescriptor {
            block_bitmap_lo: lo32(map.block_bitmap(group)),
            block_bitmap_hi: hi32(map.block_bitmap(group)),
            inode_bitmap_lo: lo32(map.inode_bitmap(group)),
            inode_bitmap_hi: hi32(map.inode_bitmap(group)),
            inode_table_lo: lo32(map.inode_table(group)),
            inode_table_hi: hi32(map.inode_table(group)),
            free_blocks_lo: lo16(free_blocks),
            free_blocks_hi: hi16(free_blocks),
            free_inodes_lo: lo16(free_inodes),
            free_inodes_hi: hi16(free_inodes),
            directories_lo: lo16(directories),
            directories_hi: hi16(directories),
            flags: U16::new(group_flag::TABLE_ZEROED),
            block_bitmap_sum_lo: lo16(block_sum),
            block_bitmap_sum_hi: hi16(block_sum),
            inode_bitmap_sum_lo: lo16(inode_sum),
            inode_bitmap_sum_hi: hi16(inode_sum),
            // The inodes in use are the first ones, so that the free ones were never used.
            unused_inodes_lo: lo16(free_inodes),
            unused_inodes_hi: hi16(free_inodes),
            ..zeroed()
        };
        raw.checksum = checksum::descriptor(filesystem, lo32(group).get(), &raw);
        raw
    }

    fn inode_bitmap(&self, group: u64) -> Block {
        let mut bitmap = [0; BLOCK];
        set_bits(&mut bitmap, 0..self.map.group_inodes(group));
        set_bits(&mut bitmap, self.map.inodes_per_group..MAX_INODES_PER_GROUP);
        bitmap
    }

    /// The blocks that only this inode has.
    fn write_own(&self, filesystem: Sum, id: NodeId, out: &mut Writer<'_, '_>) -> io::Result<()> {
        let node = self.node(id);
        let places = self.places(id);
        let seed = filesystem.of_inode(id.inode(), 0);
        if let Some(block) = self.tree.stored_xattrs(node).and_then(|x| x.block.as_deref()) {
            let mut block = *block;
            let sum = checksum::xattr_block(filesystem, out.next, &block);
            block[0x10..0x14].copy_from_slice(&sum.to_le_bytes());
            out.put(&block)?;
        }
        match node.body {
            Body::Directory => self.directory(id).write(seed, &mut |block| out.put(block))?,
            Body::Bytes { start, len } | Body::Symlink { start, len }
                if !places.runs.is_empty() =>
            {
                for chunk in self.tree.bytes[start..start + len].chunks(BLOCK) {
                    let mut block = [0; BLOCK];
                    block[..chunk.len()].copy_from_slice(chunk);
                    out.put(&block)?;
                }
            }
            _ => {}
        }
        places.extent_tree().write(seed, &mut |block| out.put(block))
    }
}

/// The root directory's inode is the first node's.
const _: () = assert!(ROOT_INODE == NodeId::of_inode(ROOT_INODE).inode());
