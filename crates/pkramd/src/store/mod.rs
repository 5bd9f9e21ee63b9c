//! What services handed over: descriptors of memory, by owner and name.
//!
//! ```text
//! sockets ─► serve ─┬─► peer: who? ─► rule: may they? ─► memory: is it? ─► Store ─┬─► pid1    over our own restart
//!                   └─► proxy ─► systemd                                          └─► save    over a kexec
//!                                                                   next kernel:  ┌── arrive ◄─ region
//!                                                                          Store ◄┘
//! ```
//!
//! | module | idea |
//! |---|---|
//! | [`peer`](Peer) | which service or user a process belongs to |
//! | [`rule`](Rule) | who may hand over how much |
//! | [`memory`](Memory) | what can be kept, and what cannot |
//! | [`save`](Store::save_into) | one node an owner, one object a file |
//! | [`arrive`](Store::arrive) | the same descriptors in the next kernel |
//! | [`pid1`](Pid1) | systemd keeps a second set, for when pkramd is started anew |
//! | [`serve`](Server) | the two sockets |
//! | [`proxy`](Proxy) | what services tell systemd goes on to it |
//!
//! A service gets back only its own. What it takes stays in the store, so that a service that
//! crashes gets it again, as from systemd's store; removing it is a word of its own.

mod arrive;
mod cgroup;
mod connection;
mod copy;
mod listen;
mod memory;
mod peer;
mod pid1;
mod proxy;
mod record;
mod rule;
mod save;
mod serve;

pub use arrive::{ArriveError, Arrived, node_name, owner_of};
pub use listen::{ListenError, listen_descriptors};
pub use memory::{Memory, MemoryError};
pub use peer::{Owner, OwnerError, Peer, PeerError};
pub use pid1::{Inherited, Pid1, Pid1Error};
pub use proxy::{Proxy, ProxyError};
pub use record::RecordError;
pub use rule::{Arrival, Rule, Who};
pub use save::SaveStoreError;
pub use serve::{Event, Server};

use fdstore::Name;
use pkram::source::FileId;
use rustix::fs::OFlags;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// A stored descriptor.
#[derive(Debug)]
pub struct Entry {
    /// Whose it is.
    pub owner: Owner,
    /// What its owner calls it.
    pub name: Name,
    /// How it will arrive in the next kernel.
    pub arrival: Arrival,
    /// The descriptor.
    pub descriptor: OwnedFd,
    /// Which file it is.
    pub file: FileId,
    /// How it is open.
    flags: OFlags,
    /// Where the file lies in a region, if it does: it goes over a kexec with that.
    pub region_file: Option<PathBuf>,
}

/// What services handed over.
#[derive(Debug, Default)]
pub struct Store {
    rules: Vec<Rule>,
    /// In the order in which they came.
    entries: Vec<Entry>,
}

/// Why something is not stored.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Nobody said that they may.
    #[error(
        "{owner} may not hand over memory: pkram.toml has no [[handover]] with {missing}; add one"
    )]
    NoRule {
        /// Who.
        owner: Owner,
        /// What the rule would say.
        missing: String,
    },
    /// Nothing came along.
    #[error("FDSTORE=1 came without a descriptor")]
    Empty,
    /// Not memory.
    #[error("descriptor {name:?} is not kept: {source}", name = .name.as_str())]
    Memory {
        /// What it was to be called.
        name: Name,
        /// What it is.
        source: MemoryError,
    },
    /// Too many.
    #[error("{owner} would have {count} descriptors stored; its max-descriptors is {limit}")]
    Count {
        /// Who.
        owner: Owner,
        /// So many.
        count: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Too large.
    #[error("{owner} would have {size} bytes stored; its max-size is {limit} bytes")]
    Size {
        /// Who.
        owner: Owner,
        /// So much.
        size: u64,
        /// What is allowed.
        limit: u64,
    },
    /// No directory of a region can be called after it.
    #[error("{owner} is too long a name for a node; at most {limit} bytes can be kept")]
    Long {
        /// Who.
        owner: Owner,
        /// Bytes.
        limit: usize,
    },
}

/// An owner whose files have grown beyond what it may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oversize {
    /// Who.
    pub owner: Owner,
    /// So much, in bytes.
    pub size: u64,
    /// What is allowed, in bytes; nothing where there is no rule any more.
    pub limit: u64,
}

impl Store {
    /// An empty store with these rules.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules, entries: Vec::new() }
    }

    /// Sets other rules. What is stored stays; what they do not allow is [`Self::oversize`].
    pub fn set_rules(&mut self, rules: Vec<Rule>) {
        self.rules = rules;
    }

    /// All that is stored, in the order in which it came.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Stores descriptors for a peer, all of them or none; returns how many are new. A file that
    /// the owner has under the same name already, open in the same way, is there once (systemd's
    /// `service_add_fd_store` does the same).
    ///
    /// # Errors
    /// No rule, no memory, too much.
    pub fn put(
        &mut self,
        peer: &Peer,
        name: &Name,
        descriptors: Vec<OwnedFd>,
    ) -> Result<usize, Refusal> {
        let owner = peer.owner();
        let rule = self.rules.iter().find(|r| r.is_for(&owner)).ok_or_else(|| {
            let missing = match owner.uid() {
                Some(uid) => format!("the user whose UID is {uid}"),
                None => format!("unit = \"{owner}\""),
            };
            Refusal::NoRule { owner: owner.clone(), missing }
        })?;
        if owner.as_str().len() > save::MAX_OWNER {
            return Err(Refusal::Long { owner, limit: save::MAX_OWNER });
        }
        if descriptors.is_empty() {
            return Err(Refusal::Empty);
        }
        let mut new: Vec<Entry> = Vec::new();
        for descriptor in descriptors {
            let wrap = |source| Refusal::Memory { name: name.clone(), source };
            let id = memory::identify(&descriptor).map_err(|e| wrap(e.into()))?;
            let same = |e: &Entry| (&e.owner, &e.name, (e.file, e.flags)) == (&owner, name, id);
            if self.entries.iter().chain(&new).any(same) {
                continue;
            }
            let Memory { file, flags, .. } = memory::look(&descriptor).map_err(wrap)?;
            let (owner, name) = (owner.clone(), name.clone());
            let arrival = rule.arrival;
            new.push(Entry { owner, name, arrival, descriptor, file, flags, region_file: None });
        }
        let usage = Usage::of(self.of(&owner).chain(&new));
        if usage.count > rule.max_descriptors && !new.is_empty() {
            let (count, limit) = (usage.count, rule.max_descriptors);
            return Err(Refusal::Count { owner, count, limit });
        }
        if usage.size > rule.max_size && !new.is_empty() {
            return Err(Refusal::Size { owner, size: usage.size, limit: rule.max_size });
        }
        let count = new.len();
        self.entries.extend(new);
        Ok(count)
    }

    /// What an owner has stored, in the order in which it came.
    pub fn of(&self, owner: &Owner) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |e| e.owner == *owner)
    }

    /// Drops all that an owner has under a name.
    pub fn remove(&mut self, owner: &Owner, name: &Name) -> Vec<Entry> {
        self.entries.extract_if(.., |e| e.owner == *owner && e.name == *name).collect()
    }

    /// Owners whose files have grown beyond what they may have since they were stored, or for whom
    /// there is no rule any more.
    #[must_use]
    pub fn oversize(&self) -> Vec<Oversize> {
        let mut owners: BTreeMap<&Owner, Vec<&Entry>> = BTreeMap::new();
        for entry in &self.entries {
            owners.entry(&entry.owner).or_default().push(entry);
        }
        let over = owners.into_iter().filter_map(|(owner, entries)| {
            let rule = self.rules.iter().find(|r| r.is_for(owner));
            let limit = rule.map_or(0, |r| r.max_size);
            let size = Usage::of(entries.into_iter()).size;
            (size > limit).then(|| Oversize { owner: owner.clone(), size, limit })
        });
        over.collect()
    }
}

impl Entry {
    /// Its size in bytes, now.
    ///
    /// # Errors
    /// What `fstat(2)` says.
    pub fn size(&self) -> io::Result<u64> {
        memory::size(&self.descriptor)
    }
}

impl AsFd for Entry {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// What an owner has.
#[derive(Debug, Default)]
struct Usage {
    count: usize,
    /// Of each file once, in bytes.
    size: u64,
}

impl Usage {
    fn of<'e>(entries: impl Iterator<Item = &'e Entry>) -> Self {
        let mut files = BTreeSet::new();
        let mut usage = Self::default();
        for entry in entries {
            usage.count += 1;
            if files.insert(entry.file) {
                // What cannot be seen is not small.
                let size = entry.size().unwrap_or(u64::MAX);
                usage.size = usage.size.saturating_add(size);
            }
        }
        usage
    }
}
