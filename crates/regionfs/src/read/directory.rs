//! Directories, read block by block; the index of a hashed one is checked and skipped.

use super::{Filesystem, Inode, Kind, MappedExtent, Problem, ReadAt, ReadError};
use crate::checksum;
use crate::layout::{
    BLOCK, BLOCK64, Block, DIRENT_HEADER, DIRENT_TAIL, DIRENT_TAIL_TYPE, dirent_len, index,
};
use crate::tree::is_name;

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// 1 to 255 bytes, without `/` and NUL; not `.` or `..`.
    pub name: Vec<u8>,
    /// The inode that it leads to.
    pub inode: u32,
    /// The file type byte (`EXT4_FT_*`).
    pub(super) file_type: u8,
}

/// What a directory holds besides names.
#[derive(Clone, Debug, Default)]
pub(super) struct Dots {
    pub(super) own: u32,
    pub(super) parent: u32,
}

impl<R: ReadAt> Filesystem<R> {
    /// All names in a directory, without `.` and `..`, in the order in which they are stored.
    ///
    /// # Errors
    /// A damaged block; an inode that is no directory.
    pub fn read_dir(&self, inode: &Inode) -> Result<Vec<DirEntry>, ReadError> {
        Ok(self.read_dir_and_dots(inode)?.0)
    }

    pub(super) fn read_dir_and_dots(
        &self,
        inode: &Inode,
    ) -> Result<(Vec<DirEntry>, Dots), ReadError> {
        if inode.kind != Kind::Directory {
            return Err(ReadError::WrongKind { inode: inode.number, kind: "directory" });
        }
        let (mut entries, mut dots) = (Vec::new(), Dots::default());
        let extents = self.extents(inode)?;
        check_blocks(inode, &extents)?;
        for MappedExtent { extent, .. } in extents {
            for i in 0..extent.len {
                let logical = extent.logical + i;
                let block = self.block(extent.block + i, || place(inode))?;
                let (names, first) = self.parse_directory_block(inode, logical, &block)?;
                entries.extend(names);
                dots = first.unwrap_or(dots);
            }
        }
        Ok((entries, dots))
    }

    /// The names in one block, and if it is the first one, where "." and ".." lead.
    pub(super) fn parse_directory_block(
        &self,
        inode: &Inode,
        logical: u64,
        block: &Block,
    ) -> Result<(Vec<DirEntry>, Option<Dots>), Problem> {
        let (mut entries, mut dots) = (Vec::new(), Dots::default());
        let parser = Parser { inode, logical, inodes: self.superblock.inodes };
        parser.block(block, &mut entries, &mut dots)?;
        Ok((entries, (logical == 0).then_some(dots)))
    }

    /// The inode that `name` leads to in `directory`.
    ///
    /// # Errors
    /// A damaged directory, an inode that is none; [`ReadError::NotFound`].
    pub fn find(&self, directory: &Inode, name: &[u8]) -> Result<u32, ReadError> {
        let found = self.read_dir(directory)?.into_iter().find(|entry| entry.name == name);
        found.map(|entry| entry.inode).ok_or_else(|| ReadError::NotFound {
            directory: directory.number,
            name: String::from_utf8_lossy(name).into_owned(),
        })
    }
}

/// A directory has all of its blocks, and each of them once: what it costs to read is bounded.
fn check_blocks(inode: &Inode, extents: &[MappedExtent]) -> Result<(), Problem> {
    let mut next = 0;
    for MappedExtent { extent, written } in extents {
        if extent.logical != next || !written {
            let found = format!("a gap before block {}", extent.logical);
            return Err(Problem::new(place(inode), "blocks without a gap", found));
        }
        next += extent.len;
    }
    if next == 0 || inode.size != next * BLOCK64 {
        let expected = format!("{} bytes, as its blocks hold", next * BLOCK64);
        return Err(Problem::new(place(inode), expected, inode.size));
    }
    let mut places: Vec<_> = extents.iter().map(|m| (m.extent.block, m.extent.len)).collect();
    places.sort_unstable();
    match places.windows(2).find(|pair| pair[0].0 + pair[0].1 > pair[1].0) {
        Some(pair) => {
            let found = format!("block {} twice", pair[1].0);
            Err(Problem::new(place(inode), "each block once", found))
        }
        None => Ok(()),
    }
}

fn place(inode: &Inode) -> String {
    format!("directory {}", inode.number)
}

/// Reads one block of a directory.
struct Parser<'a> {
    inode: &'a Inode,
    logical: u64,
    inodes: u32,
}

/// The head of an entry.
struct Record {
    inode: u32,
    len: usize,
    name_len: usize,
    file_type: u8,
}

impl Parser<'_> {
    fn block(
        &self,
        block: &Block,
        entries: &mut Vec<DirEntry>,
        dots: &mut Dots,
    ) -> Result<(), Problem> {
        let index = self.index_list(block);
        match index {
            Some(list) => self.check_index(block, list)?,
            None => self.check_tail(block)?,
        }
        // An index looks like entries of a full block, so that readers who do not know it go by.
        let room = if index.is_some() { BLOCK } else { BLOCK - DIRENT_TAIL };
        let mut at = 0;
        while at < room {
            let record = self.record(block, at, room)?;
            let name = &block[at + DIRENT_HEADER..][..record.name_len];
            match (self.logical, at, name) {
                (0, 0, b".") if block[9..12] == [0; 3] => dots.own = record.inode,
                (0, 12, b"..") if block[22..24] == [0; 2] => dots.parent = record.inode,
                (0, 0 | 12, _) => {
                    return Err(self.bad("'.' and '..', padded with zeros", "another name"));
                }
                _ if record.inode == 0 => {}
                _ if is_name(name) => entries.push(DirEntry {
                    name: name.to_vec(),
                    inode: record.inode,
                    file_type: record.file_type,
                }),
                _ => return Err(self.bad("a possible name", String::from_utf8_lossy(name))),
            }
            at += record.len;
        }
        Ok(())
    }

    /// Where an index begins in this block, if it has one (`get_dx_countlimit`).
    fn index_list(&self, block: &Block) -> Option<usize> {
        if !self.inode.is_hashed() {
            return None;
        }
        let record_len =
            |at: usize| usize::from(u16::from_le_bytes([block[at + 4], block[at + 5]]));
        match record_len(0) {
            BLOCK => Some(8),
            12 if self.logical == 0 && record_len(12) == BLOCK - 12 => Some(32),
            _ => None,
        }
    }

    fn check_index(&self, block: &Block, list: usize) -> Result<(), Problem> {
        let number = |at: usize| usize::from(u16::from_le_bytes([block[at], block[at + 1]]));
        let (limit, count) = (number(list), number(list + 2));
        let expected_limit = (BLOCK - list) / 8 - 1;
        if limit != expected_limit || count == 0 || count > limit {
            let expected = format!("an index of 1 to {expected_limit} entries");
            return Err(self.bad(expected, format_args!("{count} of {limit}")));
        }
        let sum = checksum::hash_tree_block(self.inode.seed, block, list, count, limit);
        self.check_sum(block, list + 8 * limit + 4, sum)
    }

    fn check_tail(&self, block: &Block) -> Result<(), Problem> {
        const ROOM: usize = BLOCK - DIRENT_TAIL;
        if block[ROOM..ROOM + 8] != [0, 0, 0, 0, 12, 0, 0, DIRENT_TAIL_TYPE] {
            return Err(self.bad("a checksum record at its end", "other bytes"));
        }
        let sum = checksum::directory_block(self.inode.seed, block);
        self.check_sum(block, ROOM + 8, sum)
    }

    fn check_sum(&self, block: &Block, at: usize, sum: u32) -> Result<(), Problem> {
        let found = u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
        if sum == found { Ok(()) } else { Err(Problem::checksum(self.place(), sum, found)) }
    }

    fn record(&self, block: &Block, at: usize, room: usize) -> Result<Record, Problem> {
        let Some((head, _)) = block[at..].split_first_chunk::<DIRENT_HEADER>() else {
            return Err(self.bad("an entry", format_args!("an end at byte {at}")));
        };
        let [i0, i1, i2, i3, l0, l1, name_len, file_type] = *head;
        let record = Record {
            inode: u32::from_le_bytes([i0, i1, i2, i3]),
            len: index(u16::from_le_bytes([l0, l1]).into()),
            name_len: usize::from(name_len),
            file_type,
        };
        let (len, least) = (record.len, dirent_len(record.name_len));
        if len < least || len % 4 != 0 || len > room - at {
            let expected = format!("an entry of {least} to {} bytes at {at}", room - at);
            return Err(self.bad(expected, len));
        }
        if record.inode > self.inodes {
            let expected = format!("an inode up to {} at byte {at}", self.inodes);
            return Err(self.bad(expected, record.inode));
        }
        Ok(record)
    }

    fn place(&self) -> String {
        format!("{}, block {}", place(self.inode), self.logical)
    }

    fn bad(&self, expected: impl std::fmt::Display, found: impl std::fmt::Display) -> Problem {
        Problem::new(self.place(), expected, found)
    }
}
