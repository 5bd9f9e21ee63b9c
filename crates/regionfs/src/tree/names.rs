//! All names of a tree: one array of bytes, one of entries, and an index against duplicates.

use crate::layout::{index, lo32};
use crate::tree::NodeId;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// One name: which directory it stands in and what it leads to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) dir: NodeId,
    pub(crate) child: NodeId,
    /// The entry before this one with the same hash.
    same_hash: Option<u32>,
    len: u8,
    start: u64,
}

impl Entry {
    pub(crate) const fn new(dir: NodeId, child: NodeId) -> Self {
        Self { dir, child, same_hash: None, len: 0, start: 0 }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) entries: Vec<Entry>,
    bytes: Vec<u8>,
    /// Hash of directory and name to the last entry that has it.
    last: HashMap<u64, u32>,
    hasher: RandomState,
}

impl Names {
    pub(crate) fn name(&self, entry: &Entry) -> &[u8] {
        &self.bytes[index(entry.start)..][..usize::from(entry.len)]
    }

    /// Whether there are as many names as entries can be numbered.
    pub(crate) fn is_full(&self) -> bool {
        u32::try_from(self.entries.len()).is_err()
    }

    /// Adds an entry for a name of at most 255 bytes, unless its directory has it already.
    pub(crate) fn insert(&mut self, entry: Entry, name: &[u8]) -> bool {
        let number = lo32(self.entries.len() as u64).get();
        let [len, ..] = lo32(name.len() as u64).get().to_le_bytes();
        let hash = self.hasher.hash_one((entry.dir, name));
        let same_hash = self.last.get(&hash).copied();
        let mut next = same_hash;
        while let Some(at) = next {
            let other = &self.entries[index(at.into())];
            if other.dir == entry.dir && self.name(other) == name {
                return false;
            }
            next = other.same_hash;
        }
        self.last.insert(hash, number);
        self.entries.push(Entry { same_hash, len, start: self.bytes.len() as u64, ..entry });
        self.bytes.extend_from_slice(name);
        true
    }

    /// Takes the last entry back.
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop()?;
        let hash = self.hasher.hash_one((entry.dir, self.name(&entry)));
        match entry.same_hash {
            Some(before) => self.last.insert(hash, before),
            None => self.last.remove(&hash),
        };
        self.bytes.truncate(index(entry.start));
        Some(entry)
    }

    /// The entries of each of `nodes` inodes, in the order of their making.
    pub(crate) fn by_directory(&self, nodes: usize) -> ByDirectory {
        let mut start = vec![0; nodes + 1];
        for entry in &self.entries {
            start[entry.dir.index() + 1] += 1;
        }
        for i in 0..nodes {
            start[i + 1] += start[i];
        }
        let mut next = start.clone();
        let mut order = vec![0; self.entries.len()];
        for (number, entry) in self.entries.iter().enumerate() {
            let place: &mut u32 = &mut next[entry.dir.index()];
            order[index((*place).into())] = lo32(number as u64).get();
            *place += 1;
        }
        ByDirectory { start, order }
    }
}

/// Numbers of entries, grouped by directory.
#[derive(Clone, Debug)]
pub(crate) struct ByDirectory {
    /// Where each directory's part of `order` begins.
    start: Vec<u32>,
    order: Vec<u32>,
}

impl ByDirectory {
    pub(crate) fn of(&self, dir: NodeId) -> &[u32] {
        &self.order[self.range(dir)]
    }

    pub(crate) fn of_mut(&mut self, dir: NodeId) -> &mut [u32] {
        let range = self.range(dir);
        &mut self.order[range]
    }

    fn range(&self, dir: NodeId) -> std::ops::Range<usize> {
        index(self.start[dir.index()].into())..index(self.start[dir.index() + 1].into())
    }
}
