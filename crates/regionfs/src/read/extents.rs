//! Extent trees: which blocks a file has.
//!
//! Every node must lie within the file blocks that its parent gives it, in ascending order and
//! never empty. So each step of a walk advances in the file, and no tree has a loop.

use super::{Filesystem, Inode, Problem, ReadAt, ReadError};
use crate::checksum;
use crate::extents::FileExtent;
use crate::layout::{
    BLOCK_EXTENTS, EXTENT_DEPTH_MAX, EXTENT_MAGIC, EXTENT_TAIL, LOGICAL_LIMIT, ROOT_EXTENTS,
    RawExtent, RawExtentHeader, RawIndex, join48,
};
use std::ops::Range;
use zerocopy::FromBytes;

/// A run of blocks of a file, in the filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappedExtent {
    /// Where it is.
    pub extent: FileExtent,
    /// Whether it holds data. If not, it is set aside for the file and reads as zeros.
    pub written: bool,
}

/// What a walk through an extent tree meets.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A block of the tree itself.
    TreeBlock(u64),
    Extent(MappedExtent),
}

/// Takes a step; what it returns ends the walk, unless it is `Ok`.
pub(super) type Visitor<'a> = dyn FnMut(Step) -> Result<(), ReadError> + 'a;

impl<R: ReadAt> Filesystem<R> {
    /// All extents of a file, ascending.
    ///
    /// # Errors
    /// A damaged tree; a kind of inode that has none.
    pub fn extents(&self, inode: &Inode) -> Result<Vec<MappedExtent>, ReadError> {
        let mut extents = Vec::new();
        self.walk_extents(inode, &mut |step| {
            if let Step::Extent(extent) = step {
                extents.push(extent);
            }
            Ok(())
        })?;
        Ok(extents)
    }

    pub(super) fn walk_extents(
        &self,
        inode: &Inode,
        visit: &mut Visitor<'_>,
    ) -> Result<(), ReadError> {
        if !inode.has_extents() {
            let what = "blocks without an extent tree".to_owned();
            return Err(ReadError::Unsupported { place: inode.place(), what });
        }
        let node = Node { inode, depth: None, room: ROOT_EXTENTS, logical: 0..LOGICAL_LIMIT };
        self.walk_node(&node, &inode.body, visit)
    }

    /// Recursion ends after [`EXTENT_DEPTH_MAX`] levels.
    fn walk_node(
        &self,
        node: &Node<'_>,
        bytes: &[u8],
        visit: &mut Visitor<'_>,
    ) -> Result<(), ReadError> {
        let (depth, entries) = node.check_header(bytes)?;
        let mut logical = node.logical.clone();
        if depth == 0 {
            for entry in entries {
                let extent = self.check_extent(node, &mut logical, entry)?;
                visit(Step::Extent(extent))?;
            }
            return Ok(());
        }
        let mut children = Vec::with_capacity(entries.len());
        for entry in entries {
            let Ok(raw) = RawIndex::read_from_bytes(entry) else { continue };
            let first = u64::from(raw.logical.get());
            // The kernel may let the first child of a node start before its parent says.
            if !logical.contains(&first) {
                return Err(node.out_of_order(&logical, first).into());
            }
            logical.start = first + 1;
            children.push((first, join48(raw.block_lo, raw.block_hi)));
        }
        for (i, &(first, block)) in children.iter().enumerate() {
            let end = children.get(i + 1).map_or(node.logical.end, |next| next.0);
            let child = Node {
                inode: node.inode,
                depth: Some(depth - 1),
                room: BLOCK_EXTENTS,
                logical: first..end,
            };
            visit(Step::TreeBlock(block))?;
            let bytes = self.block(block, || node.place())?;
            let sum = checksum::extent_block(node.inode.seed, &bytes);
            let found = u32::from_le_bytes(bytes[EXTENT_TAIL..].try_into().unwrap_or_default());
            if sum != found {
                let place = format!("{}, extent block {block}", node.inode.place());
                return Err(Problem::checksum(place, sum, found).into());
            }
            self.walk_node(&child, &bytes[..], visit)?;
        }
        Ok(())
    }

    fn check_extent(
        &self,
        node: &Node<'_>,
        logical: &mut Range<u64>,
        entry: &[u8],
    ) -> Result<MappedExtent, ReadError> {
        let Ok(raw) = RawExtent::read_from_bytes(entry) else {
            return Err(Problem::new(node.place(), "12 bytes", "fewer").into());
        };
        let first = u64::from(raw.logical.get());
        // `ext4_ext_is_unwritten`: a length above 32768 says so.
        let (len, written) = match u64::from(raw.len.get()) {
            len @ 1..=32768 => (len, true),
            len @ 32769.. => (len - 32768, false),
            0 => {
                return Err(Problem::new(node.place(), "1 block or more", "an empty extent").into());
            }
        };
        if first < logical.start || first + len > logical.end {
            return Err(node.out_of_order(logical, first).into());
        }
        logical.start = first + len;
        let block = join48(raw.block_lo, raw.block_hi);
        if block == 0 || block + len > self.superblock.blocks {
            let found = format!("{len} from {block} on");
            return Err(Problem::new(node.place(), self.superblock.below_end(), found).into());
        }
        Ok(MappedExtent { extent: FileExtent { logical: first, block, len }, written })
    }
}

/// What is known of a node before it is read.
struct Node<'a> {
    inode: &'a Inode,
    /// Levels below it; only the root's is not known.
    depth: Option<u16>,
    room: usize,
    /// The file blocks that it may map.
    logical: Range<u64>,
}

impl Node<'_> {
    fn place(&self) -> String {
        format!("{}, extent tree", self.inode.place())
    }

    /// The depth and the entries in use.
    fn check_header<'b>(
        &self,
        bytes: &'b [u8],
    ) -> Result<(u16, std::slice::ChunksExact<'b, u8>), Problem> {
        let Ok((raw, rest)) = RawExtentHeader::read_from_prefix(bytes) else {
            return Err(Problem::new(self.place(), "a header", "fewer bytes"));
        };
        let (magic, depth, entries) = (raw.magic.get(), raw.depth.get(), raw.entries.get());
        if magic != EXTENT_MAGIC {
            let expected = format_args!("magic {EXTENT_MAGIC:#x}");
            return Err(Problem::new(self.place(), expected, format_args!("{magic:#x}")));
        }
        let entries = usize::from(entries);
        let is_root = self.depth.is_none();
        if depth > EXTENT_DEPTH_MAX || self.depth.is_some_and(|expected| expected != depth) {
            let expected = format!("depth {}", self.depth.unwrap_or(EXTENT_DEPTH_MAX));
            return Err(Problem::new(self.place(), expected, depth));
        }
        let empty = entries == 0 && !(is_root && depth == 0);
        if empty || entries > self.room || usize::from(raw.max.get()) != self.room {
            let expected = format!("1 to {} entries", self.room);
            let found = format!("{entries} of {}", raw.max.get());
            return Err(Problem::new(self.place(), expected, found));
        }
        let used = rest.get(..12 * entries).unwrap_or_default();
        Ok((depth, used.chunks_exact(12)))
    }

    fn out_of_order(&self, expected: &Range<u64>, found: u64) -> Problem {
        let expected = format!("file blocks in {}..{}", expected.start, expected.end);
        Problem::new(self.place(), expected, found)
    }
}
