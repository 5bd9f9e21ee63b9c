//! Files and trees on tmpfs and hugetlbfs: every name, attribute and link, but no content.

use super::{FileId, SourceError};
use crate::attributes::attributes;
use crate::filesystem::{Kind, describe, kind_of};
use crate::manifest::Origin;
use crate::nodes::{Entry, FoundFile, Node, NodeError, Save};
use regionfs::{Attributes, Content, TreeError};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Statx, StatxFlags, openat, readlinkat, statx,
};
use rustix::time::{ClockId, clock_gettime};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What was met so far, in all sources.
#[derive(Debug)]
pub(super) struct Trees<'w> {
    /// Directories, what has several names, and what is wanted.
    seen: HashMap<FileId, Seen>,
    /// Files of which it is to be known where they are.
    wanted: &'w BTreeSet<FileId>,
}

#[derive(Debug)]
struct Seen {
    entry: Entry,
    source: String,
}

/// A directory whose entries are still to be read. It is opened again then: as many may wait as
/// there are, and files that a process may have open are few.
struct Pending {
    path: PathBuf,
    entry: Entry,
    mount: u64,
    device: u64,
    inode: u64,
}

impl Pending {
    fn new(path: PathBuf, entry: Entry, stat: &Statx) -> Self {
        let (device, inode) = (device(stat), stat.stx_ino);
        Self { path, entry, mount: stat.stx_mnt_id, device, inode }
    }

    /// Opens it, and sees that it is still the one that was found.
    fn open(&self) -> io::Result<(OwnedFd, Statx)> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(CWD, &self.path, flags, Mode::empty())?;
        let mut now = stat(&fd)?;
        if (device(&now), now.stx_ino) != (self.device, self.inode) {
            return Err(io::Error::other("was replaced while the source was being read"));
        }
        // Two changes in one tick have one time: only a time that is past tells of later ones.
        while clock() <= ctime(&now) {
            std::thread::sleep(Duration::from_millis(1));
            now = stat(&fd)?;
        }
        Ok((fd, now))
    }
}

/// A path that can be a source.
pub(super) struct Top {
    /// Absolute, without links.
    path: PathBuf,
    stat: Statx,
    origin: Origin,
    /// A regular file; otherwise a directory.
    file: bool,
}

impl Top {
    /// Sees that it is there, is memory, and is a file or directory.
    pub(super) fn look(path: &Path) -> Result<Self, SourceError> {
        let path = std::path::absolute(path).map_err(io_at(path))?;
        let path = path.canonicalize().map_err(io_at(&path))?;
        let fd = open_path(CWD, path.as_os_str()).map_err(io_at(&path))?;
        let stat = stat(&fd).map_err(io_at(&path))?;
        let shown = path.to_string_lossy().into_owned();
        let file = file_type(&stat) == FileType::RegularFile;
        let origin = match kind_of(&fd).map_err(io_at(&path))? {
            Kind::Tmpfs => Origin::Tmpfs { path: shown, file },
            Kind::Hugetlbfs { page } => Origin::Hugetlbfs { path: shown, file, page },
            Kind::Other => {
                let filesystem = describe(stat.stx_dev_major, stat.stx_dev_minor);
                return Err(SourceError::NotMemory { path, filesystem });
            }
        };
        match file_type(&stat) {
            FileType::Directory | FileType::RegularFile => Ok(Self { path, stat, origin, file }),
            other => Err(SourceError::NotFileOrDirectory { path, kind: kind_name(other) }),
        }
    }
}

/// The file at a path, if it is one.
pub(super) fn single_file(path: &Path) -> Option<FileId> {
    let Top { stat, file, .. } = Top::look(path).ok()?;
    file.then(|| FileId::of(&stat))
}

impl<'w> Trees<'w> {
    pub(super) fn new(wanted: &'w BTreeSet<FileId>) -> Self {
        Self { seen: HashMap::new(), wanted }
    }

    /// Where those of these files are that are there; of files with one name only wanted ones.
    pub(super) fn places_of(&self, files: &BTreeSet<FileId>) -> BTreeMap<FileId, Entry> {
        let place = |id: &FileId| Some((*id, self.known(*id)?));
        files.iter().filter_map(place).collect()
    }

    /// Where a file is that a source has brought; of files with one name only a wanted one.
    pub(super) fn known(&self, file: FileId) -> Option<Entry> {
        self.seen.get(&file).map(|seen| seen.entry)
    }

    /// A file that a source has brought.
    pub(super) fn remember(&mut self, file: FileId, entry: Entry, source: &str) {
        self.seen.insert(file, Seen { entry, source: source.to_owned() });
    }

    /// Adds the file or tree at `path` as the node `name`.
    pub(super) fn add(
        &mut self,
        save: &mut Save,
        name: &str,
        path: &Path,
        stay: bool,
    ) -> Result<(), SourceError> {
        let added = Top::look(path).and_then(|top| self.add_top(save, name, top, stay));
        if added.is_err() {
            // Nothing of it is in the save.
            self.seen.retain(|_, seen| seen.source != name);
        }
        added
    }

    fn add_top(
        &mut self,
        save: &mut Save,
        name: &str,
        Top { path, stat, origin, file }: Top,
        stay: bool,
    ) -> Result<(), SourceError> {
        if file {
            // The directory of a single file guards it as its real parent did.
            let (parent, file) = (path.parent(), path.file_name());
            let (Some(parent), Some(file)) = (parent, file) else {
                unreachable!("a canonical path to a file has a parent and a name")
            };
            let mut node = save.node_with(name, like(parent)?).map_err(node_at(&path))?;
            node.set_origin(origin);
            let top = node.root();
            self.add_entry(&mut node, top, parent, file, &stat, name)?;
            node.set_in_place(stay);
            node.finish();
        } else {
            let attrs = attributes(&stat, &path).map_err(io_at(&path))?;
            let mut node = save.node_with(name, attrs).map_err(node_at(&path))?;
            node.set_origin(origin);
            let top = node.root();
            self.remember_dir(&stat, &path, top, name)?;
            self.descend(&mut node, Pending::new(path, top, &stat), name)?;
            node.set_in_place(stay);
            node.finish();
        }
        Ok(())
    }

    /// Reads a directory and all below it, without crossing into other mounts.
    fn descend(
        &mut self,
        node: &mut Node<'_>,
        top: Pending,
        source: &str,
    ) -> Result<(), SourceError> {
        let mut stack = vec![top];
        while let Some(dir) = stack.pop() {
            let (readable, before) = dir.open().map_err(io_at(&dir.path))?;
            node.watch(&dir.path, before.stx_ino, ctime(&before));
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
                    let what = format!("a mount of its own ({kind}): what is in it is not kept");
                    node.note(format!("{}: {what}", path.display()));
                    if !is_dir {
                        continue;
                    }
                }
                let below = self.add_entry(node, dir.entry, &dir.path, name, &stat, source)?;
                if is_dir && !foreign {
                    stack.push(Pending::new(path, below, &stat));
                }
            }
        }
        Ok(())
    }

    /// Adds one name with its inode, or one more link to an inode that is already there.
    fn add_entry(
        &mut self,
        node: &mut Node<'_>,
        dir: Entry,
        folder: &Path,
        name: &OsStr,
        stat: &Statx,
        source: &str,
    ) -> Result<Entry, SourceError> {
        let path = folder.join(name);
        let kind = file_type(stat);
        let key = FileId::of(stat);
        let known = self.known(key).filter(|_| kind != FileType::Directory);
        if let Some(entry) = known {
            node.link(dir, name.as_bytes(), entry).map_err(tree_at(&path))?;
            return Ok(entry);
        }
        let attrs = attributes(stat, &path).map_err(io_at(&path))?;
        let entry = if kind == FileType::RegularFile {
            let (device, inode, size) = (device(stat), stat.stx_ino, stat.stx_size);
            let found = FoundFile { folder, name, device, inode, size };
            node.add_file(dir, name.as_bytes(), attrs, &found)
        } else {
            let content = content(node, kind, stat, &path).map_err(io_at(&path))?;
            node.add(dir, name.as_bytes(), attrs, content)
        };
        let entry = entry.map_err(tree_at(&path))?;
        match kind {
            FileType::Directory => self.remember_dir(stat, &path, entry, source)?,
            _ if stat.stx_nlink > 1 || self.wanted.contains(&key) => {
                self.remember(key, entry, source);
            }
            _ => {}
        }
        Ok(entry)
    }

    fn remember_dir(
        &mut self,
        stat: &Statx,
        path: &Path,
        entry: Entry,
        source: &str,
    ) -> Result<(), SourceError> {
        let seen = Seen { entry, source: source.to_owned() };
        match self.seen.insert(FileId::of(stat), seen) {
            None => Ok(()),
            Some(first) => Err(SourceError::Overlap { path: path.to_owned(), first: first.source }),
        }
    }
}

fn content(node: &mut Node<'_>, kind: FileType, stat: &Statx, path: &Path) -> io::Result<Content> {
    let (major, minor) = (stat.stx_rdev_major, stat.stx_rdev_minor);
    Ok(match kind {
        FileType::Directory => Content::Directory,
        FileType::Symlink => Content::Symlink(readlinkat(CWD, path, Vec::new())?.into_bytes()),
        FileType::CharacterDevice => Content::CharDevice { major, minor },
        FileType::BlockDevice => Content::BlockDevice { major, minor },
        FileType::Fifo => Content::Fifo,
        FileType::Socket => {
            let what = "a socket: its name is kept, what listens on it is not";
            node.note(format!("{}: {what}", path.display()));
            Content::Socket
        }
        _ => return Err(io::Error::other("a file of unknown type")),
    })
}

/// The attributes of a directory, but for its extended ones.
fn like(dir: &Path) -> Result<Attributes, SourceError> {
    let fd = open_path(CWD, dir.as_os_str()).map_err(io_at(dir))?;
    let stat = stat(&fd).map_err(io_at(dir))?;
    let attrs = attributes(&stat, dir).map_err(io_at(dir))?;
    Ok(Attributes { xattrs: Vec::new(), ..attrs })
}

fn open_path(dir: impl std::os::fd::AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    Ok(openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

fn stat(fd: &OwnedFd) -> io::Result<Statx> {
    let want = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID;
    Ok(statx(fd, "", AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW, want)?)
}

/// The clock that file times are taken from (`current_time`, `fs/inode.c`).
fn clock() -> (i64, u32) {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    (now.tv_sec, u32::try_from(now.tv_nsec).unwrap_or(0))
}

fn ctime(stat: &Statx) -> (i64, u32) {
    (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec)
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

fn tree_at(path: &Path) -> impl Fn(TreeError) -> SourceError + '_ {
    move |source| SourceError::Node { what: path.display().to_string(), source: source.into() }
}

fn node_at(path: &Path) -> impl Fn(NodeError) -> SourceError + '_ {
    move |source| SourceError::Node { what: path.display().to_string(), source }
}
