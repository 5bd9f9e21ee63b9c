//! What no tree can hold.

use crate::extents::FileExtent;
use crate::xattr::XattrError;

/// Why something cannot be part of a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// Too many inodes.
    #[error("more than 2^32 − 12 inodes; an ext4 filesystem has no numbers for more")]
    TooManyInodes,
    /// Too many names.
    #[error("more than 2^32 names in one tree")]
    TooManyNames,
    /// Past 16 TiB.
    #[error("a file of {size} bytes is larger than the {max} that ext4 holds; split it")]
    FileTooLarge {
        /// Bytes asked for.
        size: u64,
        /// Bytes possible.
        max: u64,
    },
    /// Extents out of order, empty, past the end, or past any block number.
    #[error("{extent:?} of a file of {size} bytes is {what}")]
    BadExtent {
        /// The extent.
        extent: FileExtent,
        /// The file's size in bytes.
        size: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// More extents than an extent tree holds.
    #[error("{0} extents in one file are more than an extent tree of 5 levels holds")]
    TooManyExtents(u64),
    /// A symlink's target.
    #[error("a symbolic link's target has {0} bytes; 1 to 4095 without a NUL are possible")]
    BadTarget(usize),
    /// A device number.
    #[error("device {major}:{minor} is past 4095:1048575, the largest that Linux has")]
    BadDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// An extended attribute.
    #[error(transparent)]
    Xattr(#[from] XattrError),
    /// Not a directory.
    #[error("{name:?} cannot be made in inode {inode}, which is no directory")]
    NotADirectory {
        /// The inode.
        inode: u32,
        /// The name.
        name: String,
    },
    /// Data for something that is no regular file.
    #[error("inode {0} is no regular file; only files have data in place")]
    NotAFile(u32),
    /// A name that no directory can hold.
    #[error("the name {0:?} is impossible: 1 to 255 bytes without '/' and NUL, not '.' or '..'")]
    BadName(String),
    /// A name twice.
    #[error("the name {0:?} is already there")]
    Duplicate(String),
    /// A directory with a second name.
    #[error("the directory {0:?} already has another name; a directory has one")]
    SecondParent(String),
    /// A directory inside itself.
    #[error("the directory {0:?} would lie inside itself")]
    Loop(String),
    /// Too many names.
    #[error("the file {0:?} would have more than 65000 names, the most that ext4 counts")]
    TooManyLinks(String),
}
