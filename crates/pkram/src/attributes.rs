//! Attributes and extended attributes of one file, read without following a symlink.

use regionfs::{Attributes, Timestamp, Xattr};
use rustix::fs::{Stat, Statx, StatxTimestamp, lgetxattr, llistxattr};
use rustix::io::Errno;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;

/// Largest value of one extended attribute (`XATTR_SIZE_MAX`, `include/uapi/linux/limits.h`); the
/// largest list of names is as large.
const XATTR_SIZE_MAX: usize = 65536;

/// Everything about an inode but its content.
pub(crate) fn attributes(stat: &Statx, path: &Path) -> io::Result<Attributes> {
    Ok(Attributes {
        mode: stat.stx_mode & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        atime: time(stat.stx_atime),
        mtime: time(stat.stx_mtime),
        ctime: time(stat.stx_ctime),
        crtime: time(stat.stx_btime),
        xattrs: xattrs(path)?,
    })
}

/// A number that is another one when permissions, owner or extended attributes are. Times are not
/// in it.
pub(crate) fn mark(attributes: &Attributes) -> u64 {
    let Attributes { mode, uid, gid, xattrs, .. } = attributes;
    let mut xattrs: Vec<_> = xattrs.iter().map(|x| (&x.name, &x.value)).collect();
    xattrs.sort_unstable();
    let mut hasher = DefaultHasher::new();
    (mode, uid, gid, xattrs).hash(&mut hasher);
    hasher.finish()
}

/// What [`mark`] says of the open file at `path` now.
pub(crate) fn mark_now(stat: &Stat, path: &Path) -> io::Result<u64> {
    Ok(mark(&Attributes { xattrs: xattrs(path)?, ..of_file(stat) }))
}

/// Everything that an open file without a path says about its inode.
#[expect(
    clippy::cast_possible_truncation,
    reason = "nanoseconds are below a billion, and mode bits 12"
)]
pub(crate) fn of_file(stat: &Stat) -> Attributes {
    let time = |secs, nanos: u64| Timestamp { secs, nanos: nanos as u32 };
    let ctime = time(stat.st_ctime, stat.st_ctime_nsec);
    Attributes {
        mode: (stat.st_mode & 0o7777) as u16,
        uid: stat.st_uid,
        gid: stat.st_gid,
        atime: time(stat.st_atime, stat.st_atime_nsec),
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        ctime,
        crtime: ctime,
        xattrs: Vec::new(),
    }
}

fn time(t: StatxTimestamp) -> Timestamp {
    Timestamp { secs: t.tv_sec, nanos: t.tv_nsec }
}

fn xattrs(path: &Path) -> io::Result<Vec<Xattr>> {
    let mut list = vec![0; XATTR_SIZE_MAX];
    let n = match llistxattr(path, &mut list[..]) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Ok(n) => n,
        Err(e) => return Err(e.into()),
    };
    let mut value = vec![0; XATTR_SIZE_MAX];
    let mut found = Vec::new();
    for name in list[..n].split(|&b| b == 0).filter(|name| !name.is_empty()) {
        match lgetxattr(path, name, &mut value[..]) {
            Ok(len) => found.push(Xattr { name: name.to_vec(), value: value[..len].to_vec() }),
            // Gone since the list was read, or listed by a security module that hides it.
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(found)
}
