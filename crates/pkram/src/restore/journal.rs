//! What a restore has made, so that the same restore knows it for its own when it is run again.

use super::RestoreError;
use super::error::io_at;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Where unfinished restores are noted, for the time of this boot.
const JOURNALS: &str = "/run/pkram/restore";

#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    made: Made,
    /// Locked as long as it is open, whatever becomes of this process.
    _lock: File,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Made {
    /// Places, with device and inode of what was made there.
    places: BTreeMap<PathBuf, (u64, u64)>,
    /// Segments, by node.
    segments: BTreeMap<String, Noted>,
    /// Everything that the region has is in its place: the copies may be in use by now, and newer.
    copied: bool,
}

/// How far a segment is known to have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Noted {
    /// The process with this number was about to make it.
    Making { maker: u32 },
    /// It has this identifier.
    Made { id: i32 },
}

impl Journal {
    pub(super) fn open(region: Uuid) -> Result<Self, RestoreError> {
        Self::open_in(Path::new(JOURNALS), region)
    }

    fn open_in(folder: &Path, region: Uuid) -> Result<Self, RestoreError> {
        fs::create_dir_all(folder).map_err(io_at(folder))?;
        let lock = folder.join(format!("{region}.lock"));
        let lock = File::create(&lock).map_err(io_at(&lock))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Err(RestoreError::UnderWay { region }),
            locked => locked.map_err(io::Error::from).map_err(io_at(folder))?,
        }
        let path = folder.join(format!("{region}.json"));
        let made = match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Made::default(),
            Err(e) => return Err(io_at(&path)(e)),
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(io::Error::other).map_err(io_at(&path))?
            }
        };
        Ok(Self { path, made, _lock: lock })
    }

    /// Whether what is at this place was made by an earlier run.
    pub(super) fn has(&self, place: &Path) -> bool {
        let found = fs::symlink_metadata(place).map(|m| (m.dev(), m.ino())).ok();
        found.is_some() && self.made.places.get(place).copied() == found
    }

    /// Notes what was made there, or is about to get this name.
    pub(super) fn add(&mut self, place: &Path, made: &Metadata) -> Result<(), RestoreError> {
        self.made.places.insert(place.to_owned(), (made.dev(), made.ino()));
        self.write()
    }

    /// What is known of a node's segment.
    pub(super) fn segment(&self, node: &str) -> Option<Noted> {
        self.made.segments.get(node).copied()
    }

    /// Whether the segment with this identifier is known as some node's.
    pub(super) fn is_segment(&self, id: i32) -> bool {
        self.made.segments.values().any(|noted| *noted == Noted::Made { id })
    }

    pub(super) fn note_segment(&mut self, node: &str, noted: Noted) -> Result<(), RestoreError> {
        self.made.segments.insert(node.to_owned(), noted);
        self.write()
    }

    pub(super) fn is_copied(&self) -> bool {
        self.made.copied
    }

    /// Notes that everything that the region has is in its place.
    pub(super) fn copied(&mut self) -> Result<(), RestoreError> {
        self.made.copied = true;
        self.write()
    }

    fn write(&self) -> Result<(), RestoreError> {
        let bytes = serde_json::to_vec(&self.made).map_err(io::Error::other);
        let new = self.path.with_extension("new");
        fs::write(&new, bytes.map_err(io_at(&new))?).map_err(io_at(&new))?;
        fs::rename(&new, &self.path).map_err(io_at(&self.path))
    }

    /// All is done.
    pub(super) fn close(self) {
        // What stays behind only says which places may be taken over.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_restored_by_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let [one, other] = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let first = Journal::open_in(dir.path(), one).unwrap();
        let second = Journal::open_in(dir.path(), one);
        assert!(matches!(second, Err(RestoreError::UnderWay { region }) if region == one));
        Journal::open_in(dir.path(), other).unwrap();
        first.close();
        Journal::open_in(dir.path(), one).unwrap();
    }
}
