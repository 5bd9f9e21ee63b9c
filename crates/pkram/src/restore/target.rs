//! Where a node goes, and the note that an unfinished restore leaves for the next try.

use super::RestoreError;
use super::error::io_at;
use crate::manifest::{Origin, Source, SysvOrigin};
use crate::sys::{ShmStat, make_shm, shm_stat};
use physmem::PAGE_SIZE;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Where unfinished restores are noted, for the time of this boot.
const JOURNALS: &str = "/run/pkram/restore";

/// Where a node goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The node's directory becomes this one.
    Directory(PathBuf),
    /// The one file in the node's directory becomes this one.
    File(PathBuf),
    /// It becomes a SysV segment.
    Segment { id: i32 },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) | Self::File(path) => write!(f, "{}", path.display()),
            Self::Segment { id } => write!(f, "sysv:{id}"),
        }
    }
}

/// What a restore has made, so that the same restore knows it for its own when it is run again.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    made: Made,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Made {
    paths: Vec<PathBuf>,
    segments: BTreeMap<String, i32>,
}

impl Journal {
    pub(super) fn open(region: Uuid) -> Result<Self, RestoreError> {
        let path = Path::new(JOURNALS).join(format!("{region}.json"));
        fs::create_dir_all(JOURNALS).map_err(io_at(JOURNALS))?;
        let made = match fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Made::default(),
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(std::io::Error::other)
                .map_err(io_at(&path))?,
            Err(e) => return Err(io_at(&path)(e)),
        };
        Ok(Self { path, made })
    }

    /// Whether an earlier run was about to make this.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.made.paths.iter().any(|p| p == path)
    }

    /// Notes what is about to be made.
    pub(super) fn add(&mut self, path: &Path) -> Result<(), RestoreError> {
        if !self.has(path) {
            self.made.paths.push(path.to_owned());
            self.write()?;
        }
        Ok(())
    }

    fn write(&self) -> Result<(), RestoreError> {
        let bytes = serde_json::to_vec(&self.made).expect("paths and numbers are JSON");
        let new = self.path.with_extension("new");
        fs::write(&new, bytes).map_err(io_at(&new))?;
        fs::rename(&new, &self.path).map_err(io_at(&self.path))
    }

    /// Everything is done.
    pub(super) fn close(self) {
        // What stays behind only says which places may be taken over.
        let _ = fs::remove_file(&self.path);
    }
}

impl Target {
    pub(super) fn of(
        source: &Source,
        to: Option<&Path>,
        journal: &mut Journal,
    ) -> Result<Self, RestoreError> {
        if let Some(to) = to {
            return Ok(Self::Directory(to.join(&source.name)));
        }
        match &source.origin {
            Origin::Tmpfs { path, file } | Origin::Hugetlbfs { path, file, .. } => {
                let path = PathBuf::from(path);
                Ok(if *file { Self::File(path) } else { Self::Directory(path) })
            }
            Origin::Sysv(origin) => Self::segment(&source.name, origin, journal),
            origin @ (Origin::Memfd(_) | Origin::Program) => {
                let origin = origin.to_string();
                Err(RestoreError::NoPlace { name: source.name.clone(), origin })
            }
        }
    }

    fn segment(
        name: &str,
        origin: &SysvOrigin,
        journal: &mut Journal,
    ) -> Result<Self, RestoreError> {
        let wrap = |source| RestoreError::Segment { key: origin.key, source };
        if let Some(&id) = journal.made.segments.get(name)
            && shm_stat(id).is_ok_and(|s| s.bytes == origin.size && s.key == origin.key)
        {
            return Ok(Self::Segment { id });
        }
        let &SysvOrigin { key, mode, uid, gid, size: bytes, page, .. } = origin;
        let stat = ShmStat { key, mode, uid, gid, bytes, attached: 0 };
        let id = make_shm(&stat, page > PAGE_SIZE).map_err(wrap)?;
        journal.made.segments.insert(name.to_owned(), id);
        journal.write()?;
        Ok(Self::Segment { id })
    }
}
