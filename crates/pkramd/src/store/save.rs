//! The store as part of a save: one node an owner, one object a descriptor.
//!
//! ```text
//! fdstore-foo.service/ ─┬─ 0         the pages of the first
//!                       ├─ 0.bytes   its record
//!                       ├─ 1 …       a second name of the same inode, where it is the same file
//! ```

use super::arrive::{PREFIX, node_name};
use super::record::Record;
use super::{Entry, Owner, Store};
use pkram::nodes::{Entry as Inode, Node, NodeError, Save};
use pkram::source::FileId;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;

/// Bytes in an owner's name: a node's has at most 255.
pub(super) const MAX_OWNER: usize = 255 - PREFIX.len();

/// Why a descriptor cannot be saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveStoreError {
    /// The system did not say what it is.
    #[error("descriptor {name:?} of {owner}: {source}")]
    Look {
        /// Its owner.
        owner: String,
        /// Its name.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The save does not take it.
    #[error("descriptor {name:?} of {owner}: {source}")]
    Node {
        /// Its owner.
        owner: String,
        /// Its name.
        name: String,
        /// Why.
        source: NodeError,
    },
}

impl Store {
    /// Adds all that is stored to a save, but for what lies in a region already, which goes over
    /// the kexec with that. Its pages are kept as they are at the jump, and what else makes up a
    /// descriptor as it is now. One owner's trouble is not another's: who cannot be saved is
    /// returned, and nothing of theirs is in the save.
    ///
    /// `present` says which of the [files](Self::files) are in the save by themselves already: they
    /// get one more name.
    #[must_use]
    pub fn save_into(
        &self,
        save: &mut Save,
        present: BTreeMap<FileId, Inode>,
    ) -> Vec<SaveStoreError> {
        let owners: BTreeSet<_> = self.fresh().map(|e| &e.owner).collect();
        let mut inodes = present;
        let mut errors = Vec::new();
        for owner in owners {
            let before = inodes.clone();
            let entries = self.fresh().filter(|e| e.owner == *owner);
            if let Err(error) = save_owner(save, owner, entries, &mut inodes) {
                inodes = before;
                errors.push(error);
            }
        }
        errors
    }

    /// The files that [`Self::save_into`] adds.
    #[must_use]
    pub fn files(&self) -> BTreeSet<FileId> {
        self.fresh().map(|e| e.file).collect()
    }

    fn fresh(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|e| e.region_file.is_none())
    }
}

fn save_owner<'e>(
    save: &mut Save,
    owner: &Owner,
    entries: impl Iterator<Item = &'e Entry>,
    inodes: &mut BTreeMap<FileId, Inode>,
) -> Result<(), SaveStoreError> {
    let wrap = |name: &str| {
        let (owner, name) = (owner.to_string(), name.to_owned());
        |source| SaveStoreError::Node { owner, name, source }
    };
    let mut node = save.node(&node_name(owner)).map_err(wrap(""))?;
    for (i, entry) in entries.enumerate() {
        let record = Record::of(entry).and_then(|r| Ok((r.size, r.to_bytes()?)));
        let record = record.map_err(|source| SaveStoreError::Look {
            owner: owner.to_string(),
            name: entry.name.to_string(),
            source,
        })?;
        add(&mut node, i, entry, record, inodes).map_err(wrap(entry.name.as_str()))?;
    }
    node.finish();
    Ok(())
}

/// Adds one descriptor; its file only if no other brought it already.
fn add(
    node: &mut Node<'_>,
    index: usize,
    entry: &Entry,
    (size, record): (u64, Vec<u8>),
    inodes: &mut BTreeMap<FileId, Inode>,
) -> Result<(), NodeError> {
    let mut object = node.object(&index.to_string());
    object.set_label(format!("{:?} of {}", entry.name.as_str(), entry.owner));
    let label = || format!("the record of {:?}", entry.name.as_str());
    object.write_all(&record).map_err(|source| NodeError::Io { what: label(), source })?;
    match inodes.get(&entry.file) {
        Some(inode) => object.finish_as(*inode),
        None => {
            // An empty file has no page to map.
            if size > 0 {
                object.file(entry.descriptor.as_fd())?;
            }
            inodes.insert(entry.file, object.finish()?);
            Ok(())
        }
    }
}
