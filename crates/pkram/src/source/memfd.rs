//! A memfd of a running process: `memfd:PID:FD`.

use super::tree::Trees;
use super::{FileId, SourceError};
use crate::attributes::of_file;
use crate::manifest::{MemfdOrigin, Origin};
use crate::nodes::Save;
use rustix::fs::{AtFlags, SealFlags, StatxFlags, fcntl_get_seals, fstat, statx, tell};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Which file a descriptor is, if it is one.
pub(super) fn file(pid: u32, fd: u32) -> Option<FileId> {
    id(&get(pid, fd).ok()?).ok()
}

/// Adds the memfd as the node `name`; where it is known already, by one more name. Its process goes on
/// with it until it ends or the jump comes.
pub(super) fn add(
    trees: &mut Trees<'_>,
    save: &mut Save,
    name: &str,
    (pid, fd): (u32, u32),
    stay: bool,
) -> Result<(), SourceError> {
    let label = format!("memfd:{pid}:{fd}");
    let at = |what| move |source| SourceError::Memfd { pid, fd, what, source };
    let file = get(pid, fd).map_err(at("cannot get the descriptor (pidfd_getfd(2))"))?;
    let seals = fcntl_get_seals(&file).unwrap_or(SealFlags::empty());
    let link = format!("/proc/{pid}/fd/{fd}");
    let link = fs::read_link(&link).map_err(at("cannot read its link in /proc"))?;
    let link = link.to_string_lossy();
    let memfd = link.strip_prefix("/memfd:").unwrap_or(&link);
    let memfd = memfd.strip_suffix(" (deleted)").unwrap_or(memfd);
    let stat = fstat(&file).map_err(|e| at("cannot stat it")(e.into()))?;
    let origin = MemfdOrigin {
        pid,
        fd,
        process: fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().into(),
        memfd: memfd.to_owned(),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        seals: seals.iter_names().map(|(name, _)| name.to_lowercase()).collect(),
        offset: tell(&file).map_err(|e| at("cannot read its offset")(e.into()))?,
    };
    let wrap = |source| SourceError::Node { what: label.clone(), source };
    let mut node = save.node(name).map_err(wrap)?;
    node.set_origin(Origin::Memfd(origin));
    let attributes = of_file(&stat);
    let (dir, file_name) = (node.root(), file_name(memfd));
    let id = id(&file).map_err(at("cannot stat it"))?;
    if let Some(known) = trees.known(id) {
        node.link(dir, file_name.as_bytes(), known).map_err(|e| wrap(e.into()))?;
    } else {
        let mut object = node.object_in(dir, file_name.as_bytes(), attributes);
        object.set_label(label.clone());
        object.file(file.as_fd()).map_err(wrap)?;
        trees.remember(id, object.finish().map_err(wrap)?, name);
    }
    node.set_in_place(stay);
    node.finish();
    Ok(())
}

fn id(file: &OwnedFd) -> io::Result<FileId> {
    Ok(FileId::of(&statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::INO)?))
}

fn get(pid: u32, fd: u32) -> io::Result<OwnedFd> {
    let none = || io::Error::from(io::ErrorKind::NotFound);
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(none)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    Ok(pidfd_getfd(&process, fd, PidfdGetfdFlags::empty())?)
}

/// What a memfd of this name is called in the region.
pub(crate) fn file_name(memfd: &str) -> String {
    match memfd.rsplit('/').next().unwrap_or_default() {
        "" | "." | ".." => "memfd".to_owned(),
        name => name.chars().take(200).collect::<String>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_memfd_has_a_file_name() {
        assert_eq!(file_name("cache"), "cache");
        assert_eq!(file_name(""), "memfd");
        assert_eq!(file_name("/dev/shm/x (y)"), "x (y)");
        assert_eq!(file_name("a/.."), "memfd");
    }
}
