//! Trees of any size made of numbers alone, to measure composing with.

use crate::extents::{FileExtent, tree_blocks};
use crate::geometry::Geometry;
use crate::time::Timestamp;
use crate::tree::{Attributes, Content, NodeId, Tree, TreeError};
use uuid::Uuid;

/// The shape of a synthetic tree: equal files in directories of a thousand, whose extents are
/// strewn over the region so that no two adjoin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synthetic {
    /// Files.
    pub files: u64,
    /// Blocks of data in each file, of [`BLOCK`](crate::BLOCK) bytes.
    pub file_blocks: u64,
    /// Blocks in an extent; the last one of a file may have fewer.
    pub extent_blocks: u64,
}

const FILES_IN_DIRECTORY: u64 = 1000;
/// Prime, so that stepping by it reaches every place once unless their number is its multiple.
const STRIDE: u64 = 999_983;

impl Synthetic {
    /// The tree, and a region that holds it: a head, then all data without a gap.
    ///
    /// # Errors
    /// More files or larger ones than a tree takes.
    pub fn build(&self) -> Result<(Tree, Geometry), TreeError> {
        let created = Timestamp { secs: 1_790_000_000, nanos: 1 };
        let attributes = |mode| Attributes {
            mode,
            atime: created,
            mtime: created,
            ctime: created,
            crtime: created,
            ..Attributes::default()
        };
        let pieces = self.file_blocks.div_ceil(self.extent_blocks.max(1));
        let slots = self.files * pieces + u64::from((self.files * pieces).is_multiple_of(STRIDE));
        // Room for inodes, names, extent trees and bitmaps, with a margin.
        let data = self.files * self.file_blocks;
        let head = self.files / 8 + self.files * tree_blocks(pieces) + data / 8192 + 4096;
        let mut tree = Tree::new(attributes(0o755))?;
        let mut directory = tree.root();
        let mut place = 0;
        for number in 0..self.files {
            if number % FILES_IN_DIRECTORY == 0 {
                directory = add_directory(&mut tree, number, attributes(0o755))?;
            }
            let mut extents = Vec::new();
            for logical in (0..self.file_blocks).step_by(crate::layout::index(self.extent_blocks)) {
                let len = self.extent_blocks.min(self.file_blocks - logical);
                extents.push(FileExtent { logical, block: head + place * self.extent_blocks, len });
                place = (place + STRIDE) % slots;
            }
            let size = self.file_blocks * crate::layout::BLOCK64;
            let file = tree.add_inode(attributes(0o644), Content::File { size, extents })?;
            tree.link(directory, format!("file-{number:07}").as_bytes(), file)?;
        }
        let geometry = Geometry {
            blocks: (head + slots * self.extent_blocks).next_multiple_of(512),
            uuid: Uuid::from_u128(0x706b_7261_6d00_4000_8000_0000_0000_0001),
            created,
            bad: Vec::new(),
            journal_blocks: 0,
            free_inodes: 0,
            boot_area: [0; 1024],
        };
        Ok((tree, geometry))
    }
}

fn add_directory(
    tree: &mut Tree,
    number: u64,
    attributes: Attributes,
) -> Result<NodeId, TreeError> {
    let node = tree.add_inode(attributes, Content::Directory)?;
    let name = format!("directory-{:05}", number / FILES_IN_DIRECTORY);
    tree.link(tree.root(), name.as_bytes(), node)?;
    Ok(node)
}
