//! The inodes of a tree: what callers say of them, and how a tree keeps that.

use crate::extents::FileExtent;
use crate::layout::{FIRST_INODE, ROOT_INODE, index, mode};
use crate::time::{StoredTime, Timestamp};
use crate::xattr::Xattr;

/// An inode of a [`Tree`](super::Tree).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    pub(super) const ROOT: Self = Self(0);

    /// The inode's number in the composed filesystem.
    #[must_use]
    pub const fn inode(self) -> u32 {
        match self.0 {
            0 => ROOT_INODE,
            id => FIRST_INODE - 1 + id,
        }
    }

    /// The node of an inode that has one.
    pub(crate) const fn of_inode(inode: u32) -> Self {
        Self(inode.saturating_sub(FIRST_INODE - 1))
    }

    pub(crate) const fn index(self) -> usize {
        index(self.0 as u64)
    }
}

/// What every inode has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Permission, set-id and sticky bits; the file type comes from the [`Content`].
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of data.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// Birth.
    pub crtime: Timestamp,
    /// Extended attributes, ACLs among them.
    pub xattrs: Vec<Xattr>,
}

/// What an inode is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A file whose data already lie in the region; what no extent maps is a hole.
    File {
        /// Bytes.
        size: u64,
        /// The data, ascending in the file.
        extents: Vec<FileExtent>,
    },
    /// A new small file, whose data are placed in the head.
    Bytes(Vec<u8>),
    /// A directory.
    Directory,
    /// A symbolic link to this target.
    Symlink(Vec<u8>),
    /// A character device.
    CharDevice {
        /// Below 4096.
        major: u32,
        /// Below 2^20.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Below 4096.
        major: u32,
        /// Below 2^20.
        minor: u32,
    },
    /// A FIFO.
    Fifo,
    /// A socket's name.
    Socket,
}

/// The kind of a node, and where its content stands in the tree's arrays.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    File { size: u64, first: usize, count: usize },
    Bytes { start: usize, len: usize },
    Directory,
    Symlink { start: usize, len: usize },
    Device { major: u32, minor: u32 },
    Empty,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// With the file type.
    pub(crate) mode: u16,
    /// Names that lead here; of a directory at most one.
    pub(crate) links: u32,
    /// Directories in this one.
    pub(crate) subdirectories: u32,
    /// The directory of the last name that was given.
    pub(crate) parent: NodeId,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) atime: StoredTime,
    pub(crate) mtime: StoredTime,
    pub(crate) ctime: StoredTime,
    pub(crate) crtime: StoredTime,
    /// In [`Tree::xattrs`].
    pub(crate) xattrs: Option<u32>,
    pub(crate) body: Body,
}

impl Node {
    pub(crate) fn is_directory(&self) -> bool {
        self.mode & mode::TYPE == mode::DIRECTORY
    }
}
