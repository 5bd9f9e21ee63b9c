//! A node in the making.

use super::backing::AsFound;
use super::{Folder, FoundFile, NodeError, Object, Save, mine};
use crate::manifest;
use crate::memory::Memory;
use regionfs::{Attributes, Content, Mark, NodeId, TreeError};
use std::path::Path;

/// An inode of the region in the making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry(pub(super) NodeId);

/// A node in the making. Dropped before it is finished, it is as if it had never begun.
#[derive(Debug)]
pub struct Node<'s> {
    pub(super) save: &'s mut Save,
    name: String,
    dir: NodeId,
    origin: Option<manifest::Origin>,
    in_place: bool,
    undo: Option<Undo>,
}

/// How much there was when the node began.
#[derive(Debug)]
struct Undo {
    tree: Mark,
    files: usize,
    folders: usize,
    notes: usize,
}

impl<'s> Node<'s> {
    pub(super) fn begin(
        save: &'s mut Save,
        name: &str,
        attributes: Attributes,
    ) -> Result<Self, NodeError> {
        let undo = Undo {
            tree: save.tree.mark(),
            files: save.files.len(),
            folders: save.folders.len(),
            notes: save.notes.len(),
        };
        let dir = save.tree.add_inode(attributes, Content::Directory)?;
        let (undo, name) = (Some(undo), name.to_owned());
        let node = Self { save, name, dir, origin: None, in_place: false, undo };
        let root = node.save.tree.root();
        node.save.tree.link(root, node.name.as_bytes(), dir)?;
        Ok(node)
    }

    /// Its directory.
    #[must_use]
    pub fn root(&self) -> Entry {
        Entry(self.dir)
    }

    /// Begins an object of this name: a file in the node's directory, readable and writable by its
    /// owner alone.
    pub fn object(&mut self, name: &str) -> Object<'_> {
        let dir = self.root();
        self.object_in(dir, name.as_bytes(), mine(0o600))
    }

    /// Adds an object of this name that is all of this memory.
    ///
    /// # Errors
    /// A name that is taken.
    pub fn memory(&mut self, name: &str, memory: &Memory) -> Result<Entry, NodeError> {
        let mut object = self.object(name);
        object.memory(memory)?;
        object.finish()
    }

    /// Begins an object with these attributes in a directory of the save.
    pub fn object_in(&mut self, dir: Entry, name: &[u8], attributes: Attributes) -> Object<'_> {
        Object::begin(self.save, dir, name, attributes)
    }

    /// Adds a directory, symlink, device node, FIFO, socket or small new file.
    ///
    /// # Errors
    /// What ext4 cannot hold, or a name that is taken.
    pub fn add(
        &mut self,
        dir: Entry,
        name: &[u8],
        attributes: Attributes,
        content: Content,
    ) -> Result<Entry, TreeError> {
        let entry = self.save.tree.add_inode(attributes, content)?;
        self.save.tree.link(dir.0, name, entry)?;
        Ok(Entry(entry))
    }

    /// Adds an object that is all of a file on tmpfs or hugetlbfs, to be opened when it is needed.
    ///
    /// # Errors
    /// What ext4 cannot hold, or a name that is taken.
    pub fn add_file(
        &mut self,
        dir: Entry,
        name: &[u8],
        attributes: Attributes,
        found: &FoundFile<'_>,
    ) -> Result<Entry, TreeError> {
        let content = Content::File { size: found.size, extents: Vec::new() };
        let as_found = AsFound::of(&attributes);
        let entry = self.add(dir, name, attributes, content)?;
        self.save.push_found(entry, found, as_found)?;
        Ok(entry)
    }

    /// Gives something that has a name, here or in another node, one more.
    ///
    /// # Errors
    /// Directories have one name; names are taken once.
    pub fn link(&mut self, dir: Entry, name: &[u8], entry: Entry) -> Result<(), TreeError> {
        self.save.tree.link(dir.0, name, entry.0)
    }

    /// Refuses the jump if a name comes or goes in this folder before it. `inode` and `ctime` are
    /// those from before its names were read, and the clock of file times has moved on since.
    pub fn watch(&mut self, path: &Path, inode: u64, ctime: (i64, u32)) {
        self.save.folders.push(Folder { path: path.to_owned(), inode, ctime });
    }

    /// Whether no page of the node may move, because a device writes to them: then a plan that
    /// would have to move one fails.
    pub fn set_in_place(&mut self, in_place: bool) {
        self.in_place = in_place;
    }

    /// Tells the user something.
    pub fn note(&mut self, text: String) {
        self.save.notes.push(text);
    }

    /// Says where the node comes from, for the manifest. Otherwise it is a program's own.
    pub fn set_origin(&mut self, origin: manifest::Origin) {
        self.origin = Some(origin);
    }

    /// Makes it part of the save.
    pub fn finish(mut self) {
        let name = std::mem::take(&mut self.name);
        let origin = self.origin.take().unwrap_or(manifest::Origin::Program);
        self.save.origins.push(manifest::Source { name, origin });
        let first = self.undo.take().map_or(0, |undo| undo.files);
        if self.in_place {
            self.save.in_place.push(first..self.save.files.len());
        }
    }
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        let Some(undo) = self.undo.take() else { return };
        self.save.tree.undo_to(undo.tree);
        self.save.files.truncate(undo.files);
        self.save.folders.truncate(undo.folders);
        self.save.notes.truncate(undo.notes);
    }
}
