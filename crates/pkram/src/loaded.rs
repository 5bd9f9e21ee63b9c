//! Nodes of earlier saves: found by name, reached in place, as often as wanted until their region
//! is released.
//!
//! ```text
//! load("cache") ─► LoadedNode ─► object("items") ─► file, mapping: the very pages that were saved
//!                  in its region,                └► bytes
//!                  mounted where it is not yet
//! ```
//!
//! A damaged object costs only itself: a region with damage is mounted for reading only, and each
//! object's own metadata decide whether it can be loaded.

use crate::memory::Memory;
use crate::nodes::BYTES_SUFFIX;
use crate::region::contents::{Bytes, ContentsError, open, verify};
use crate::region::{
    DeviceError, MountError, Mounted, Region, discover, find_mounted, mount, mount_read_only,
};
use regionfs::read::{Filesystem, Kind, ReadError};
use rustix::fs::{Mode, OFlags, ResolveFlags, StatVfsMountFlags, open as open_file, openat2};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Where regions are mounted that nobody has mounted yet.
const MOUNTS: &str = "/run/pkram/regions";

/// Why a node or object cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No region here has a node of this name.
    #[error("no region here has a node {name:?}; there are: {names}")]
    NoNode {
        /// What was asked for.
        name: String,
        /// The nodes that there are.
        names: String,
    },
    /// Several regions have one.
    #[error(
        "regions {first} and {second} both have a node {name:?}; release one of them, or load from a region"
    )]
    Several {
        /// What was asked for.
        name: String,
        /// One region.
        first: uuid::Uuid,
        /// Another.
        second: uuid::Uuid,
    },
    /// The object is not there, or its metadata do not check out.
    #[error("object {object:?} of node {node:?}: {source}")]
    Object {
        /// The node.
        node: String,
        /// The object.
        object: String,
        /// What is wrong.
        source: ReadError,
    },
    /// A file of the mounted region.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Devices.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Mounting.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The region.
    #[error(transparent)]
    Contents(#[from] ContentsError),
}

/// A node of an earlier save.
#[derive(Debug)]
pub struct LoadedNode {
    name: String,
    region: Region,
    fs: Filesystem<Bytes>,
    mounted: Mounted,
    read_only: bool,
}

/// An object of such a node.
#[derive(Debug)]
pub struct LoadedObject {
    path: PathBuf,
    file: File,
    bytes: Option<File>,
}

/// Finds the node of this name among all regions here. Mounts its region, if nobody has yet, below
/// `/run/pkram/regions`.
///
/// # Errors
/// No or several such nodes; a region that cannot be mounted.
pub fn load(name: &str) -> Result<LoadedNode, LoadError> {
    let mut names = Vec::new();
    let mut found: Option<Region> = None;
    for region in discover()?.regions {
        if !region.missing.is_empty() {
            continue;
        }
        // A damaged region costs only what it has itself.
        let Ok(fs) = open(&region) else { continue };
        let Ok(root) = fs.lookup(b"") else { continue };
        let nodes = fs.read_dir(&root).unwrap_or_default();
        let nodes = nodes.iter().map(|e| String::from_utf8_lossy(&e.name).into_owned());
        let nodes: Vec<_> = nodes.filter(|n| n != ".pkram" && n != "lost+found").collect();
        if nodes.iter().any(|n| n == name) {
            if let Some(first) = &found {
                let (first, second) = (first.uuid, region.uuid);
                return Err(LoadError::Several { name: name.to_owned(), first, second });
            }
            found = Some(region);
        }
        names.extend(nodes);
    }
    let names = || if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let region =
        found.ok_or_else(|| LoadError::NoNode { name: name.to_owned(), names: names() })?;
    load_from(region, name)
}

/// Loads a node from a region that is known to have it.
///
/// # Errors
/// A region that cannot be mounted.
pub fn load_from(region: Region, name: &str) -> Result<LoadedNode, LoadError> {
    let fs = open(&region)?;
    let (mounted, read_only) = match find_mounted(&region)? {
        Some(mounted) => {
            let stat = rustix::fs::statvfs(&mounted.dir)
                .map_err(|e| LoadError::Io { path: mounted.dir.clone(), source: e.into() })?;
            (mounted, stat.f_flag.contains(StatVfsMountFlags::RDONLY))
        }
        None => {
            let read_only = !verify(&region)?.is_empty();
            let dir = PathBuf::from(MOUNTS).join(region.uuid.to_string());
            fs::create_dir_all(&dir)
                .map_err(|source| LoadError::Io { path: dir.clone(), source })?;
            let mount = if read_only { mount_read_only } else { mount };
            (mount(&region, &dir)?, read_only)
        }
    };
    Ok(LoadedNode { name: name.to_owned(), region, fs, mounted, read_only })
}

impl LoadedNode {
    /// The region that it lies in, for [`release`](crate::region::release).
    #[must_use]
    pub const fn region(&self) -> &Region {
        &self.region
    }

    /// Its directory in the mounted region.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.mounted.dir.join(&self.name)
    }

    /// Whether its region is damaged, so that it can only be read.
    #[must_use]
    pub const fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// An object of it: a file by its path in the node.
    ///
    /// # Errors
    /// No such file, or one whose metadata do not check out.
    pub fn object(&self, name: &str) -> Result<LoadedObject, LoadError> {
        let wrap =
            |source| LoadError::Object { node: self.name.clone(), object: name.to_owned(), source };
        let path = format!("{}/{name}", self.name);
        let inode = self.fs.lookup(path.as_bytes()).map_err(wrap)?;
        if inode.kind != Kind::File {
            return Err(wrap(ReadError::WrongKind { inode: inode.number, kind: "file" }));
        }
        self.fs.file(&inode).map_err(wrap)?;
        let path = self.path().join(name);
        let access = if self.read_only { OFlags::RDONLY } else { OFlags::RDWR };
        let open = |name: &str, access| open_beneath(&self.path(), name, access);
        let file = open(name, access)
            .map_err(|e| LoadError::Io { path: path.clone(), source: e.into() })?;
        let bytes = match open(&format!("{name}{BYTES_SUFFIX}"), OFlags::RDONLY) {
            Err(Errno::NOENT) => None,
            opened => {
                Some(opened.map_err(|e| LoadError::Io { path: path.clone(), source: e.into() })?)
            }
        };
        Ok(LoadedObject { path, file: file.into(), bytes: bytes.map(File::from) })
    }
}

impl LoadedObject {
    /// Its pages as a file: in place, and writable unless the region is damaged.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Its pages mapped: the very page frames that were saved, or where they were moved to.
    ///
    /// # Errors
    /// What `mmap(2)` says.
    pub fn map(self) -> Result<Memory, LoadError> {
        Memory::of(self.file).map_err(|source| LoadError::Io { path: self.path, source })
    }

    /// Its stream of bytes; empty where there is none.
    ///
    /// # Errors
    /// What reading says.
    pub fn bytes(&self) -> Result<Vec<u8>, LoadError> {
        let mut bytes = Vec::new();
        if let Some(mut file) = self.bytes.as_ref() {
            file.rewind()
                .and_then(|()| file.read_to_end(&mut bytes))
                .map_err(|source| LoadError::Io { path: self.path.clone(), source })?;
        }
        Ok(bytes)
    }
}

/// Opens a file below a directory, through no link: others may write there.
fn open_beneath(dir: &Path, name: &str, access: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::PATH;
    let dir = open_file(dir, flags, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    openat2(dir, name, access | OFlags::CLOEXEC, Mode::empty(), resolve)
}
