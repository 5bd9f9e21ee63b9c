//! The region's tree, finished: files with their extents, and `.pkram` with what pkram adds.

use crate::census::Census;
use crate::nodes::Save;
use regionfs::{Attributes, Content, FileExtent, Timestamp, Tree, TreeError};
use std::path::PathBuf;

/// Why the tree cannot be finished.
#[derive(Debug, thiserror::Error)]
pub enum TreeFault {
    /// A file.
    #[error("{path}: {source}", path = .path.display())]
    File {
        /// Where the file is.
        path: PathBuf,
        /// What the filesystem cannot hold.
        source: TreeError,
    },
    /// `.pkram` itself.
    #[error("cannot add .pkram to the region: {0}")]
    Own(TreeError),
}

/// What pkram writes into `.pkram`.
pub(super) struct Own<'a> {
    pub(super) manifest: &'a [u8],
    pub(super) dmesg: &'a [u8],
    pub(super) now: Timestamp,
}

/// A copy of the save's tree with `.pkram` and with the extents that `extents` gives for each
/// file, by its place in the census.
pub(super) fn finish(
    save: &Save,
    census: &Census,
    own: &Own<'_>,
    mut extents: impl FnMut(usize) -> Vec<FileExtent>,
) -> Result<Tree, TreeFault> {
    let mut tree = save.tree.clone();
    add_own(&mut tree, own).map_err(TreeFault::Own)?;
    for (i, (file, held)) in save.files.iter().zip(&census.files).enumerate() {
        tree.fill(file.node, held.size, &extents(i))
            .map_err(|source| TreeFault::File { path: save.path_of(file), source })?;
    }
    Ok(tree)
}

/// Readable by root alone: the kernel's log may be restricted here.
fn add_own(tree: &mut Tree, own: &Own<'_>) -> Result<(), TreeError> {
    let attrs = |mode| {
        let t = own.now;
        Attributes { mode, atime: t, mtime: t, ctime: t, crtime: t, ..Attributes::default() }
    };
    let dir = tree.add_inode(attrs(0o700), Content::Directory)?;
    tree.link(tree.root(), b".pkram", dir)?;
    for (name, bytes) in [("manifest.json", own.manifest), ("dmesg", own.dmesg)] {
        let file = tree.add_inode(attrs(0o600), Content::Bytes(bytes.to_vec()))?;
        tree.link(dir, name.as_bytes(), file)?;
    }
    Ok(())
}
