//! What to compose: inodes, and the names that lead to them.
//!
//! ```text
//! add_inode(attributes, content) ─► NodeId ─► link(directory, name, node), once for each name
//! ```
//!
//! A tree keeps a file's data as extents only, and all names, targets and small contents in one
//! array each, so that a million files fit in a few hundred megabytes.

mod error;
mod fill;
mod names;
mod node;
mod undo;

pub use error::TreeError;
pub(crate) use names::{ByDirectory, Entry, Names};
pub use node::{Attributes, Content, NodeId};
pub(crate) use node::{Body, Node};
pub use undo::Mark;

use crate::extents::{FileExtent, Run, fits};
use crate::layout::{
    BLOCK64, FIRST_INODE, LINK_MAX, LOGICAL_LIMIT, NAME_MAX, PHYSICAL_LIMIT, index, lo32, mode,
};
use crate::xattr::StoredXattrs;

/// A tree of files, ready to be composed.
#[derive(Clone, Debug)]
pub struct Tree {
    pub(crate) nodes: Vec<Node>,
    pub(crate) names: Names,
    pub(crate) runs: Vec<Run>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) xattrs: Vec<StoredXattrs>,
}

impl Tree {
    /// A tree with its root directory, and in it an empty `lost+found`, where `e2fsck` puts what
    /// it finds without a name.
    ///
    /// # Errors
    /// [`TreeError::Xattr`].
    pub fn new(root: Attributes) -> Result<Self, TreeError> {
        let mut tree = Self {
            nodes: Vec::new(),
            names: Names::default(),
            runs: Vec::new(),
            bytes: Vec::new(),
            xattrs: Vec::new(),
        };
        let Attributes { atime, mtime, ctime, crtime, .. } = root;
        let found = Attributes { mode: 0o700, atime, mtime, ctime, crtime, ..Default::default() };
        tree.add_inode(root, Content::Directory)?;
        let found = tree.add_inode(found, Content::Directory)?;
        tree.link(NodeId::ROOT, b"lost+found", found)?;
        Ok(tree)
    }

    /// The root directory.
    #[must_use]
    pub const fn root(&self) -> NodeId {
        NodeId::ROOT
    }

    /// How many inodes there are, the root and `lost+found` among them.
    #[must_use]
    pub fn inodes(&self) -> u64 {
        self.nodes.len() as u64
    }

    /// Adds an inode, which has no name yet.
    ///
    /// # Errors
    /// What ext4 cannot hold; the tree is unchanged then.
    pub fn add_inode(&mut self, attrs: Attributes, content: Content) -> Result<NodeId, TreeError> {
        let id = u32::try_from(self.nodes.len()).ok().filter(|&id| id < u32::MAX - FIRST_INODE);
        let id = NodeId(id.ok_or(TreeError::TooManyInodes)?);
        let xattrs = StoredXattrs::encode(&attrs.xattrs)?;
        let (file_type, body) = self.store(content)?;
        let xattrs = xattrs.map(|stored| {
            self.xattrs.push(stored);
            // At most one for each node, so that the number fits as the node's does.
            lo32(self.xattrs.len() as u64 - 1).get()
        });
        self.nodes.push(Node {
            mode: file_type | attrs.mode & mode::PERMISSIONS,
            links: 0,
            subdirectories: 0,
            parent: NodeId::ROOT,
            uid: attrs.uid,
            gid: attrs.gid,
            atime: attrs.atime.encode(),
            mtime: attrs.mtime.encode(),
            ctime: attrs.ctime.encode(),
            crtime: attrs.crtime.encode(),
            xattrs,
            body,
        });
        Ok(id)
    }

    fn store(&mut self, content: Content) -> Result<(u16, Body), TreeError> {
        Ok(match content {
            Content::File { size, extents } => (mode::FILE, self.store_extents(size, &extents)?),
            Content::Bytes(bytes) => {
                let (start, len) = self.store_bytes(&bytes);
                (mode::FILE, Body::Bytes { start, len })
            }
            Content::Directory => (mode::DIRECTORY, Body::Directory),
            Content::Symlink(target) => {
                if target.is_empty() || target.len() >= index(BLOCK64) || target.contains(&0) {
                    return Err(TreeError::BadTarget(target.len()));
                }
                let (start, len) = self.store_bytes(&target);
                (mode::SYMLINK, Body::Symlink { start, len })
            }
            Content::CharDevice { major, minor } => (mode::CHAR_DEVICE, device(major, minor)?),
            Content::BlockDevice { major, minor } => (mode::BLOCK_DEVICE, device(major, minor)?),
            Content::Fifo => (mode::FIFO, Body::Empty),
            Content::Socket => (mode::SOCKET, Body::Empty),
        })
    }

    fn store_bytes(&mut self, bytes: &[u8]) -> (usize, usize) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        (start, bytes.len())
    }

    pub(crate) fn store_extents(
        &mut self,
        size: u64,
        extents: &[FileExtent],
    ) -> Result<Body, TreeError> {
        let max = LOGICAL_LIMIT * BLOCK64;
        if size > max {
            return Err(TreeError::FileTooLarge { size, max });
        }
        let mut free = 0;
        for &extent in extents {
            let bad = |what| TreeError::BadExtent { extent, size, what };
            let FileExtent { logical, block, len } = extent;
            if len == 0 {
                return Err(bad("empty"));
            }
            if logical < free {
                return Err(bad("not after the one before it"));
            }
            free = logical.checked_add(len).ok_or_else(|| bad("past any file block"))?;
            if free > size.div_ceil(BLOCK64) {
                return Err(bad("past the end of the file"));
            }
            if block.checked_add(len).is_none_or(|end| end > PHYSICAL_LIMIT) {
                return Err(bad("past any region block"));
            }
        }
        let first = self.runs.len();
        for &extent in extents {
            Run::push(&mut self.runs, first, extent);
        }
        let count = self.runs.len() - first;
        if !fits(count as u64) {
            self.runs.truncate(first);
            return Err(TreeError::TooManyExtents(count as u64));
        }
        Ok(Body::File { size, first, count })
    }

    /// Gives `child` the name `name` in the directory `dir`.
    ///
    /// # Errors
    /// A name that is impossible or taken, a second name for a directory, more than 65000 for
    /// anything else; the tree is unchanged then.
    pub fn link(&mut self, dir: NodeId, name: &[u8], child: NodeId) -> Result<(), TreeError> {
        let shown = || String::from_utf8_lossy(name).into_owned();
        if !self.nodes[dir.index()].is_directory() {
            return Err(TreeError::NotADirectory { inode: dir.inode(), name: shown() });
        }
        if !is_name(name) {
            return Err(TreeError::BadName(shown()));
        }
        let node = &self.nodes[child.index()];
        if node.is_directory() {
            if node.links > 0 || child == NodeId::ROOT {
                return Err(TreeError::SecondParent(shown()));
            }
            if self.is_inside(dir, child) {
                return Err(TreeError::Loop(shown()));
            }
        } else if node.links >= LINK_MAX {
            return Err(TreeError::TooManyLinks(shown()));
        }
        if self.names.is_full() {
            return Err(TreeError::TooManyNames);
        }
        if !self.names.insert(Entry::new(dir, child), name) {
            return Err(TreeError::Duplicate(shown()));
        }
        let node = &mut self.nodes[child.index()];
        node.links += 1;
        if node.is_directory() {
            node.parent = dir;
            self.nodes[dir.index()].subdirectories += 1;
        }
        Ok(())
    }

    pub(crate) fn stored_xattrs(&self, node: &Node) -> Option<&StoredXattrs> {
        node.xattrs.map(|number| &self.xattrs[index(number.into())])
    }

    /// The extents of a file whose data lie in the region already.
    pub(crate) fn file_runs(&self, node: &Node) -> &[Run] {
        match node.body {
            Body::File { first, count, .. } => &self.runs[first..first + count],
            _ => &[],
        }
    }

    /// A path that leads to `id`, for messages.
    #[must_use]
    pub fn path(&self, mut id: NodeId) -> String {
        let mut parts = Vec::new();
        while id != NodeId::ROOT {
            let Some(entry) = self.names.entries.iter().find(|entry| entry.child == id) else {
                break;
            };
            parts.push(String::from_utf8_lossy(self.names.name(entry)));
            id = entry.dir;
        }
        parts.reverse();
        format!("/{}", parts.join("/"))
    }

    /// Whether `dir` is `ancestor` or below it.
    fn is_inside(&self, mut dir: NodeId, ancestor: NodeId) -> bool {
        // Directories only ever hang below linked ones or tops of their own, so the way up ends.
        while dir != ancestor {
            let node = &self.nodes[dir.index()];
            if dir == NodeId::ROOT || node.links == 0 {
                return false;
            }
            dir = node.parent;
        }
        true
    }
}

fn device(major: u32, minor: u32) -> Result<Body, TreeError> {
    if major >= 1 << 12 || minor >= 1 << 20 {
        return Err(TreeError::BadDevice { major, minor });
    }
    Ok(Body::Device { major, minor })
}

/// Whether a directory entry can have this name.
pub(crate) fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..")
        && name.len() <= NAME_MAX
        && !name.iter().any(|&b| b == 0 || b == b'/')
}
