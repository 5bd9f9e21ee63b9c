//! A SysV shared memory segment: `sysv:ID`.

use super::SourceError;
use crate::manifest::{Origin, SysvOrigin};
use crate::nodes::Save;
use crate::nodes::memory::file_at;
use crate::sys::{Access, Attached, SHM_DEST, shm_stat};
use std::io;

/// The segment's file in its node.
pub(crate) const SEGMENT: &str = "segment";

/// Adds the segment as the node `name`.
pub(super) fn add(save: &mut Save, name: &str, id: i32, stay: bool) -> Result<(), SourceError> {
    let at = |what| move |source| SourceError::Sysv { id, what, source };
    let stat = shm_stat(id).map_err(at("cannot ask for it (shmctl(2))"))?;
    if stat.mode & SHM_DEST != 0 {
        let doomed = io::Error::other("it is marked to be destroyed");
        return Err(at("cannot keep it")(doomed));
    }
    let attached = Attached::new(id, Access::Read).map_err(at("cannot attach it (shmat(2))"))?;
    let wrap = |source| SourceError::Node { what: format!("sysv:{id}"), source };
    let mut node = save.node(name).map_err(wrap)?;
    let (_, page) = file_at(attached.address()).map_err(wrap)?;
    node.set_origin(Origin::Sysv(SysvOrigin {
        id,
        key: stat.key,
        uid: stat.uid,
        gid: stat.gid,
        mode: stat.mode & 0o777,
        size: stat.bytes,
        attached: stat.attached,
        page,
    }));
    let attributes = regionfs::Attributes {
        uid: stat.uid,
        gid: stat.gid,
        ..crate::nodes::mine(stat.mode & 0o666)
    };
    let dir = node.root();
    let mut object = node.object_in(dir, SEGMENT.as_bytes(), attributes);
    object.set_label(format!("sysv:{id}"));
    object.pages_at(attached.address(), stat.bytes).map_err(wrap)?;
    object.finish().map_err(wrap)?;
    node.set_in_place(stay);
    node.finish();
    Ok(())
}
