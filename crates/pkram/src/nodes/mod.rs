//! What a save consists of: named nodes of objects, as in PKRAM's API, in user space.
//!
//! ```text
//! Save ─┬─ node "cache" ─┬─ object "items"   pages, taken in place    ─► /cache/items
//!       │                └─          its bytes, small and buffered    ─► /cache/items.bytes
//!       └─ node "dev-shm-tree" ─ directories, links, objects, …       ─► /dev-shm-tree/…
//! ```
//!
//! | PKRAM | here |
//! |---|---|
//! | `pkram_prepare_save()` | [`Save::node()`] |
//! | `pkram_prepare_save_obj()` | [`Node::object()`] |
//! | `pkram_save_folio()` | [`Object::pages()`], [`Object::file()`] |
//! | `pkram_write()` | `Object`'s `std::io::Write` |
//! | `pkram_finish_save_obj()` | [`Object::finish()`] |
//! | `pkram_finish_save()` | [`Node::finish()`] |
//! | `pkram_discard_save()` | dropping the [`Node`] |
//! | `kexec` | [`prepare()`](crate::save::prepare), then [`Prepared::load()`](crate::save::Prepared::load) and [`jump()`](crate::save::Prepared::jump) |
//! | `pkram_prepare_load()` | [`load()`](crate::loaded::load) |
//! | `pkram_prepare_load_obj()` | [`LoadedNode::object()`](crate::loaded::LoadedNode::object) |
//! | `pkram_load_folio()` | [`LoadedObject::map()`](crate::loaded::LoadedObject::map), [`file()`](crate::loaded::LoadedObject::file) |
//! | `pkram_read()` | [`LoadedObject::bytes()`](crate::loaded::LoadedObject::bytes) |
//! | `pkram_finish_load()` | [`release()`](crate::region::release) |
//!
//! Nothing is pinned and no page is looked at before the save is prepared. The sources of the
//! command line (trees, memfds, segments) are users of this module and of nothing below it.

mod backing;
mod error;
pub(crate) mod memory;
mod node;
mod object;

pub(crate) use backing::{Backing, Folder, ObjectFile, Piece};
pub use error::NodeError;
pub use node::{Entry, Node};
pub(crate) use object::BYTES_SUFFIX;
pub use object::{FoundFile, Object};

use crate::manifest;
use regionfs::{Attributes, Timestamp, Tree};
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Everything that is to be kept over one kexec.
#[derive(Debug)]
pub struct Save {
    /// The region's tree; objects have no extents yet.
    pub(crate) tree: Tree,
    /// The objects, each inode once.
    pub(crate) files: Vec<ObjectFile>,
    /// Folders in which no name may come or go.
    pub(crate) folders: Vec<Folder>,
    /// What the manifest says of each node.
    pub(crate) origins: Vec<manifest::Source>,
    /// What the user should know.
    pub(crate) notes: Vec<String>,
    /// Objects whose pages may not move.
    in_place: Vec<Range<usize>>,
    /// Folders of the files that are found by path.
    dirs: Vec<PathBuf>,
}

impl Default for Save {
    fn default() -> Self {
        Self::new()
    }
}

impl Save {
    /// Nothing to keep yet.
    ///
    /// # Panics
    ///
    /// Never: a root without extended attributes fits.
    #[must_use]
    pub fn new() -> Self {
        Self {
            tree: Tree::new(attributes(0o755)).expect("no attribute can be too large"),
            files: Vec::new(),
            folders: Vec::new(),
            origins: Vec::new(),
            notes: Vec::new(),
            in_place: Vec::new(),
            dirs: Vec::new(),
        }
    }

    /// Begins a node: a directory of this name in the region, readable by its owner alone, who is
    /// this process's user. Nothing of it is kept unless it is [finished](Node::finish).
    ///
    /// # Errors
    /// A name that no directory of the region can have, or that another node has.
    pub fn node(&mut self, name: &str) -> Result<Node<'_>, NodeError> {
        self.node_with(name, mine(0o700))
    }

    /// Begins a node whose directory has these attributes.
    ///
    /// # Errors
    /// As [`Self::node`], and attributes that ext4 cannot hold.
    pub fn node_with(&mut self, name: &str, attributes: Attributes) -> Result<Node<'_>, NodeError> {
        check_name(name)?;
        Node::begin(self, name, attributes)
    }

    /// What the user should know about what is kept and what is not.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether nothing is to be kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }

    /// The objects, by their numbers, whose pages may not move.
    pub(crate) fn in_place(&self) -> impl Iterator<Item = usize> {
        self.in_place.iter().cloned().flatten()
    }

    /// Where an object was found, for messages.
    pub(crate) fn path_of(&self, file: &ObjectFile) -> PathBuf {
        match &file.backing {
            Backing::Path { dir, name, .. } => self.dirs[*dir as usize].join(&**name),
            Backing::Open { label, .. } => PathBuf::from(&**label),
        }
    }
}

/// Refuses what cannot be the name of a node.
pub(crate) fn check_name(name: &str) -> Result<(), NodeError> {
    let why = match name {
        "" => "is empty",
        "." | ".." => "has a meaning of its own",
        ".pkram" | "lost+found" => "is taken in every region",
        n if n.len() > 255 => "is too long",
        n if n.contains(['/', '\0']) => "has a character that no file name has",
        _ => return Ok(()),
    };
    Err(NodeError::Name { name: name.to_owned(), why })
}

/// Attributes of something new of this process's user.
pub(crate) fn mine(mode: u16) -> Attributes {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    Attributes { uid, gid, ..attributes(mode) }
}

/// Attributes of something new.
fn attributes(mode: u16) -> Attributes {
    let now = now();
    Attributes { mode, atime: now, mtime: now, ctime: now, crtime: now, ..Attributes::default() }
}

/// The time of the wall clock.
pub(crate) fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp { secs: now.as_secs().cast_signed(), nanos: now.subsec_nanos() }
}
