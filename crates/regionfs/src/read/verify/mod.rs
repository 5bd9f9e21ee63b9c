//! Is a filesystem whole? Every checksum, and everything that is said twice.
//!
//! ```text
//! descriptors ─► bitmaps, tables ──┐
//! inode bitmap ─► inodes ─► extents ├─► who owns each block ─► block bitmaps, free counts
//!                    └─► names ────┘──► who is named how often ─► link counts, tree of directories
//! ```
//!
//! Not covered, because ext4 has no checksum there and no meaning either: the boot area, the rest
//! of block 0 behind the superblock and of the last block of descriptors, inodes that are not in
//! use, the unused rest of a hash tree block, a slow symlink's target and file data.

mod blocks;
mod hashes;
mod inodes;
mod names;

use super::group::Group;
use super::{Filesystem, Problem, ReadAt, ReadError};
use crate::layout::index;
use blocks::Owners;
use names::Names;

/// No list of problems grows past this; one more says that there are others.
const MOST: usize = 1000;

/// What was found wrong so far.
#[derive(Debug, Default)]
struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    fn add(&mut self, problem: Problem) {
        if self.list.len() == MOST {
            self.list.push(Problem::new("the list of problems", "no more", "more"));
        } else if self.list.len() < MOST {
            self.list.push(problem);
        }
    }

    /// The value, or `None` and one problem more. What cannot be read ends the verifying.
    fn take<T>(&mut self, result: Result<T, ReadError>) -> Result<Option<T>, ReadError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(ReadError::Damaged(problem)) => {
                self.add(problem);
                Ok(None)
            }
            Err(ReadError::Unsupported { place, what }) => {
                self.add(Problem::new(place, "what a region filesystem has", what));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// One problem more, unless the two are equal.
    fn expect<T: PartialEq + std::fmt::Display>(
        &mut self,
        place: impl FnOnce() -> String,
        expected: T,
        found: T,
    ) {
        if expected != found {
            self.add(Problem::new(place(), expected, found));
        }
    }
}

/// What is known while verifying goes on.
struct Verifier<'a, R> {
    fs: &'a Filesystem<R>,
    problems: Problems,
    owners: Owners,
    names: Names,
    /// References to each attribute block that were met, and how many it says there are.
    xattr_blocks: std::collections::HashMap<u64, (u32, u32)>,
}

impl<R: ReadAt> Filesystem<R> {
    /// Checks every checksum and everything that is said in two places: block and inode bitmaps,
    /// free counts, link counts, that no block has two owners and all lie in the region, that
    /// every directory hangs in the tree. An empty list means that all is whole.
    ///
    /// Takes memory for 1 bit for each block and 16 bytes for each inode. While Linux has the
    /// filesystem mounted for writing, what is found may be half written.
    ///
    /// A journal that waits for its replay is the only problem then: what it holds is missing
    /// everywhere else.
    ///
    /// # Errors
    /// Only if the region cannot be read; everything else is a [`Problem`].
    pub fn verify(&self) -> Result<Vec<Problem>, ReadError> {
        if self.superblock.needs_replay {
            let found = "changes that wait for replay; mount the filesystem once, read-write";
            return Ok(vec![Problem::new("the journal", "an empty one", found)]);
        }
        let mut verifier = Verifier {
            fs: self,
            problems: Problems::default(),
            owners: Owners::new(self.superblock.blocks),
            names: Names::new(self.superblock.inodes),
            xattr_blocks: std::collections::HashMap::new(),
        };
        verifier.run()?;
        Ok(verifier.problems.list)
    }
}

impl<R: ReadAt> Verifier<'_, R> {
    fn run(&mut self) -> Result<(), ReadError> {
        let mut groups = Vec::new();
        self.own_fixed_blocks();
        for number in 0..self.fs.superblock.groups {
            if let Some(group) = self.problems.take(self.fs.group(number))? {
                self.own_group(&group);
                groups.push(group);
            }
        }
        let mut free_inodes = 0;
        for group in &groups {
            free_inodes += u64::from(self.check_inodes(group)?);
        }
        self.check_xattr_blocks();
        let mut free_blocks = 0;
        for group in &groups {
            free_blocks += self.check_block_bitmap(group)?;
        }
        self.names.check(&mut self.problems);
        let superblock = &self.fs.superblock;
        // Linux brings the superblock's counts up to date when it unmounts.
        if superblock.clean && groups.len() == index(superblock.groups) {
            let place = || "the superblock, free inodes".to_owned();
            self.problems.expect(place, free_inodes, superblock.free_inodes.into());
            let place = || "the superblock, free blocks".to_owned();
            self.problems.expect(place, free_blocks, superblock.free_blocks);
        }
        Ok(())
    }

    /// The superblock and the descriptors.
    fn own_fixed_blocks(&mut self) {
        let descriptors = self.fs.superblock.groups.div_ceil(crate::layout::DESCRIPTORS_PER_BLOCK);
        self.owners.claim(0, 1 + descriptors);
    }

    fn own_group(&mut self, group: &Group) {
        let table = self.fs.table_blocks();
        let parts = [
            ("block bitmap", group.block_bitmap, 1),
            ("inode bitmap", group.inode_bitmap, 1),
            ("inode table", group.inode_table, table),
        ];
        for (what, start, len) in parts {
            if let Some(block) = self.owners.claim(start, len) {
                let place = format!("the {what} of group {}", group.number);
                self.problems.add(Problem::new(place, "blocks of its own", taken(block)));
            }
        }
    }

    fn check_xattr_blocks(&mut self) {
        for (&block, &(met, said)) in &self.xattr_blocks {
            let place = || format!("{}, references", super::xattrs::block_place(block));
            self.problems.expect(place, met, said);
        }
    }

    /// Compares a group's bitmap with who owns what. Answers how many blocks are free.
    fn check_block_bitmap(&mut self, group: &Group) -> Result<u64, ReadError> {
        let blocks = self.fs.group_blocks(group.number);
        let free = self.owners.free(blocks.clone());
        let place = || format!("the descriptor of group {}, free blocks", group.number);
        self.problems.expect(place, free, group.free_blocks.into());
        if !group.has_block_bitmap {
            return Ok(free);
        }
        if let Some(bitmap) = self.problems.take(self.fs.block_bitmap(group))?
            && let Some((block, owned)) = self.owners.first_difference(blocks, &bitmap)
        {
            let word = |owned| if owned { "in use" } else { "free" };
            let place = format!("the block bitmap of group {}, block {block}", group.number);
            self.problems.add(Problem::new(place, word(owned), word(!owned)));
        }
        Ok(free)
    }
}

fn taken(block: u64) -> String {
    format!("block {block}, which something else has too")
}
