//! Names and attributes of what is restored. Data come between: names first, attributes last,
//! because a time that was set does not survive a write.

use super::error::io_at;
use super::journal::Journal;
use super::target::Target;
use super::{Fs, RestoreError, segment};
use crate::manifest::Source;
use crate::source::SEGMENT;
use regionfs::read::{Inode, Kind};
use regionfs::{Timestamp, Xattr};
use rustix::fs::{
    AtFlags, CWD, Dev, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat,
    chownat, fchmod, fchown, ftruncate, linkat, lsetxattr, makedev, mknodat, open, symlinkat,
    utimensat,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Everything that is restored.
#[derive(Debug)]
pub(super) struct Trees {
    /// Node and place of each.
    nodes: Vec<(String, Target)>,
    /// Regular files with data, each inode once.
    pub(super) files: Vec<RestoredFile>,
    /// Where an inode with several names was made first.
    first: HashMap<u32, PathBuf>,
    /// Whether data of some files were copied by an earlier run, and are nowhere else.
    partly: bool,
}

/// A regular file, or a segment.
#[derive(Debug)]
pub(super) struct RestoredFile {
    pub(super) inode: u32,
    pub(super) place: Place,
}

/// Where data go.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Path(PathBuf),
    Segment(i32),
}

impl Trees {
    pub(super) fn new(partly: bool) -> Self {
        Self { nodes: Vec::new(), files: Vec::new(), first: HashMap::new(), partly }
    }

    /// Makes every name of a node, files with their sizes and without data, all for root alone.
    /// Returns where it is.
    pub(super) fn make(
        &mut self,
        fs: &Fs,
        source: &Source,
        mut target: Target,
        journal: &mut Journal,
        notes: &mut Vec<String>,
    ) -> Result<String, RestoreError> {
        let name = &source.name;
        let top = fs.lookup(name.as_bytes())?;
        let mut place = target.to_string();
        match &target {
            Target::Segment(origin, made) => {
                let id = segment::make(name, origin, *made, journal)?;
                let inode = fs.lookup(format!("{name}/{SEGMENT}").as_bytes())?.number;
                self.files.push(RestoredFile { inode, place: Place::Segment(id) });
                place = format!("sysv:{id}");
                target = Target::Segment(origin.clone(), Some(id));
            }
            Target::File(path) => {
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent).map_err(io_at(parent))?;
                }
                if !journal.has(path) {
                    make_known(path, journal)?;
                }
                walk(fs, &top, &target, &mut |path, inode| self.make_one(fs, path, inode, notes))?;
            }
            Target::Directory(path) => {
                fs::create_dir_all(path).map_err(io_at(path))?;
                seize(path)?;
                journal.add(path, &fs::symlink_metadata(path).map_err(io_at(path))?)?;
                walk(fs, &top, &target, &mut |path, inode| self.make_one(fs, path, inode, notes))?;
            }
        }
        self.nodes.push((name.clone(), target));
        Ok(place)
    }

    fn make_one(
        &mut self,
        fs: &Fs,
        path: &Path,
        inode: &Inode,
        notes: &mut Vec<String>,
    ) -> Result<(), RestoreError> {
        // Read now, while all spans are there: where attributes lie decides when those may go.
        fs.xattrs(inode)?;
        let several = inode.links > 1 && inode.kind != Kind::Directory;
        if several && let Some(first) = self.first.get(&inode.number) {
            let linked = linkat(CWD, first, CWD, path, AtFlags::empty());
            return unless_there(linked.map_err(Into::into)).map_err(io_at(path));
        }
        let node = |kind, device: Dev| {
            mknodat(CWD, path, kind, Mode::from(0o600), device).map_err(io::Error::from)
        };
        let made = match inode.kind {
            Kind::File => {
                let mut flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                // A file that is gone had data that are nowhere else.
                flags.set(OFlags::CREATE, !self.partly);
                let file = open(path, flags, Mode::RUSR | Mode::WUSR).map_err(io::Error::from);
                let sized = file.and_then(|f| Ok(ftruncate(&f, inode.size)?));
                let place = Place::Path(path.to_owned());
                self.files.push(RestoredFile { inode: inode.number, place });
                sized
            }
            Kind::Directory => {
                unless_there(fs::create_dir(path)).map_err(io_at(path))?;
                return seize(path);
            }
            Kind::Symlink => {
                let target = fs.symlink_target(inode)?;
                symlinkat(OsStr::from_bytes(&target), CWD, path).map_err(Into::into)
            }
            Kind::CharDevice { major, minor } => {
                node(FileType::CharacterDevice, makedev(major, minor))
            }
            Kind::BlockDevice { major, minor } => {
                node(FileType::BlockDevice, makedev(major, minor))
            }
            Kind::Fifo => node(FileType::Fifo, 0),
            Kind::Socket => {
                notes.push(format!("{}: a socket; nobody listens on it", path.display()));
                node(FileType::Socket, 0)
            }
        };
        unless_there(made).map_err(io_at(path))?;
        if several {
            self.first.insert(inode.number, path.to_owned());
        }
        Ok(())
    }

    /// Gives everything its owner, mode, extended attributes and times; a directory after all that
    /// is in it, because from then on its owner can change it.
    pub(super) fn attributes(&self, fs: &Fs, notes: &mut Vec<String>) -> Result<(), RestoreError> {
        for (name, target) in &self.nodes {
            let top = fs.lookup(name.as_bytes())?;
            let mut directories = Vec::new();
            match target {
                Target::Directory(path) => directories.push((path.clone(), top.number)),
                Target::Segment(origin, Some(id)) => segment::dress(*id, origin)?,
                Target::Segment(_, None) | Target::File(_) => {}
            }
            walk(fs, &top, target, &mut |path, inode| match inode.kind {
                Kind::Directory => {
                    directories.push((path.to_owned(), inode.number));
                    Ok(())
                }
                _ => dress(fs, path, inode, notes),
            })?;
            // Every directory was met before those in it.
            for (path, inode) in directories.into_iter().rev() {
                dress(fs, &path, &fs.inode(inode)?, notes)?;
            }
        }
        Ok(())
    }
}

/// Makes an empty file that the journal knows before it has a name: killed in between, it is gone.
fn make_known(path: &Path, journal: &mut Journal) -> Result<(), RestoreError> {
    let parent = path.parent().unwrap_or(path);
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = open(parent, flags, Mode::RUSR | Mode::WUSR).map_err(|e| io_at(parent)(e.into()))?;
    let file = File::from(file);
    journal.add(path, &file.metadata().map_err(io_at(path))?)?;
    linkat(&file, "", CWD, path, AtFlags::EMPTY_PATH).map_err(|e| io_at(path)(e.into()))
}

/// Makes sure that nobody but root can do anything in a directory, which may have been there.
fn seize(path: &Path) -> Result<(), RestoreError> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let take = || -> rustix::io::Result<()> {
        let dir = open(path, flags, Mode::empty())?;
        fchown(&dir, Some(Uid::ROOT), Some(Gid::ROOT))?;
        fchmod(&dir, Mode::RWXU)
    };
    take().map_err(|e| io_at(path)(e.into()))
}

/// Hands everything below a node's directory to `visit`, with the path that it goes to.
fn walk(
    fs: &Fs,
    top: &Inode,
    target: &Target,
    visit: &mut dyn FnMut(&Path, &Inode) -> Result<(), RestoreError>,
) -> Result<(), RestoreError> {
    let mut stack = match target {
        Target::Segment(..) => return Ok(()),
        Target::Directory(path) => vec![(path.clone(), top.clone())],
        Target::File(path) => {
            for entry in fs.read_dir(top)? {
                visit(path, &fs.inode(entry.inode)?)?;
            }
            return Ok(());
        }
    };
    while let Some((dir, inode)) = stack.pop() {
        for entry in fs.read_dir(&inode)? {
            let path = dir.join(OsStr::from_bytes(&entry.name));
            let inode = fs.inode(entry.inode)?;
            visit(&path, &inode)?;
            if inode.kind == Kind::Directory {
                stack.push((path, inode));
            }
        }
    }
    Ok(())
}

fn dress(fs: &Fs, path: &Path, inode: &Inode, notes: &mut Vec<String>) -> Result<(), RestoreError> {
    let at = |e: Errno| io_at(path)(e.into());
    let (uid, gid) = (Uid::from_raw(inode.uid), Gid::from_raw(inode.gid));
    chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(at)?;
    for Xattr { name, value } in fs.xattrs(inode)? {
        match lsetxattr(path, &*name, &value, XattrFlags::empty()) {
            Ok(()) => {}
            // tmpfs has user attributes since Linux 6.6 only.
            Err(Errno::OPNOTSUPP) => {
                let name = String::from_utf8_lossy(&name);
                notes.push(format!("{}: no place for attribute {name} there", path.display()));
            }
            Err(e) => return Err(at(e)),
        }
    }
    let mode = Mode::from_raw_mode(u32::from(inode.mode) & 0o7777);
    match inode.kind {
        Kind::Symlink => {}
        Kind::File | Kind::Directory => {
            let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = open(path, flags, Mode::empty()).map_err(at)?;
            fchmod(&file, mode).map_err(at)?;
        }
        // In a directory that is root's alone until all in it is done.
        _ => chmodat(CWD, path, mode, AtFlags::empty()).map_err(at)?,
    }
    let time = |t: Timestamp| Timespec { tv_sec: t.secs, tv_nsec: t.nanos.into() };
    let times = Timestamps { last_access: time(inode.atime), last_modification: time(inode.mtime) };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(at)
}

/// What is there already was made by an earlier run: the journal knows its top.
fn unless_there(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}
