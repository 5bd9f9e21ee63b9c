//! Data for a file that was added without any: a tree is read before it is known where the data
//! will lie.

use crate::extents::FileExtent;
use crate::tree::{Body, NodeId, Tree, TreeError};

impl Tree {
    /// Gives the file `file` its size and extents, in place of those it has.
    ///
    /// # Errors
    /// [`TreeError::NotAFile`], or what makes the extents impossible; the file is unchanged then.
    pub fn fill(
        &mut self,
        file: NodeId,
        size: u64,
        extents: &[FileExtent],
    ) -> Result<(), TreeError> {
        if !matches!(self.nodes[file.index()].body, Body::File { .. }) {
            return Err(TreeError::NotAFile(file.inode()));
        }
        self.nodes[file.index()].body = self.store_extents(size, extents)?;
        Ok(())
    }
}
