//! systemd keeps a second set of what is stored, for when pkramd is started anew.
//!
//! ```text
//! Store ─► sync ─┬─ FDNAME=store-file-17    each open file once          ─► systemd's fd store of pkramd.service
//!                └─ FDNAME=store-index-9    a memfd: which is whose                        │
//! Store ◄─ inherit ◄──────────────────────────────────────────────────── LISTEN_FDS ◄─────┘
//! ```
//!
//! Files come before the index that names them, and go after it: killed at any instant, pkramd
//! finds a whole index, and every file that it names. systemd drops a descriptor that it has under
//! another name already (`same_fd`, `src/basic/fd-util.c`), so each file goes there once, whoever
//! and however many stored it.

use super::memory::{identify, look};
use super::{Arrival, Entry, MemoryError, Owner, Store};
use fdstore::packet::send_to;
use fdstore::{Name, request::Request};
use pkram::source::FileId;
use rustix::fs::{MemfdFlags, OFlags, memfd_create};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::Duration;

const FILE: &str = "store-file-";
const INDEX: &str = "store-index-";

/// The version of the index that is written and read.
const VERSION: u32 = 1;

/// Bytes in an index that is believed to be one.
const MAX_INDEX: u64 = 16 << 20;

/// How long PID 1 may take to make room for a message: a shutdown must not hang here.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why systemd does not have it.
#[derive(Debug, thiserror::Error)]
pub enum Pid1Error {
    /// No socket.
    #[error("NOTIFY_SOCKET={address}: {source}")]
    Address {
        /// What it says.
        address: String,
        /// Why that is none.
        source: io::Error,
    },
    /// It cannot be told.
    #[error("cannot store in systemd's fd store; what is stored is lost if pkramd ends: {0}")]
    Send(io::Error),
    /// The index.
    #[error("cannot write the index of what is stored: {0}")]
    Index(io::Error),
}

/// The index: which file is whose.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Index {
    version: u32,
    entries: Vec<Line>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    owner: Owner,
    name: String,
    file: u64,
    arrival: Arrival,
    region_file: Option<PathBuf>,
}

/// systemd's fd store of this service.
#[derive(Debug)]
pub struct Pid1 {
    socket: OwnedFd,
    to: SocketAddrUnix,
    /// What systemd has: each file's number.
    files: BTreeMap<(FileId, u32), u64>,
    /// The number of the newest index, and what it says.
    index: Option<(u64, Vec<u8>)>,
    next: u64,
}

/// What came of the descriptors that pkramd was started with.
#[derive(Debug, Default)]
pub struct Inherited {
    /// Those of other names.
    pub others: Vec<(String, OwnedFd)>,
    /// What is not in the store although it was to be, or the other way round, and why.
    pub problems: Vec<String>,
}

impl Pid1 {
    /// The store behind `address`, the value of `NOTIFY_SOCKET`: a path, or `@` and a name.
    ///
    /// # Errors
    /// No address.
    pub fn new(address: &str) -> Result<Self, Pid1Error> {
        let wrap = |e: rustix::io::Errno| Pid1Error::Address {
            address: address.to_owned(),
            source: e.into(),
        };
        let to = match address.strip_prefix('@') {
            Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()),
            None => SocketAddrUnix::new(address),
        };
        let (family, kind) = (AddressFamily::UNIX, SocketType::DGRAM);
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None).map_err(wrap)?;
        set_socket_timeout(&socket, Timeout::Send, Some(TIMEOUT)).map_err(wrap)?;
        let to = to.map_err(wrap)?;
        Ok(Self { socket, to, files: BTreeMap::new(), index: None, next: 0 })
    }

    /// Brings systemd's set up to date.
    ///
    /// # Errors
    /// It cannot be told; the next call tries again.
    pub fn sync(&mut self, store: &Store) -> Result<(), Pid1Error> {
        let mut index = Index { version: VERSION, ..Index::default() };
        for entry in store.entries() {
            let file = match self.files.get(&key(entry)) {
                Some(known) => *known,
                None => {
                    let number = self.number();
                    self.store(FILE, number, entry.descriptor.as_fd())?;
                    self.files.insert(key(entry), number);
                    number
                }
            };
            index.entries.push(Line {
                owner: entry.owner.clone(),
                name: entry.name.to_string(),
                file,
                arrival: entry.arrival,
                region_file: entry.region_file.clone(),
            });
        }
        self.replace_index(&index)?;
        let used: BTreeSet<_> = index.entries.iter().map(|line| line.file).collect();
        let gone: Vec<_> = self.files.values().filter(|n| !used.contains(n)).copied().collect();
        for number in gone {
            self.remove(&format!("{FILE}{number}"))?;
            self.files.retain(|_, known| *known != number);
        }
        Ok(())
    }

    fn replace_index(&mut self, index: &Index) -> Result<(), Pid1Error> {
        let bytes = serde_json::to_vec(index).map_err(|e| Pid1Error::Index(e.into()))?;
        if self.index.as_ref().is_some_and(|(_, last)| *last == bytes) {
            return Ok(());
        }
        let write = || -> io::Result<File> {
            let mut file = File::from(memfd_create("pkramd-index", MemfdFlags::CLOEXEC)?);
            file.write_all(&bytes)?;
            Ok(file)
        };
        let file = write().map_err(Pid1Error::Index)?;
        let number = self.number();
        self.store(INDEX, number, file.as_fd())?;
        if let Some((last, _)) = self.index.replace((number, bytes)) {
            self.remove(&format!("{INDEX}{last}"))?;
        }
        Ok(())
    }

    /// Fills the store from the descriptors that pkramd was started with, and has systemd drop what
    /// is of no use.
    ///
    /// # Errors
    /// systemd cannot be told; the store is filled all the same.
    pub fn inherit(
        &mut self,
        store: &mut Store,
        descriptors: Vec<(String, OwnedFd)>,
    ) -> (Inherited, Result<(), Pid1Error>) {
        let mut inherited = Inherited::default();
        let (mut files, mut indexes) = (BTreeMap::new(), BTreeMap::new());
        for (name, descriptor) in descriptors {
            let number = |prefix| name.strip_prefix(prefix)?.parse::<u64>().ok();
            match (number(FILE), number(INDEX)) {
                (Some(n), _) => drop(files.insert(n, descriptor)),
                (_, Some(n)) => drop(indexes.insert(n, descriptor)),
                _ => inherited.others.push((name, descriptor)),
            }
        }
        let last = files.keys().chain(indexes.keys()).max();
        self.next = last.map_or(0, |n| n.saturating_add(1));
        let problems = &mut inherited.problems;
        let mut useless: Vec<_> = indexes.keys().map(|n| format!("{INDEX}{n}")).collect();
        let newest = indexes.into_iter().rev().find_map(|(n, file)| match read(file) {
            Ok(index) => Some(index),
            Err(error) => {
                problems.push(format!("{INDEX}{n} from systemd's fd store: {error}"));
                None
            }
        });
        for line in newest.unwrap_or_default().entries {
            let (owner, name) = (line.owner.clone(), line.name.clone());
            match entry(line, &files) {
                Ok((entry, number)) => {
                    self.files.insert(key(&entry), number);
                    store.entries.push(entry);
                }
                Err(why) => problems.push(format!("{name:?} of {owner} is lost: {why}")),
            }
        }
        for number in files.into_keys() {
            if !self.files.values().any(|known| *known == number) {
                problems.push(format!("{FILE}{number} from systemd's fd store is nobody's"));
                useless.push(format!("{FILE}{number}"));
            }
        }
        // A new index first: the old ones are all that there is until then.
        let told = self.sync(store);
        let told = told.and_then(|()| useless.iter().try_for_each(|name| self.remove(name)));
        (inherited, told)
    }

    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next = number.saturating_add(1);
        number
    }

    fn store(&self, prefix: &str, number: u64, file: BorrowedFd<'_>) -> Result<(), Pid1Error> {
        // Memory has nothing to poll for.
        let message = format!("FDSTORE=1\nFDNAME={prefix}{number}\nFDPOLL=0");
        self.send(message.as_bytes(), &[file])
    }

    fn remove(&self, name: &str) -> Result<(), Pid1Error> {
        let Ok(name) = Name::new(name) else { return Ok(()) };
        self.send(&Request::Remove(name).to_bytes(), &[])
    }

    fn send(&self, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Pid1Error> {
        send_to(&self.socket, &self.to, message, descriptors, None).map_err(Pid1Error::Send)
    }
}

/// What systemd tells descriptors apart by.
fn key(entry: &Entry) -> (FileId, u32) {
    (entry.file, entry.flags.bits())
}

fn read(file: OwnedFd) -> io::Result<Index> {
    let file = File::from(file);
    // It is a memfd of ours, or somebody's joke.
    look(&file).map_err(io::Error::other)?;
    let size = file.metadata()?.len();
    if size > MAX_INDEX {
        return Err(io::Error::other(format!("{size} bytes; an index has at most {MAX_INDEX}")));
    }
    let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    let index: Index = serde_json::from_slice(&bytes)?;
    match index.version {
        VERSION => Ok(index),
        other => Err(io::Error::other(format!("version {other}; this pkramd knows {VERSION}"))),
    }
}

fn entry(line: Line, files: &BTreeMap<u64, OwnedFd>) -> Result<(Entry, u64), InheritError> {
    let Line { owner, name, file: number, arrival, region_file } = line;
    let descriptor = files.get(&number).ok_or(InheritError::Missing(number))?;
    let (file, flags): (FileId, OFlags) = match &region_file {
        Some(_) => identify(descriptor)?,
        None => look(descriptor).map(|memory| (memory.file, memory.flags))?,
    };
    let (descriptor, name) = (descriptor.try_clone()?, Name::new(&name)?);
    Ok((Entry { owner, name, arrival, descriptor, file, flags, region_file }, number))
}

#[derive(Debug, thiserror::Error)]
enum InheritError {
    #[error("{FILE}{0} is not among what systemd passed on; is FileDescriptorStoreMax= too small?")]
    Missing(u64),
    #[error(transparent)]
    Memory(#[from] MemoryError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Name(#[from] fdstore::NameError),
}
