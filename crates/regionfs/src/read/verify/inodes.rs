//! The inodes of a group: each one in use, what it owns and what it names.

use super::{Verifier, taken};
use crate::journal::{self, RawJournal};
use crate::layout::{
    BAD_BLOCKS_INODE, BLOCK, BLOCK64, FIRST_INODE, INODE, INODES_PER_BLOCK, JOURNAL_INODE,
    ROOT_INODE, index, lo32, mode,
};
use crate::read::extents::Step;
use crate::read::group::Group;
use crate::read::{Filesystem, Inode, Kind, Problem, ReadAt, ReadError};
use zerocopy::FromBytes;
use zerocopy::little_endian::U16;

impl<R: ReadAt> Verifier<'_, R> {
    /// Checks all inodes of a group. Answers how many are free.
    pub(super) fn check_inodes(&mut self, group: &Group) -> Result<u32, ReadError> {
        let per_group = self.fs.superblock.inodes_per_group;
        let Some(bitmap) = self.problems.take(self.fs.inode_bitmap(group))? else {
            self.names.give_up();
            return Ok(group.free_inodes);
        };
        let (mut free, mut directories, mut last_used) = (0, 0, 0);
        // Group numbers and inode numbers fit in 32 bits, as the superblock's check has shown.
        let first = lo32(group.number * u64::from(per_group)).get() + 1;
        for table in 0..self.fs.table_blocks() {
            let bits = index(table * INODES_PER_BLOCK / 8);
            if bitmap[bits..bits + 2] == [0, 0] {
                free += 16;
                continue;
            }
            let place = || format!("the inode table of group {}", group.number);
            let block = self.fs.block(group.inode_table + table, place)?;
            let (inodes, _) = block.as_chunks::<INODE>();
            for (i, bytes) in (lo32(table * INODES_PER_BLOCK).get()..).zip(inodes) {
                if bitmap[index(u64::from(i) / 8)] >> (i % 8) & 1 == 0 {
                    free += 1;
                    continue;
                }
                last_used = i + 1;
                if self.check_one(first + i, bytes)? == Some(Kind::Directory) {
                    directories += 1;
                }
            }
        }
        let said = |what| move || format!("the descriptor of group {}, {what}", group.number);
        self.problems.expect(said("free inodes"), free, group.free_inodes);
        self.problems.expect(said("directories"), directories, group.directories);
        if group.unused_inodes > per_group - last_used {
            let expected = format!("at most {}", per_group - last_used);
            let place = said("unused inodes")();
            self.problems.add(Problem::new(place, expected, group.unused_inodes));
        }
        Ok(free)
    }

    fn check_one(&mut self, number: u32, bytes: &[u8; INODE]) -> Result<Option<Kind>, ReadError> {
        if number < FIRST_INODE && number != ROOT_INODE {
            self.check_reserved(number, bytes)?;
            return Ok(None);
        }
        let Some(inode) = self.problems.take(self.fs.check_inode(number, bytes))? else {
            self.names.give_up();
            return Ok(None);
        };
        self.names.set_inode(&inode);
        self.check_content(&inode)?;
        if inode.kind == Kind::Directory {
            let read = self.fs.read_dir_and_dots(&inode);
            match self.problems.take(read)? {
                Some((entries, dots)) => {
                    self.names.set_directory(&inode, &entries, &dots, &mut self.problems);
                }
                None => self.names.give_up(),
            }
            if inode.is_hashed() && self.fs.superblock.unsigned_hashes {
                let tree = self.fs.check_hash_tree(&inode);
                self.problems.take(tree)?;
            }
        }
        if inode.kind == Kind::Symlink {
            let target = self.fs.symlink_target(&inode);
            self.problems.take(target)?;
        }
        let xattrs = self.fs.xattrs(&inode);
        self.problems.take(xattrs)?;
        Ok(Some(inode.kind))
    }

    /// Reserved inodes are empty, but for the journal and the one that owns bad blocks; that has no
    /// mode.
    fn check_reserved(&mut self, number: u32, bytes: &[u8; INODE]) -> Result<(), ReadError> {
        if bytes.iter().all(|&byte| byte == 0) {
            return Ok(());
        }
        if number == JOURNAL_INODE && self.fs.superblock.has_journal {
            let inode = self.problems.take(self.fs.check_inode(number, bytes))?;
            return inode.map_or(Ok(()), |inode| self.check_journal(&inode));
        }
        if number != BAD_BLOCKS_INODE {
            self.problems.add(Problem::new(format!("reserved inode {number}"), "zeros", "others"));
            return Ok(());
        }
        let sum = self.fs.check_inode_sum(number, bytes).map_err(ReadError::from);
        let Some((mut raw, seed)) = self.problems.take(sum)? else { return Ok(()) };
        let attributes = [raw.mode, raw.uid_lo, raw.uid_hi, raw.gid_lo, raw.gid_hi, raw.links];
        if attributes.iter().any(|field| field.get() != 0) || raw.xattr_block_lo.get() != 0 {
            let expected = "no mode, owner, links or extended attributes";
            self.problems.add(Problem::new("the bad-blocks inode", expected, "some"));
        }
        // Seen as a file, its blocks are claimed like any other's.
        raw.mode = U16::new(mode::FILE);
        let inode = Filesystem::<R>::well_formed(number, &raw, seed, bytes);
        match self.problems.take(inode)? {
            Some(inode) => self.check_content(&inode),
            None => Ok(()),
        }
    }

    /// The journal is a file without a name whose first block says what it is. What else it holds
    /// is of no meaning once it is replayed.
    fn check_journal(&mut self, inode: &Inode) -> Result<(), ReadError> {
        self.check_content(inode)?;
        let mut block = [0; BLOCK];
        let read = self.fs.file(inode).and_then(|file| self.fs.read_file(&file, 0, &mut block));
        if self.problems.take(read)?.is_none() {
            return Ok(());
        }
        let Ok((raw, _)) = RawJournal::read_from_prefix(&block) else { return Ok(()) };
        let said = |what| move || format!("the journal, {what}");
        self.problems.expect(said("magic number"), journal::MAGIC, raw.magic.get());
        self.problems.expect(said("type"), journal::SUPERBLOCK_V2, raw.block_type.get());
        self.problems.expect(said("block size"), 4096, raw.block_size.get());
        self.problems.expect(said("bytes"), inode.size, u64::from(raw.blocks.get()) * BLOCK64);
        Ok(())
    }

    /// Claims all blocks of an inode, and compares them with its size and count.
    fn check_content(&mut self, inode: &Inode) -> Result<(), ReadError> {
        let (mut blocks, mut end) = (0, 0);
        self.problems.expect(|| format!("{}, time of deletion", inode.place()), 0, inode.dtime);
        if inode.has_extents() {
            let owners = &mut self.owners;
            let walked = self.fs.walk_extents(inode, &mut |step| {
                let (start, len) = match step {
                    Step::TreeBlock(block) => (block, 1),
                    Step::Extent(mapped) => {
                        if mapped.written {
                            end = mapped.extent.logical + mapped.extent.len;
                        }
                        (mapped.extent.block, mapped.extent.len)
                    }
                };
                blocks += len;
                let inside = start.checked_add(len).is_some_and(|end| end <= owners.blocks());
                match inside.then(|| owners.claim(start, len)) {
                    Some(None) => Ok(()),
                    Some(Some(block)) => {
                        Err(Problem::new(inode.place(), "blocks of its own", taken(block)).into())
                    }
                    None => Err(Problem::new(inode.place(), "a block in it", start).into()),
                }
            });
            if self.problems.take(walked)?.is_none() {
                return Ok(());
            }
        } else if matches!(inode.kind, Kind::File | Kind::Directory) {
            self.problems.add(Problem::new(inode.place(), "an extent tree", "none"));
        }
        if inode.xattr_block != 0 {
            blocks += 1;
            self.own_xattr_block(inode)?;
        }
        if end > inode.size.div_ceil(BLOCK64) {
            let expected = format!("no data past its {} bytes", inode.size);
            self.problems.add(Problem::new(
                inode.place(),
                expected,
                format!("file block {}", end - 1),
            ));
        }
        let place = || format!("{}, units of 512 bytes", inode.place());
        self.problems.expect(place, blocks * (BLOCK as u64 / 512), inode.sectors);
        Ok(())
    }

    fn own_xattr_block(&mut self, inode: &Inode) -> Result<(), ReadError> {
        let block = inode.xattr_block;
        if let Some((met, _)) = self.xattr_blocks.get_mut(&block) {
            *met += 1;
            return Ok(());
        }
        let references = self.fs.xattr_block_references(inode);
        if let Some(said) = self.problems.take(references)? {
            self.xattr_blocks.insert(block, (1, said));
            if let Some(block) = self.owners.claim(block, 1) {
                self.problems.add(Problem::new(inode.place(), "blocks of its own", taken(block)));
            }
        }
        Ok(())
    }
}
