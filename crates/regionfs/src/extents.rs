//! Runs of blocks, and the extent tree that maps a file by them.
//!
//! ```text
//! up to 4 extents        more
//! i_block: header, e…    i_block: header, index… ─► block: header, index… ─► block: header, e…, sum
//! depth 0                depth d                    depth d−1                depth 0, 340 entries
//! ```
//!
//! The tree is built from the leaves up, each level packed. Its blocks are numbered leaves
//! first, then level by level, so that the place of each follows from the number of extents.

use crate::checksum::{self, Sum};
use crate::layout::{
    BLOCK, BLOCK_EXTENTS, Block, EXTENT_DEPTH_MAX, EXTENT_LEN_MAX, EXTENT_MAGIC, EXTENT_TAIL,
    ROOT_EXTENTS, RawExtent, RawExtentHeader, RawIndex, hi32, lo16, lo32,
};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

/// File data that already lie in the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileExtent {
    /// First file block.
    pub logical: u64,
    /// The region block where it lies.
    pub block: u64,
    /// How many blocks.
    pub len: u64,
}

/// One extent as it is stored: checked, at most [`EXTENT_LEN_MAX`] blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) block: u64,
    pub(crate) logical: u32,
    pub(crate) len: u32,
}

impl Run {
    /// Adds `extent` to the runs of a file, joined to the last one if it goes on there. The
    /// caller has checked the extent against the limits of file and physical block numbers.
    pub(crate) fn push(runs: &mut Vec<Self>, first: usize, extent: FileExtent) {
        let FileExtent { mut logical, mut block, mut len } = extent;
        if let Some(last) = runs[first..].last_mut()
            && u64::from(last.logical) + u64::from(last.len) == logical
            && last.block + u64::from(last.len) == block
        {
            let more = len.min(EXTENT_LEN_MAX - u64::from(last.len));
            last.len += lo32(more).get();
            (logical, block, len) = (logical + more, block + more, len - more);
        }
        while len > 0 {
            let part = len.min(EXTENT_LEN_MAX);
            runs.push(Self { block, logical: lo32(logical).get(), len: lo32(part).get() });
            (logical, block, len) = (logical + part, block + part, len - part);
        }
    }

    /// The extents of a new content of `blocks` blocks in one run.
    pub(crate) const fn count(blocks: u64) -> u64 {
        blocks.div_ceil(EXTENT_LEN_MAX)
    }
}

/// Blocks that the tree over `extents` extents takes.
pub(crate) fn tree_blocks(extents: u64) -> u64 {
    levels(extents).sum()
}

/// Nodes on each level below the root, leaves first.
fn levels(extents: u64) -> impl Iterator<Item = u64> {
    let mut width = extents;
    std::iter::from_fn(move || {
        if width <= ROOT_EXTENTS as u64 {
            return None;
        }
        width = width.div_ceil(BLOCK_EXTENTS as u64);
        Some(width)
    })
}

/// Whether ext4's five levels hold `extents` extents.
pub(crate) fn fits(extents: u64) -> bool {
    levels(extents).count() <= usize::from(EXTENT_DEPTH_MAX)
}

/// The extent tree over `runs`, whose blocks begin at region block `base`.
#[derive(Debug)]
pub(crate) struct ExtentTree<'a> {
    pub(crate) runs: &'a [Run],
    pub(crate) base: u64,
}

impl ExtentTree<'_> {
    /// What stands in the inode.
    pub(crate) fn root(&self) -> [u8; 60] {
        let mut body = [0; 60];
        let depth = levels(self.runs.len() as u64).count();
        self.fill(&mut body, depth, 0, ROOT_EXTENTS);
        body
    }

    /// Hands all tree blocks to `sink`, in order.
    pub(crate) fn write<E>(
        &self,
        seed: Sum,
        sink: &mut impl FnMut(&Block) -> Result<(), E>,
    ) -> Result<(), E> {
        for (level, width) in levels(self.runs.len() as u64).enumerate() {
            for node in 0..crate::layout::index(width) {
                let mut block = [0; BLOCK];
                self.fill(&mut block, level, node, BLOCK_EXTENTS);
                let sum = checksum::extent_block(seed, &block);
                block[EXTENT_TAIL..].copy_from_slice(&sum.to_le_bytes());
                sink(&block)?;
            }
        }
        Ok(())
    }

    /// Fills the `node`th node with `room` entries on `level`, 0 being the leaves.
    fn fill(&self, bytes: &mut [u8], level: usize, node: usize, room: usize) {
        let below = if level == 0 {
            self.runs.len()
        } else {
            crate::layout::index(levels(self.runs.len() as u64).nth(level - 1).unwrap_or(0))
        };
        let children = node * room..below.min((node + 1) * room);
        let header = RawExtentHeader {
            magic: U16::new(EXTENT_MAGIC),
            entries: lo16(lo32(children.len() as u64).get()),
            max: lo16(lo32(room as u64).get()),
            depth: lo16(lo32(level as u64).get()),
            generation: U32::ZERO,
        };
        bytes[..12].copy_from_slice(header.as_bytes());
        for (slot, child) in bytes[12..].chunks_exact_mut(12).zip(children) {
            if level == 0 {
                slot.copy_from_slice(leaf_entry(self.runs[child]).as_bytes());
            } else {
                slot.copy_from_slice(self.index_entry(level - 1, child).as_bytes());
            }
        }
    }

    /// The entry that points at the `node`th node on `level`.
    fn index_entry(&self, level: usize, node: usize) -> RawIndex {
        let before: u64 = levels(self.runs.len() as u64).take(level).sum();
        let block = self.base + before + node as u64;
        let span = (0..=level).fold(1, |span: usize, _| span.saturating_mul(BLOCK_EXTENTS));
        RawIndex {
            logical: U32::new(self.runs[node * span].logical),
            block_lo: lo32(block),
            block_hi: lo16(hi32(block).get()),
            unused: U16::ZERO,
        }
    }
}

fn leaf_entry(run: Run) -> RawExtent {
    RawExtent {
        logical: U32::new(run.logical),
        len: lo16(run.len),
        block_hi: lo16(hi32(run.block).get()),
        block_lo: lo32(run.block),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_tree_blocks() {
        let cases = [(0, 0), (4, 0), (5, 1), (340, 1), (341, 2), (1360, 4), (1361, 5 + 1)];
        for (extents, blocks) in cases {
            assert_eq!(tree_blocks(extents), blocks, "{extents} extents");
        }
        assert!(fits(4 * 340_u64.pow(5)) && !fits(4 * 340_u64.pow(5) + 1));
    }

    #[test]
    fn joins_and_splits_runs() {
        let mut runs = Vec::new();
        for (logical, block, len) in [(0, 100, 5), (5, 105, 65536), (65541, 9, 1), (65543, 10, 1)] {
            Run::push(&mut runs, 0, FileExtent { logical, block, len });
        }
        let seen: Vec<_> = runs.iter().map(|r| (r.logical, r.block, r.len)).collect();
        assert_eq!(
            seen,
            [
                (0, 100, 32768),
                (32768, 32868, 32768),
                (65536, 65636, 5),
                (65541, 9, 1),
                (65543, 10, 1)
            ]
        );
    }
}
