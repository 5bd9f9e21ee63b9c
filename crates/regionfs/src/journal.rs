//! An empty journal: with it, mounting makes a filesystem consistent that nobody unmounted.
//!
//! ```text
//! [bad-blocks tree][journal superblock][zeros …][journal's extent tree][own blocks of inodes]
//! ```
//!
//! Inode 8 owns it. Regions that are saved have none: whoever mounts them finds them whole, and its
//! blocks would be metadata that the mover has to write. `struct journal_superblock_s`:
//! `include/linux/jbd2.h`; its numbers are big-endian.

use crate::compose::RegionImage;
use crate::extents::{ExtentTree, FileExtent, Run};
use crate::layout::{BLOCK, BLOCK64, Block, JOURNAL_INODE, RawSuperblock};
use std::io;
use zerocopy::IntoBytes;
use zerocopy::big_endian::U32 as Be32;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// `JBD2_MAGIC_NUMBER`.
pub(crate) const MAGIC: u32 = 0xc03b_3998;
/// `JBD2_SUPERBLOCK_V2`.
pub(crate) const SUPERBLOCK_V2: u32 = 4;

/// The beginning of the journal's superblock; what follows is zero in an empty one.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawJournal {
    pub(crate) magic: Be32,
    pub(crate) block_type: Be32,
    header_sequence: Be32,
    pub(crate) block_size: Be32,
    /// Blocks in the journal, this one among them.
    pub(crate) blocks: Be32,
    /// First block of the log.
    first: Be32,
    /// First transaction expected in the log.
    sequence: Be32,
    /// Block where the log begins; 0: there is nothing in it.
    start: Be32,
    errno: Be32,
    /// Compatible, incompatible, read-only compatible; Linux sets what it wants when it mounts.
    features: [Be32; 3],
    uuid: [u8; 16],
    /// Filesystems that share the journal.
    users: Be32,
}

impl RegionImage {
    /// The journal's blocks, behind the tree of the bad-blocks inode.
    pub(crate) fn journal(&self) -> Vec<Run> {
        let mut runs = Vec::new();
        let (block, len) = (self.journal_at, self.geometry.journal_blocks);
        Run::push(&mut runs, 0, FileExtent { logical: 0, block, len });
        runs
    }

    pub(crate) fn journal_tree<'a>(&self, runs: &'a [Run]) -> ExtentTree<'a> {
        ExtentTree { runs, base: self.journal_at + self.geometry.journal_blocks }
    }

    /// Writes the journal and the blocks of its extent tree.
    pub(crate) fn write_journal(
        &self,
        filesystem: crate::checksum::Sum,
        mut put: impl FnMut(&Block) -> io::Result<()>,
    ) -> io::Result<()> {
        let blocks = self.geometry.journal_blocks;
        if blocks == 0 {
            return Ok(());
        }
        let mut first = [0; BLOCK];
        let raw = RawJournal {
            magic: MAGIC.into(),
            block_type: SUPERBLOCK_V2.into(),
            header_sequence: 0.into(),
            block_size: 4096.into(),
            // Laying out has refused more.
            blocks: u32::try_from(blocks).unwrap_or(u32::MAX).into(),
            first: 1.into(),
            sequence: 1.into(),
            start: 0.into(),
            errno: 0.into(),
            features: [0.into(); 3],
            uuid: *self.geometry.uuid.as_bytes(),
            users: 1.into(),
        };
        first[..size_of::<RawJournal>()].copy_from_slice(raw.as_bytes());
        put(&first)?;
        // What lay there before must never look like a transaction.
        (1..blocks).try_for_each(|_| put(&[0; BLOCK]))?;
        let runs = self.journal();
        self.journal_tree(&runs).write(filesystem.of_inode(JOURNAL_INODE, 0), &mut put)
    }

    /// What the superblock says of the journal: its inode, and a copy of where its blocks are.
    pub(crate) fn note_journal(&self, raw: &mut RawSuperblock) {
        let blocks = self.geometry.journal_blocks;
        if blocks == 0 {
            return;
        }
        raw.compat = U32::new(raw.compat.get() | crate::layout::feature::COMPAT_HAS_JOURNAL);
        raw.journal[0] = U32::new(JOURNAL_INODE);
        // `EXT3_JNL_BACKUP_BLOCKS`: `i_block`, then the size, high half first.
        raw.journal_backup_type = 1;
        let runs = self.journal();
        let root = self.journal_tree(&runs).root();
        for (word, bytes) in raw.journal_blocks.iter_mut().zip(root.as_chunks::<4>().0) {
            *word = U32::from_bytes(*bytes);
        }
        raw.journal_blocks[15] = crate::layout::hi32(blocks * BLOCK64);
        raw.journal_blocks[16] = crate::layout::lo32(blocks * BLOCK64);
    }
}
