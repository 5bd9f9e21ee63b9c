//! Taking back what was added last.

use crate::tree::Tree;

/// How much a tree had at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    nodes: usize,
    names: usize,
    runs: usize,
    bytes: usize,
    xattrs: usize,
}

impl Tree {
    /// What the tree has now, to come back to.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark {
            nodes: self.nodes.len(),
            names: self.names.entries.len(),
            runs: self.runs.len(),
            bytes: self.bytes.len(),
            xattrs: self.xattrs.len(),
        }
    }

    /// Takes back every inode and name that was added since `mark`, which must be this tree's. What
    /// was [filled](Tree::fill) since must have been added since, too.
    pub fn undo_to(&mut self, mark: Mark) {
        while self.names.entries.len() > mark.names {
            let Some(entry) = self.names.pop() else { break };
            let is_directory = self.nodes[entry.child.index()].is_directory();
            self.nodes[entry.child.index()].links -= 1;
            if is_directory {
                self.nodes[entry.dir.index()].subdirectories -= 1;
            }
        }
        self.nodes.truncate(mark.nodes);
        self.runs.truncate(mark.runs);
        self.bytes.truncate(mark.bytes);
        self.xattrs.truncate(mark.xattrs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attributes, Content};

    #[test]
    fn what_was_taken_back_can_be_added_again() {
        let mut tree = Tree::new(Attributes::default()).unwrap();
        let file = || Content::File { size: 0, extents: Vec::new() };
        let old = tree.add_inode(Attributes::default(), file()).unwrap();
        tree.link(tree.root(), b"old", old).unwrap();
        let before = format!("{:?}", (&tree.nodes, &tree.names.entries));
        let mark = tree.mark();
        for _ in 0..2 {
            let dir = tree.add_inode(Attributes::default(), Content::Directory).unwrap();
            tree.link(tree.root(), b"new", dir).unwrap();
            tree.link(dir, b"again", old).unwrap();
            let bytes = tree.add_inode(Attributes::default(), Content::Bytes(vec![1; 9])).unwrap();
            tree.link(dir, b"bytes", bytes).unwrap();
            tree.undo_to(mark);
            assert_eq!(format!("{:?}", (&tree.nodes, &tree.names.entries)), before);
            assert_eq!(tree.mark(), mark);
        }
        assert!(tree.link(tree.root(), b"old", old).is_err(), "the name is still taken");
    }
}
