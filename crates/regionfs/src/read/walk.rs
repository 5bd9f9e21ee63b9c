//! Paths: finding one, and going through all.

use super::{DirEntry, Filesystem, Inode, Kind, Problem, ReadAt, ReadError};
use crate::layout::{BLOCK64, ROOT_INODE};
use std::collections::HashSet;

/// A file that a walk comes to.
#[derive(Debug)]
pub struct Visit<'a> {
    /// Its path from the root, without a leading slash; empty for the root itself.
    pub path: &'a [u8],
    /// What it is.
    pub inode: &'a Inode,
}

impl<R: ReadAt> Filesystem<R> {
    /// The inode at the end of `path`, which begins at the root. Empty components and `.` are
    /// skipped, `..` is a name like any other (so that it is not found), links are not followed.
    ///
    /// # Errors
    /// Damage on the way; [`ReadError::NotFound`].
    pub fn lookup(&self, path: &[u8]) -> Result<Inode, ReadError> {
        let mut inode = self.inode(ROOT_INODE)?;
        for name in path.split(|&b| b == b'/').filter(|&name| !matches!(name, b"" | b".")) {
            inode = self.inode(self.find(&inode, name)?)?;
        }
        Ok(inode)
    }

    /// Hands every path to `visit`, a directory before what is in it; a file with several names
    /// comes once for each.
    ///
    /// # Errors
    /// The first damage that is met (a directory with two names is one), and what `visit` returns.
    pub fn walk<E: From<ReadError>>(
        &self,
        mut visit: impl FnMut(Visit<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut path = Vec::new();
        let root = self.inode(ROOT_INODE)?;
        visit(Visit { path: &path, inode: &root })?;
        let mut seen = HashSet::from([ROOT_INODE]);
        // No block of a directory is read twice, unless they share some; then it ends here.
        let mut budget = self.superblock.blocks;
        let mut open = vec![(0, self.read_dir(&root)?.into_iter())];
        while let Some((prefix, entries)) = open.last_mut() {
            path.truncate(*prefix);
            let Some(DirEntry { name, inode: number, .. }) = entries.next() else {
                open.pop();
                continue;
            };
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            let inode = self.inode(number)?;
            visit(Visit { path: &path, inode: &inode })?;
            if inode.kind == Kind::Directory {
                let blocks = inode.size / BLOCK64;
                if !seen.insert(number) || blocks > budget {
                    let place = format!("directory {number}");
                    return Err(ReadError::from(Problem::new(place, "one name", "another")).into());
                }
                budget -= blocks;
                open.push((path.len(), self.read_dir(&inode)?.into_iter()));
            }
        }
        Ok(())
    }
}
