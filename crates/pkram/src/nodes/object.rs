//! An object in the making.

use super::backing::AsFound;
use super::memory::{reopen, shared_pages, whole};
use super::{Backing, Entry, NodeError, ObjectFile, Piece, Save};
use crate::memory::Memory;
use physmem::PAGE_SIZE;
use regionfs::{Attributes, Content, NodeId, TreeError};
use std::ffi::OsStr;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// Bytes in one object's byte stream.
const MAX_BYTES: usize = 16 << 20;

/// What the byte stream's file is called behind the object's name.
pub(crate) const BYTES_SUFFIX: &str = ".bytes";

/// A file that was found by its path.
#[derive(Clone, Copy, Debug)]
pub struct FoundFile<'a> {
    /// The folder it was found in.
    pub folder: &'a Path,
    /// Its name there.
    pub name: &'a OsStr,
    /// The device it lies on, major number in the upper 32 bits.
    pub device: u64,
    /// Its inode there.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
}

/// An object in the making: a stream of pages taken in place, and a stream of bytes. Dropped
/// before it is finished, it is no part of its node.
#[derive(Debug)]
pub struct Object<'n> {
    save: &'n mut Save,
    dir: Entry,
    name: Vec<u8>,
    attributes: Attributes,
    label: String,
    size: u64,
    pieces: Vec<Piece>,
    bytes: Vec<u8>,
}

impl<'n> Object<'n> {
    pub(super) fn begin(
        save: &'n mut Save,
        dir: Entry,
        name: &[u8],
        attributes: Attributes,
    ) -> Self {
        let label = format!("object {:?}", String::from_utf8_lossy(name));
        let name = name.to_vec();
        let (pieces, bytes) = (Vec::new(), Vec::new());
        Self { save, dir, name, attributes, label, size: 0, pieces, bytes }
    }

    /// What messages call it; by default its name.
    pub fn set_label(&mut self, label: String) {
        self.label = label;
    }

    /// Takes the pages of this memory in place, as the object's next ones. It must be mapped
    /// shared from a memfd, a file on tmpfs or hugetlbfs, or a SysV segment. Holes stay holes.
    /// What the program writes to it later is kept as well, up to the jump.
    ///
    /// # Errors
    /// Memory of another kind, or parts of pages.
    pub fn pages(&mut self, memory: &[u8]) -> Result<(), NodeError> {
        let address = memory.as_ptr().addr() as u64;
        self.pages_at(address, memory.len() as u64)
    }

    /// [`Self::pages`] for memory that has no slice.
    ///
    /// # Errors
    /// As there.
    pub fn pages_at(&mut self, address: u64, len: u64) -> Result<(), NodeError> {
        if !self.size.is_multiple_of(PAGE_SIZE) {
            return Err(NodeError::Unaligned { address, len, page: PAGE_SIZE });
        }
        let pieces = shared_pages(address, len, self.size)?;
        self.size += len;
        self.pieces.extend(pieces);
        Ok(())
    }

    /// Takes all pages of a [`Memory`] in place, as the object's next ones.
    ///
    /// # Errors
    /// As [`Self::pages`].
    pub fn memory(&mut self, memory: &Memory) -> Result<(), NodeError> {
        self.pages_at(memory.address(), memory.len())
    }

    /// Leaves a hole of whole pages.
    ///
    /// # Errors
    /// A length that is none of whole pages.
    pub fn hole(&mut self, len: u64) -> Result<(), NodeError> {
        if !(self.size | len).is_multiple_of(PAGE_SIZE) {
            return Err(NodeError::Unaligned { address: self.size, len, page: PAGE_SIZE });
        }
        self.size += len;
        Ok(())
    }

    /// Takes all pages of an open file in place, as the object's next ones: a memfd, or a file on
    /// tmpfs or hugetlbfs.
    ///
    /// # Errors
    /// A file of another kind.
    pub fn file(&mut self, file: BorrowedFd<'_>) -> Result<(), NodeError> {
        if !self.size.is_multiple_of(PAGE_SIZE) {
            return Err(NodeError::Unaligned { address: self.size, len: 0, page: PAGE_SIZE });
        }
        let piece = whole(reopen(file, &self.label)?, self.size, &self.label)?;
        self.size += piece.len;
        self.pieces.push(piece);
        Ok(())
    }

    /// Makes it part of its node.
    ///
    /// # Errors
    /// What ext4 cannot hold, or a name that is taken; too many bytes.
    pub fn finish(mut self) -> Result<Entry, NodeError> {
        self.check_bytes()?;
        let content = Content::File { size: self.size, extents: Vec::new() };
        let node = self.save.tree.add_inode(self.attributes.clone(), content)?;
        self.link(node)?;
        let backing = Backing::Open { label: self.label.into(), pieces: self.pieces };
        self.save.files.push(ObjectFile { node, size: self.size, backing });
        Ok(Entry(node))
    }

    /// Makes it part of its node, with the pages of an object that is finished: one more name of
    /// the same file, here or in another node. Its own pages are not taken; its bytes are.
    ///
    /// # Errors
    /// A name that is taken; too many bytes.
    pub fn finish_as(mut self, same: Entry) -> Result<(), NodeError> {
        self.check_bytes()?;
        self.link(same.0)
    }

    fn check_bytes(&self) -> Result<(), NodeError> {
        if self.bytes.len() > MAX_BYTES {
            let object = String::from_utf8_lossy(&self.name).into_owned();
            return Err(NodeError::ManyBytes { object, limit: MAX_BYTES });
        }
        Ok(())
    }

    /// Gives its inode its name, and its bytes theirs.
    fn link(&mut self, node: NodeId) -> Result<(), NodeError> {
        let (tree, dir) = (&mut self.save.tree, self.dir.0);
        tree.link(dir, &self.name, node)?;
        if !self.bytes.is_empty() {
            let content = Content::Bytes(std::mem::take(&mut self.bytes));
            let stream = tree.add_inode(self.attributes.clone(), content)?;
            let name = [&self.name, BYTES_SUFFIX.as_bytes()].concat();
            tree.link(dir, &name, stream)?;
        }
        Ok(())
    }
}

/// The object's stream of bytes: small things that belong to its pages.
impl io::Write for Object<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Save {
    pub(super) fn push_found(
        &mut self,
        entry: Entry,
        found: &FoundFile<'_>,
        as_found: AsFound,
    ) -> Result<(), TreeError> {
        if self.dirs.last().is_none_or(|last| last != found.folder) {
            self.dirs.push(found.folder.to_owned());
        }
        let dir = u32::try_from(self.dirs.len() - 1).map_err(|_| TreeError::TooManyNames)?;
        let FoundFile { name, device, inode, size, .. } = *found;
        let backing = Backing::Path { dir, name: name.into(), device, inode, as_found };
        self.files.push(ObjectFile { node: entry.0, size, backing });
        Ok(())
    }
}
