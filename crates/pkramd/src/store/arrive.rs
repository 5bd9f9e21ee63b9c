//! The store's nodes in the next kernel: the same descriptors again.
//!
//! ```text
//! fdstore-foo.service/0        ─┬─ copy ──────► a new memfd: name, size, holes, content, mode, seals ─┐
//! fdstore-foo.service/0.bytes ─►│                                                                     ├─► open as it was ─► Entry
//!                    Record     └─ in place ──► the region's file ────────────────────────────────────┘
//! ```
//!
//! What does not check out costs only itself, and stays in its region.

use super::memory::identify;
use super::record::{Record, RecordError};
use super::{Arrival, Entry, Owner, Store};
use pkram::loaded::{LoadError, LoadedNode};
use rustix::fs::{
    Gid, Mode, OFlags, SealFlags, SeekFrom, Uid, fchmod, fchown, fcntl_add_seals, fstat, open, seek,
};
use std::collections::btree_map::{BTreeMap, Entry as Slot};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

/// What the store's nodes are called before the owner's name.
pub(super) const PREFIX: &str = "fdstore-";

/// The node of an owner.
#[must_use]
pub fn node_name(owner: &Owner) -> String {
    format!("{PREFIX}{owner}")
}

/// Whose node it is, if it is one of the store's.
#[must_use]
pub fn owner_of(node: &str) -> Option<Owner> {
    node.strip_prefix(PREFIX)?.to_owned().try_into().ok()
}

/// Takes an object out of its node, so that it does not arrive again. Its pages are there as long
/// as somebody has it open.
pub(super) fn forget(object: &Path) -> io::Result<()> {
    let mut record = object.as_os_str().to_owned();
    record.push(".bytes");
    fs::remove_file(object)?;
    fs::remove_file(record)
}

/// One object of such a node.
#[derive(Debug)]
pub struct Arrived {
    /// Where it lies.
    pub path: PathBuf,
    /// Its pages.
    pub file: File,
    /// Its record.
    pub record: Vec<u8>,
}

/// Why something did not arrive; it is in its region as before.
#[derive(Debug, thiserror::Error)]
pub enum ArriveError {
    /// The node cannot be listed.
    #[error("{path}: {source}", path = .path.display())]
    List {
        /// Its directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The object cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Its record is none.
    #[error("{path}: {source}", path = .path.display())]
    Record {
        /// Where the object lies.
        path: PathBuf,
        /// What is wrong.
        source: RecordError,
    },
    /// Record and file do not go together.
    #[error("{path} has {found} bytes; its record says {expected}", path = .path.display())]
    Size {
        /// Where the object lies.
        path: PathBuf,
        /// What the record says.
        expected: u64,
        /// What it has.
        found: u64,
    },
    /// There is no room for a copy.
    #[error(
        "{path}: a copy takes {needed} bytes of memory, and {available} are available; free some, or \
         have it arrive in place",
        path = .path.display()
    )]
    NoRoom {
        /// Where the object lies.
        path: PathBuf,
        /// Bytes.
        needed: u64,
        /// Bytes.
        available: u64,
    },
    /// It is there, but not sealed.
    #[error("{path}: its copy is not sealed with {seals:?}: {source}", path = .path.display())]
    Seals {
        /// Where the object lies.
        path: PathBuf,
        /// What is missing.
        seals: SealFlags,
        /// Why.
        source: io::Error,
    },
    /// A call fails.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Where the object lies.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Arrived {
    /// All objects of a node, in the order in which they were stored.
    ///
    /// # Errors
    /// The node cannot be listed.
    pub fn all_of(node: &LoadedNode) -> Result<Vec<Result<Self, ArriveError>>, ArriveError> {
        let path = node.path();
        let list = |source| ArriveError::List { path: path.clone(), source };
        let mut numbers = Vec::new();
        for found in fs::read_dir(&path).map_err(list)? {
            let name = found.map_err(list)?.file_name();
            numbers.extend(name.to_str().and_then(|n| n.parse::<u32>().ok()));
        }
        numbers.sort_unstable();
        let load = |number: u32| {
            let object = node.object(&number.to_string())?;
            let record = object.bytes()?;
            let path = path.join(number.to_string());
            let file = object.file().try_clone();
            let file = file.map_err(|source| ArriveError::Io { path: path.clone(), source })?;
            Ok(Self { path, file, record })
        };
        Ok(numbers.into_iter().map(load).collect())
    }
}

/// A file that has arrived: several objects may be names of it.
struct Whole {
    file: OwnedFd,
    seals: SealFlags,
    in_place: bool,
}

impl Store {
    /// Takes in what owners had stored before the kexec. A file that several had is one file again.
    /// What is returned did not arrive, and whose it was; all else is there.
    pub fn arrive(&mut self, objects: Vec<(Owner, Arrived)>) -> Vec<(Owner, ArriveError)> {
        let (mut files, mut errors) = (BTreeMap::new(), Vec::new());
        for (owner, object) in objects {
            match arrive_one(owner.clone(), &object, &mut files) {
                Ok(entry) => self.entries.push(entry),
                Err(error) => errors.push((owner, error)),
            }
        }
        // Now that all are open, also for writing.
        let copies = files.into_values().filter(|(.., whole)| !whole.in_place);
        for (owner, path, Whole { file, seals, .. }) in copies {
            if let Err(e) = fcntl_add_seals(&file, seals) {
                errors.push((owner, ArriveError::Seals { path, seals, source: e.into() }));
            }
        }
        errors
    }
}

fn arrive_one(
    owner: Owner,
    object: &Arrived,
    files: &mut BTreeMap<(u64, u64), (Owner, PathBuf, Whole)>,
) -> Result<Entry, ArriveError> {
    let path = &object.path;
    let io = |e: rustix::io::Errno| ArriveError::Io { path: path.clone(), source: e.into() };
    let record = Record::parse(&object.record)
        .map_err(|source| ArriveError::Record { path: path.clone(), source })?;
    let stat = fstat(&object.file).map_err(io)?;
    let found = u64::try_from(stat.st_size).unwrap_or(0);
    if found != record.size {
        let (path, expected) = (path.clone(), record.size);
        return Err(ArriveError::Size { path, expected, found });
    }
    let (.., whole) = match files.entry((stat.st_dev, stat.st_ino)) {
        Slot::Occupied(known) => known.into_mut(),
        Slot::Vacant(new) => new.insert((owner.clone(), path.clone(), whole(object, &record)?)),
    };
    let own = format!("/proc/self/fd/{}", whole.file.as_raw_fd());
    let descriptor = open(own, record.flags | OFlags::CLOEXEC, Mode::empty()).map_err(io)?;
    seek(&descriptor, SeekFrom::Start(record.offset)).map_err(io)?;
    let (file, flags) =
        identify(&descriptor).map_err(|source| ArriveError::Io { path: path.clone(), source })?;
    let (name, arrival) = (record.name, record.arrival);
    let region_file = whole.in_place.then(|| path.clone());
    Ok(Entry { owner, name, arrival, descriptor, file, flags, region_file })
}

/// The file itself, or a copy of it, with its owner and permissions.
fn whole(object: &Arrived, record: &Record) -> Result<Whole, ArriveError> {
    let path = &object.path;
    let wrap = |source| ArriveError::Io { path: path.clone(), source };
    let in_place = record.arrival == Arrival::InPlace;
    let file = match record.arrival {
        Arrival::Copy => super::copy::memfd(&object.file, path, record)?,
        Arrival::InPlace => object.file.try_clone().map_err(wrap)?.into(),
    };
    let here = fstat(&file).map_err(|e| wrap(e.into()))?;
    let (uid, gid) = record.ids;
    // It takes privileges, and is mostly so already.
    if (here.st_uid, here.st_gid) != record.ids {
        let ids = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        fchown(file.as_fd(), ids.0, ids.1).map_err(|e| wrap(e.into()))?;
    }
    if here.st_mode & 0o777 != record.mode {
        fchmod(file.as_fd(), Mode::from_raw_mode(record.mode)).map_err(|e| wrap(e.into()))?;
    }
    Ok(Whole { file, seals: record.seals, in_place })
}
