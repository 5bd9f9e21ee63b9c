//! Reading sources on tmpfs: every name, attribute and link, but no content.
//!
//! The result is the tree that the region filesystem will have, with files still without data,
//! and the list of those files, for hold and census.

use super::filesystem::{describe, is_tmpfs};
use super::names::attributes;
use super::spec::SourceSpec;
use regionfs::{Attributes, Content, NodeId, Tree, TreeError};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, Statx, StatxFlags, major, minor, openat,
    readlinkat, statx,
};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Why a source cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A path cannot be opened or read.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The pages are not memory, or not only memory.
    #[error(
        "{path} lies on {filesystem}; pkram keeps memory, so a source must lie on tmpfs \
         (copy it to /dev/shm or another tmpfs first)",
        path = .path.display()
    )]
    NotMemory {
        /// The source.
        path: PathBuf,
        /// What it lies on.
        filesystem: String,
    },
    /// The source itself is neither a file nor a directory.
    #[error("{path} is a {kind}; a source is a regular file or a directory", path = .path.display())]
    NotFileOrDirectory {
        /// The source.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A directory was met twice: one source lies in another.
    #[error(
        "{path} is already part of source {first:?}; give each directory once",
        path = .path.display()
    )]
    Overlap {
        /// Where it was met again.
        path: PathBuf,
        /// The source that has it.
        first: String,
    },
    /// The region filesystem cannot take it.
    #[error("{path}: {source}", path = .path.display())]
    Tree {
        /// Where.
        path: PathBuf,
        /// Why.
        source: TreeError,
    },
}

/// A regular file found in a source.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Its inode in the tree.
    pub node: NodeId,
    /// Its size in bytes when it was found.
    pub size: u64,
    device: u64,
    inode: u64,
    dir: u32,
    name: Box<OsStr>,
}

/// All that was found.
#[derive(Debug)]
pub struct Sources {
    /// The region's tree; files have no extents yet.
    pub tree: Tree,
    /// The regular files, each inode once.
    pub files: Vec<SourceFile>,
    /// What the user should know: nested mounts and sockets, with their paths.
    pub notes: Vec<String>,
    /// The folders that were read, to see later whether names came or went.
    pub(crate) folders: Vec<Folder>,
    dirs: Vec<PathBuf>,
    seen: HashMap<(u64, u64), Seen>,
}

/// A folder, and when a name in it last changed.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    inode: u64,
    mtime: (i64, u32),
}

impl Folder {
    /// Whether no name in it came or went since.
    pub(crate) fn is_unchanged(&self) -> io::Result<bool> {
        let stat = stat(&open_path(CWD, self.path.as_os_str())?)?;
        Ok((stat.stx_ino, mtime(&stat)) == (self.inode, self.mtime))
    }
}

impl SourceFile {
    /// Whether `stat` is of the file that was found, not of another that took its name.
    pub(crate) fn is(&self, stat: &Stat) -> bool {
        let device = u64::from(major(stat.st_dev)) << 32 | u64::from(minor(stat.st_dev));
        (device, stat.st_ino) == (self.device, self.inode)
    }
}

#[derive(Debug)]
struct Seen {
    node: NodeId,
    source: String,
}

impl Sources {
    /// Where a file was found.
    pub fn path_of(&self, file: &SourceFile) -> PathBuf {
        self.dirs[file.dir as usize].join(&*file.name)
    }
}

/// Reads all sources into one tree, each under its name.
pub fn walk(root: Attributes, specs: &[SourceSpec]) -> Result<Sources, SourceError> {
    let no_root = |source| SourceError::Tree { path: PathBuf::from("/"), source };
    let mut sources = Sources {
        tree: Tree::new(root).map_err(no_root)?,
        files: Vec::new(),
        notes: Vec::new(),
        folders: Vec::new(),
        dirs: Vec::new(),
        seen: HashMap::new(),
    };
    specs.iter().try_for_each(|spec| sources.add(spec))?;
    Ok(sources)
}

/// A directory whose entries are still to be read. It is opened again then: as many may wait as
/// there are, and files that a process may have open are few.
struct Pending {
    path: PathBuf,
    node: NodeId,
    mount: u64,
    device: u64,
    inode: u64,
}

impl Pending {
    fn new(path: PathBuf, node: NodeId, stat: &Statx) -> Self {
        let (device, inode) = (device(stat), stat.stx_ino);
        Self { path, node, mount: stat.stx_mnt_id, device, inode }
    }

    /// Opens it, and sees that it is still the one that was found.
    fn open(&self) -> io::Result<(OwnedFd, Folder)> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(CWD, &self.path, flags, Mode::empty())?;
        let stat = stat(&fd)?;
        if (device(&stat), stat.stx_ino) != (self.device, self.inode) {
            return Err(io::Error::other("was replaced while the source was being read"));
        }
        let folder = Folder { path: self.path.clone(), inode: self.inode, mtime: mtime(&stat) };
        Ok((fd, folder))
    }
}

impl Sources {
    fn add(&mut self, spec: &SourceSpec) -> Result<(), SourceError> {
        let path = std::path::absolute(&spec.path).map_err(io_at(&spec.path))?;
        let path = path.canonicalize().map_err(io_at(&path))?;
        let fd = open_path(CWD, path.as_os_str()).map_err(io_at(&path))?;
        let stat = stat(&fd).map_err(io_at(&path))?;
        if !is_tmpfs(&fd).map_err(io_at(&path))? {
            let filesystem = describe(stat.stx_dev_major, stat.stx_dev_minor);
            return Err(SourceError::NotMemory { path, filesystem });
        }
        match file_type(&stat) {
            FileType::Directory => {
                let attrs = attributes(&stat, &path).map_err(io_at(&path))?;
                let node = self.inode(attrs, Content::Directory, &path)?;
                self.remember_dir(&stat, &path, node, &spec.name)?;
                self.link(self.tree.root(), spec.name.as_bytes(), node, &path)?;
                self.descend(Pending::new(path, node, &stat), &spec.name)
            }
            FileType::RegularFile => {
                // The directory of a single file guards it as its real parent did.
                let (parent, name) = (path.parent(), path.file_name());
                let (Some(parent), Some(name)) = (parent, name) else {
                    unreachable!("a canonical path to a file has a parent and a name")
                };
                let above = open_path(CWD, parent.as_os_str()).map_err(io_at(parent))?;
                let above = self::stat(&above).map_err(io_at(parent))?;
                let mut attrs = attributes(&above, parent).map_err(io_at(parent))?;
                attrs.xattrs.clear();
                let node = self.inode(attrs, Content::Directory, &path)?;
                self.link(self.tree.root(), spec.name.as_bytes(), node, &path)?;
                self.add_entry(node, parent, name, &stat, &spec.name).map(drop)
            }
            other => Err(SourceError::NotFileOrDirectory { path, kind: kind_name(other) }),
        }
    }

    /// Reads a directory and all below it, without crossing into other mounts.
    fn descend(&mut self, top: Pending, source: &str) -> Result<(), SourceError> {
        let mut stack = vec![top];
        while let Some(dir) = stack.pop() {
            let (readable, folder) = dir.open().map_err(io_at(&dir.path))?;
            self.folders.push(folder);
            let entries = Dir::read_from(&readable).map_err(|e| io_at(&dir.path)(e.into()))?;
            for entry in entries {
                let entry = entry.map_err(|e| io_at(&dir.path)(e.into()))?;
                let name = OsStr::from_bytes(entry.file_name().to_bytes());
                if name == "." || name == ".." {
                    continue;
                }
                let path = dir.path.join(name);
                let fd = open_path(&readable, name).map_err(io_at(&path))?;
                let stat = stat(&fd).map_err(io_at(&path))?;
                let foreign = stat.stx_mnt_id != dir.mount;
                let is_dir = file_type(&stat) == FileType::Directory;
                if foreign {
                    let kind = describe(stat.stx_dev_major, stat.stx_dev_minor);
                    let text = format!("a mount of its own ({kind}): what is in it is not kept");
                    self.note(&path, &text);
                    if !is_dir {
                        continue;
                    }
                }
                let node = self.add_entry(dir.node, &dir.path, name, &stat, source)?;
                if is_dir && !foreign {
                    stack.push(Pending::new(path, node, &stat));
                }
            }
        }
        Ok(())
    }

    /// Adds one name with its inode, or one more link to an inode that is already there.
    fn add_entry(
        &mut self,
        dir: NodeId,
        dir_path: &Path,
        name: &OsStr,
        stat: &Statx,
        source: &str,
    ) -> Result<NodeId, SourceError> {
        let path = dir_path.join(name);
        let kind = file_type(stat);
        let key = (device(stat), stat.stx_ino);
        let known = self.seen.get(&key).map(|s| s.node).filter(|_| kind != FileType::Directory);
        if let Some(node) = known {
            self.link(dir, name.as_bytes(), node, &path)?;
            return Ok(node);
        }
        let attrs = attributes(stat, &path).map_err(io_at(&path))?;
        let content = self.content(kind, stat, &path).map_err(io_at(&path))?;
        let node = self.inode(attrs, content, &path)?;
        self.link(dir, name.as_bytes(), node, &path)?;
        match kind {
            FileType::Directory => self.remember_dir(stat, &path, node, source)?,
            _ if stat.stx_nlink > 1 => {
                self.seen.insert(key, Seen { node, source: source.to_owned() });
            }
            _ => {}
        }
        if kind == FileType::RegularFile {
            if self.dirs.last().is_none_or(|last| last != dir_path) {
                self.dirs.push(dir_path.to_owned());
            }
            let dir = u32::try_from(self.dirs.len() - 1).map_err(io::Error::other);
            self.files.push(SourceFile {
                node,
                size: stat.stx_size,
                device: device(stat),
                inode: stat.stx_ino,
                dir: dir.map_err(io_at(&path))?,
                name: name.into(),
            });
        }
        Ok(node)
    }

    fn content(&mut self, kind: FileType, stat: &Statx, path: &Path) -> io::Result<Content> {
        let (major, minor) = (stat.stx_rdev_major, stat.stx_rdev_minor);
        Ok(match kind {
            FileType::RegularFile => Content::File { size: stat.stx_size, extents: Vec::new() },
            FileType::Directory => Content::Directory,
            FileType::Symlink => Content::Symlink(readlinkat(CWD, path, Vec::new())?.into_bytes()),
            FileType::CharacterDevice => Content::CharDevice { major, minor },
            FileType::BlockDevice => Content::BlockDevice { major, minor },
            FileType::Fifo => Content::Fifo,
            FileType::Socket => {
                self.note(path, "a socket: its name is kept, what listens on it is not");
                Content::Socket
            }
            FileType::Unknown => return Err(io::Error::other("a file of unknown type")),
        })
    }

    fn remember_dir(
        &mut self,
        stat: &Statx,
        path: &Path,
        node: NodeId,
        source: &str,
    ) -> Result<(), SourceError> {
        let seen = Seen { node, source: source.to_owned() };
        match self.seen.insert((device(stat), stat.stx_ino), seen) {
            None => Ok(()),
            Some(first) => Err(SourceError::Overlap { path: path.to_owned(), first: first.source }),
        }
    }

    fn inode(
        &mut self,
        attrs: Attributes,
        content: Content,
        path: &Path,
    ) -> Result<NodeId, SourceError> {
        let wrap = |source| SourceError::Tree { path: path.to_owned(), source };
        self.tree.add_inode(attrs, content).map_err(wrap)
    }

    fn link(
        &mut self,
        dir: NodeId,
        name: &[u8],
        child: NodeId,
        path: &Path,
    ) -> Result<(), SourceError> {
        let wrap = |source| SourceError::Tree { path: path.to_owned(), source };
        self.tree.link(dir, name, child).map_err(wrap)
    }

    fn note(&mut self, path: &Path, text: &str) {
        let mut note = String::new();
        let _ = write!(note, "{}: {text}", path.display());
        self.notes.push(note);
    }
}

fn open_path(dir: impl std::os::fd::AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    Ok(openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

fn stat(fd: &OwnedFd) -> io::Result<Statx> {
    let want = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID;
    Ok(statx(fd, "", AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW, want)?)
}

fn mtime(stat: &Statx) -> (i64, u32) {
    (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec)
}

fn file_type(stat: &Statx) -> FileType {
    FileType::from_raw_mode(stat.stx_mode.into())
}

fn device(stat: &Statx) -> u64 {
    u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor)
}

fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::Symlink => "symlink",
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        FileType::Fifo => "FIFO",
        FileType::Socket => "socket",
        _ => "special file",
    }
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> SourceError + '_ {
    move |source| SourceError::Io { path: path.to_owned(), source }
}
