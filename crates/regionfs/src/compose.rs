//! Laying out a tree: how large the head becomes, where everything in it goes, and whether data
//! and head leave each other alone.
//!
//! ```text
//! Tree, Geometry ─► HeadMap ─► own blocks of each inode ─► head_blocks ─► Usage ─► RegionImage
//!                              [xattrs][new content][extent tree], in the order of inodes
//! ```

use crate::bitmap::{Conflict, Owned, Usage};
use crate::directory::{Directory, arrange};
use crate::extents::{FileExtent, Run, fits, tree_blocks};
use crate::geometry::{Geometry, GeometryError, HeadMap};
use crate::layout::{BAD_BLOCKS_INODE, BLOCK64, LOGICAL_LIMIT, PHYSICAL_LIMIT, lo32};
use crate::tree::{Body, ByDirectory, Node, NodeId, Tree};

/// Why a tree cannot be composed. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// The region as such.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// The metadata alone are more than the region.
    #[error("the metadata need {head} blocks, the whole region has {blocks}; enlarge it")]
    NoRoom {
        /// Blocks of metadata.
        head: u64,
        /// Blocks in the region.
        blocks: u64,
    },
    /// An inode that no name leads to.
    #[error("inode {0} has no name; link it before composing")]
    Unnamed(u32),
    /// A directory that a hash tree of two levels cannot hold.
    #[error("the directory {0:?} has more names than a hashed directory of two levels holds")]
    DirectoryTooLarge(String),
    /// Data or bad blocks where the metadata go.
    #[error(
        "{what} has block {block}, but the metadata take all blocks below {head}: move it, or \
         leave a larger head"
    )]
    InHead {
        /// Whose block.
        what: String,
        /// The first such block.
        block: u64,
        /// Blocks of metadata.
        head: u64,
    },
    /// Data past the end of the region.
    #[error("{what} has blocks up to {end}, but the region ends at {blocks}")]
    PastEnd {
        /// Whose blocks.
        what: String,
        /// One past the last block.
        end: u64,
        /// Blocks in the region.
        blocks: u64,
    },
    /// One block in two places.
    #[error("block {block} belongs to both {first} and {second}")]
    Overlap {
        /// The block.
        block: u64,
        /// One owner.
        first: String,
        /// The other.
        second: String,
    },
    /// Too many bad blocks.
    #[error("the bad blocks are empty, past 2^48, more than 16 TiB, or in too many pieces")]
    BadBlocks,
}

/// A filesystem that is laid out, and can be written.
#[derive(Clone, Debug)]
pub struct RegionImage {
    pub(crate) tree: Tree,
    pub(crate) geometry: Geometry,
    pub(crate) map: HeadMap,
    pub(crate) by_directory: ByDirectory,
    /// The bad-blocks inode's extents.
    pub(crate) bad: Vec<Run>,
    /// Where the journal begins, if there is one.
    pub(crate) journal_at: u64,
    /// Where each node's own blocks begin.
    pub(crate) own: Vec<u64>,
    head: u64,
    pub(crate) usage: Usage,
}

/// What a filesystem costs and leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Blocks in the region.
    pub blocks: u64,
    /// Blocks of metadata and of new contents, in one run at the start.
    pub head_blocks: u64,
    /// Blocks that nobody owns.
    pub free_blocks: u64,
    /// Inodes in the tables.
    pub inodes: u64,
    /// Inodes that nobody owns.
    pub free_inodes: u64,
}

/// How many blocks, from the region's first one on, the metadata of `tree` take. Exactly what
/// [`compose`] will use if every file keeps its number of extents.
///
/// `most_extents` gets a file and its number of extents (adjoining ones joined, none longer than
/// 32768 blocks) and answers with how many it may have in the end: a way to leave room before it
/// is known where the data will lie. The answer counts if it is the larger one.
///
/// # Errors
/// What makes the tree impossible in such a region wherever its data lie.
pub fn head_blocks(
    tree: &Tree,
    geometry: &Geometry,
    most_extents: impl Fn(NodeId, u64) -> u64,
) -> Result<u64, ComposeError> {
    let laid_out = lay_out(tree, geometry, &bad_runs(geometry)?, most_extents)?;
    Ok(laid_out.head)
}

/// Lays out the filesystem of `tree` in a region of this geometry.
///
/// # Errors
/// See [`ComposeError`].
pub fn compose(tree: Tree, geometry: Geometry) -> Result<RegionImage, ComposeError> {
    let bad = bad_runs(&geometry)?;
    let LaidOut { map, by_directory, journal_at, own, head } =
        lay_out(&tree, &geometry, &bad, |_, extents| extents)?;
    let usage = check_places(&tree, &geometry, &bad, head)?;
    Ok(RegionImage { tree, geometry, map, by_directory, bad, journal_at, own, head, usage })
}

/// The inode that owns the bad blocks maps them one after the other.
fn bad_runs(geometry: &Geometry) -> Result<Vec<Run>, ComposeError> {
    let mut runs = Vec::new();
    let mut logical = 0_u64;
    for range in &geometry.bad {
        let len = range.end.checked_sub(range.start).filter(|&len| len > 0);
        let len = len.filter(|_| range.end <= PHYSICAL_LIMIT).ok_or(ComposeError::BadBlocks)?;
        if logical + len > u64::from(u32::MAX) {
            return Err(ComposeError::BadBlocks);
        }
        Run::push(&mut runs, 0, FileExtent { logical, block: range.start, len });
        logical += len;
    }
    if fits(runs.len() as u64) { Ok(runs) } else { Err(ComposeError::BadBlocks) }
}

/// Where everything in the head goes.
struct LaidOut {
    map: HeadMap,
    by_directory: ByDirectory,
    journal_at: u64,
    own: Vec<u64>,
    head: u64,
}

fn lay_out(
    tree: &Tree,
    geometry: &Geometry,
    bad: &[Run],
    most_extents: impl Fn(NodeId, u64) -> u64,
) -> Result<LaidOut, ComposeError> {
    let map = HeadMap::new(geometry, tree.inodes())?;
    let seed = hash_seed(geometry);
    let mut by_directory = tree.names.by_directory(tree.nodes.len());
    let mut own = Vec::with_capacity(tree.nodes.len());
    let journal_at = map.end() + tree_blocks(bad.len() as u64);
    let journal = geometry.journal_blocks;
    let mut next = journal_at + journal + tree_blocks(Run::count(journal));
    if next > geometry.blocks || journal > LOGICAL_LIMIT {
        return Err(ComposeError::NoRoom { head: next, blocks: geometry.blocks });
    }
    for (id, node) in (0..).map(NodeId).zip(&tree.nodes) {
        if node.links == 0 && id != tree.root() {
            return Err(ComposeError::Unnamed(id.inode()));
        }
        own.push(next);
        next += u64::from(tree.stored_xattrs(node).is_some_and(|x| x.block.is_some()));
        next += match node.body {
            Body::File { count, .. } => {
                tree_blocks(most_extents(id, count as u64).max(count as u64))
            }
            _ => {
                if node.is_directory() {
                    arrange(tree, by_directory.of_mut(id), seed);
                }
                let blocks = new_blocks(tree, &by_directory, id, seed)
                    .ok_or_else(|| ComposeError::DirectoryTooLarge(tree.path(id)))?;
                blocks + tree_blocks(Run::count(blocks))
            }
        };
    }
    if next > geometry.blocks {
        return Err(ComposeError::NoRoom { head: next, blocks: geometry.blocks });
    }
    Ok(LaidOut { map, by_directory, journal_at, own, head: next })
}

/// Blocks of content that an inode gets in the head, or `None` for a directory without end.
pub(crate) fn new_blocks(
    tree: &Tree,
    by_directory: &ByDirectory,
    id: NodeId,
    hash_seed: [u32; 4],
) -> Option<u64> {
    match tree.nodes[id.index()].body {
        Body::Bytes { len, .. } => Some((len as u64).div_ceil(BLOCK64)),
        Body::Symlink { len, .. } => Some(u64::from(len > FAST_SYMLINK)),
        Body::Directory => Directory { tree, id, entries: by_directory.of(id), hash_seed }.blocks(),
        Body::File { .. } | Body::Device { .. } | Body::Empty => Some(0),
    }
}

/// Longest symlink target that stands in the inode, with a NUL after it.
pub(crate) const FAST_SYMLINK: usize = 59;

/// The secret of a filesystem's name hashes. Nobody attacks them here, so the UUID does.
pub(crate) fn hash_seed(geometry: &Geometry) -> [u32; 4] {
    let (words, _) = geometry.uuid.as_bytes().as_chunks::<4>();
    std::array::from_fn(|i| u32::from_le_bytes(words[i]))
}

/// Checks that no two things share a block and that all lie in the region.
fn check_places(
    tree: &Tree,
    geometry: &Geometry,
    bad: &[Run],
    head: u64,
) -> Result<Usage, ComposeError> {
    let what = |inode: u32| match inode {
        0 => "the metadata".to_owned(),
        BAD_BLOCKS_INODE => "the bad blocks".to_owned(),
        inode => format!("the file {:?}", tree.path(NodeId::of_inode(inode))),
    };
    let mut owned = Vec::with_capacity(tree.runs.len() + bad.len());
    let mut own = |run: &Run, inode: u32| {
        let end = run.block + u64::from(run.len);
        if run.block < head {
            return Err(ComposeError::InHead { what: what(inode), block: run.block, head });
        }
        if end > geometry.blocks {
            return Err(ComposeError::PastEnd { what: what(inode), end, blocks: geometry.blocks });
        }
        owned.push(Owned { start: run.block, len: run.len, inode });
        Ok(())
    };
    bad.iter().try_for_each(|run| own(run, BAD_BLOCKS_INODE))?;
    for (id, node) in (0..).map(NodeId).zip(&tree.nodes) {
        tree.file_runs(node).iter().try_for_each(|run| own(run, id.inode()))?;
    }
    let mut start = 0;
    while start < head {
        let len = (head - start).min(u64::from(u32::MAX));
        owned.push(Owned { start, len: lo32(len).get(), inode: 0 });
        start += len;
    }
    let mut conflict = None;
    let usage = Usage::new(owned, |c| _ = conflict.get_or_insert(c));
    if let Some(Conflict { block, inodes: [first, second] }) = conflict {
        return Err(ComposeError::Overlap { block, first: what(first), second: what(second) });
    }
    Ok(usage)
}

impl RegionImage {
    /// Blocks of metadata, the region's first ones; [`RegionImage::write_metadata`] writes them.
    #[must_use]
    pub const fn head_blocks(&self) -> u64 {
        self.head
    }

    /// What the filesystem costs and leaves.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            blocks: self.map.blocks,
            head_blocks: self.head,
            free_blocks: self.map.blocks - self.usage.blocks(),
            inodes: self.map.inodes(),
            free_inodes: self.map.inodes() - self.map.used_inodes,
        }
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.tree.nodes[id.index()]
    }

    pub(crate) fn directory(&self, id: NodeId) -> Directory<'_> {
        let hash_seed = hash_seed(&self.geometry);
        Directory { tree: &self.tree, id, entries: self.by_directory.of(id), hash_seed }
    }
}
