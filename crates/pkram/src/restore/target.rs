//! Where a node goes, and whether it can go there.

use super::error::io_at;
use super::journal::Journal;
use super::{Fs, RestoreError, segment};
use crate::filesystem::{Kind, describe_fd, kind_of};
use crate::manifest::{Origin, Source, SysvOrigin};
use regionfs::read;
use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Where a node goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The node's directory becomes this one.
    Directory(PathBuf),
    /// The one file in the node's directory becomes this one.
    File(PathBuf),
    /// It becomes a SysV segment: this one, or one that is yet to be made.
    Segment(SysvOrigin, Option<i32>),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) | Self::File(path) => write!(f, "{}", path.display()),
            Self::Segment(origin, _) => write!(f, "the SysV segment with key {:#x}", origin.key),
        }
    }
}

impl Target {
    pub(super) fn of(
        source: &Source,
        to: Option<&Path>,
        journal: &Journal,
    ) -> Result<Self, RestoreError> {
        if let Some(to) = to {
            let to = std::path::absolute(to).map_err(io_at(to))?;
            return Ok(Self::Directory(to.join(&source.name)));
        }
        match &source.origin {
            Origin::Tmpfs { path, file } | Origin::Hugetlbfs { path, file, .. } => {
                let path = PathBuf::from(path);
                Ok(if *file { Self::File(path) } else { Self::Directory(path) })
            }
            Origin::Sysv(origin) => {
                let made = segment::earlier(&source.name, origin, journal)?;
                Ok(Self::Segment(origin.clone(), made))
            }
            origin @ (Origin::Memfd(_) | Origin::Program) => {
                let origin = origin.to_string();
                Err(RestoreError::NoPlace { name: source.name.clone(), origin })
            }
        }
    }

    /// Refuses a place that is taken, too small, of another kind than the node's, or, where spans
    /// were given back already, not the one that their data were copied to.
    pub(super) fn check(
        &self,
        fs: &Fs,
        source: &Source,
        original: bool,
        partly: bool,
        journal: &Journal,
    ) -> Result<(), RestoreError> {
        let (path, known) = match self {
            Self::Segment(_, made) => (None, made.is_some()),
            Self::Directory(path) | Self::File(path) => (Some(path), journal.has(path)),
        };
        if partly && !known {
            return Err(RestoreError::Elsewhere { name: source.name.clone() });
        }
        let Some(path) = path.filter(|_| !known) else { return Ok(()) };
        if is_taken(path)? {
            return Err(RestoreError::Taken { path: path.clone() });
        }
        let top = fs.lookup(source.name.as_bytes())?;
        if matches!(self, Self::File(_)) {
            let [only] = &fs.read_dir(&top)?[..] else {
                return Err(RestoreError::NotAlone { name: source.name.clone() });
            };
            if fs.inode(only.inode)?.kind != read::Kind::File {
                return Err(RestoreError::NotAlone { name: source.name.clone() });
            }
        }
        let above = path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
        let dir = File::open(above).map_err(io_at(above))?;
        let kind = kind_of(&dir).map_err(io_at(above))?;
        let fits = match &source.origin {
            Origin::Tmpfs { .. } => kind == Kind::Tmpfs,
            Origin::Hugetlbfs { page, .. } => kind == Kind::Hugetlbfs { page: *page },
            _ => true,
        };
        if original && !fits {
            let filesystem = describe_fd(&dir).map_err(io_at(above))?;
            return Err(RestoreError::OtherKind { path: path.clone(), filesystem });
        }
        refuse_full(fs, &top, path, &dir)
    }
}

/// Refuses where a filesystem has less room than the node's data take.
fn refuse_full(fs: &Fs, top: &read::Inode, path: &Path, dir: &File) -> Result<(), RestoreError> {
    let (mut bytes, mut seen) = (0, HashSet::new());
    let mut stack = vec![top.clone()];
    while let Some(inode) = stack.pop() {
        for entry in fs.read_dir(&inode)? {
            let inode = fs.inode(entry.inode)?;
            match inode.kind {
                read::Kind::Directory => stack.push(inode),
                read::Kind::File if seen.insert(inode.number) => bytes += inode.sectors * 512,
                _ => {}
            }
        }
    }
    let stat = rustix::fs::fstatfs(dir).map_err(|e| io_at(path)(e.into()))?;
    let block = u64::try_from(stat.f_bsize).unwrap_or(0);
    let free = stat.f_bavail.saturating_mul(block);
    // Without blocks there is no limit: a tmpfs with `size=0`, most of hugetlbfs.
    if stat.f_blocks > 0 && stat.f_blocks < u64::MAX / 2 && free < bytes {
        return Err(RestoreError::NoRoom { path: path.to_owned(), bytes, free });
    }
    Ok(())
}

/// Whether something is there that a restore must not write over.
fn is_taken(path: &Path) -> Result<bool, RestoreError> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(io_at(path)(e)),
        Ok(found) if !found.is_dir() => Ok(true),
        Ok(_) => Ok(fs::read_dir(path).map_err(io_at(path))?.next().is_some()),
    }
}
