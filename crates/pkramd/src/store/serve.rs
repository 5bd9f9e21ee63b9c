//! The two sockets: what comes in on them, and what is answered.
//!
//! ```text
//! datagram ─► of whom? ─► on to systemd ─► Store                      no answer
//! packet   ─► of whom, when it connected ─► Store ─► systemd has it ─► answer
//! ```
//!
//! Nothing here waits for a client: an answer that it does not take yet is kept, and nothing else
//! of it is read until then.

use super::connection::{Connection, Outgoing};
use super::{Peer, Pid1, Pid1Error, Proxy, ProxyError, Store};
use fdstore::Name;
use fdstore::answer::{Answer, Part};
use fdstore::packet::{Packet, Received, receive, send};
use fdstore::request::Request;
use fdstore::server::{accept, bind_notify, bind_store};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// Connections at a time.
const MAX_CONNECTIONS: usize = 256;

/// Of one owner, so that nobody can keep others out.
const MAX_OF_OWNER: usize = 8;

/// Datagrams that are handled before connections have their turn.
const MAX_DATAGRAMS: usize = 64;

/// Something for the journal.
#[derive(Debug)]
pub enum Event {
    /// Descriptors are stored.
    Stored {
        /// By whom.
        peer: Peer,
        /// Under this name.
        name: Name,
        /// How many that are new.
        count: usize,
    },
    /// Descriptors are dropped.
    Removed {
        /// By whom.
        peer: Peer,
        /// Of this name.
        name: Name,
        /// How many.
        count: usize,
    },
    /// Something was not done.
    Refused {
        /// For whom.
        whom: String,
        /// Why.
        why: String,
    },
    /// systemd's set is not up to date.
    Pid1(Pid1Error),
    /// systemd was not told.
    Proxy(ProxyError),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored { peer, name, count } => {
                write!(f, "{peer} stored {count} as {:?}", name.as_str())
            }
            Self::Removed { peer, name, count } => {
                write!(f, "{peer} removed {count} of {:?}", name.as_str())
            }
            Self::Refused { whom, why } => write!(f, "refused {whom}: {why}"),
            Self::Pid1(error) => error.fmt(f),
            Self::Proxy(error) => error.fmt(f),
        }
    }
}

/// The two sockets, and who is connected.
#[derive(Debug)]
pub struct Server {
    notify: OwnedFd,
    listener: OwnedFd,
    proxy: Option<Proxy>,
    connections: VecDeque<Connection>,
}

/// What a store is changed with.
struct Change<'a> {
    store: &'a mut Store,
    pid1: Option<&'a mut Pid1>,
    events: Vec<Event>,
}

impl Server {
    /// Makes both sockets. Without a proxy nothing goes on to systemd.
    ///
    /// # Errors
    /// What `bind(2)` says.
    pub fn bind(notify: &Path, store: &Path, proxy: Option<Proxy>) -> io::Result<Self> {
        let (notify, listener) = (bind_notify(notify)?, bind_store(store)?);
        Ok(Self { notify, listener, proxy, connections: VecDeque::new() })
    }

    /// What to wait for before the next [`Self::turn`].
    pub fn awaited(&self) -> impl Iterator<Item = PollFd<'_>> {
        let read = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let sockets = [self.notify.as_fd(), self.listener.as_fd()].into_iter().map(read);
        sockets.chain(self.connections.iter().map(Connection::awaited))
    }

    /// How long to wait at most: a client that leaves its answer is given up then.
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        self.connections.iter().filter_map(Connection::patience).min()
    }

    /// Waits until there is something to do, or the time is over.
    ///
    /// # Errors
    /// What `poll(2)` says.
    pub fn wait(&self, time: Duration) -> io::Result<()> {
        let time = Timespec::try_from(time).map_err(io::Error::other)?;
        match poll(&mut self.awaited().collect::<Vec<_>>(), Some(&time)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Does all that there is to do now.
    pub fn turn(&mut self, store: &mut Store, pid1: Option<&mut Pid1>) -> Vec<Event> {
        let mut change = Change { store, pid1, events: Vec::new() };
        for _ in 0..MAX_DATAGRAMS {
            match receive(&self.notify) {
                Ok(Received::Packet(packet)) => change.datagram(packet, self.proxy.as_ref()),
                // An empty datagram says nothing.
                Ok(Received::End) => {}
                Ok(Received::Nothing) => break,
                Err(error) => change.refuse("a datagram", &error),
            }
        }
        self.connections.retain_mut(|connection| change.connection(connection));
        self.accept(&mut change);
        change.events
    }

    /// Takes in who waits; they have their turn in the next one.
    fn accept(&mut self, change: &mut Change<'_>) {
        loop {
            let (socket, credentials) = match accept(&self.listener) {
                Ok(Some(accepted)) => accepted,
                Ok(None) => return,
                Err(error) => {
                    // Mostly there are too many open files; one less, and it goes on.
                    change.refuse("a connection", &error);
                    self.connections.pop_front();
                    return;
                }
            };
            let refuse = |change: &mut Change<'_>, whom: &dyn fmt::Display, why: String| {
                change.refuse(whom, &why);
                // It may be gone already.
                let _ = send(&socket, &Answer::Refused(why).to_bytes(), &[]);
            };
            let peer = match Peer::of_connection(&socket, credentials) {
                Ok(peer) => peer,
                Err(error) => {
                    refuse(change, &format_args!("user {}", credentials.uid), error.to_string());
                    continue;
                }
            };
            let owner = peer.owner();
            let others = self.connections.iter().filter(|c| c.peer.owner() == owner);
            if others.count() >= MAX_OF_OWNER {
                let why = format!("{owner} has {MAX_OF_OWNER} connections already");
                refuse(change, &peer, why);
                continue;
            }
            if self.connections.len() >= MAX_CONNECTIONS {
                self.connections.pop_front();
            }
            self.connections.push_back(Connection::new(socket, peer));
        }
    }
}

impl Change<'_> {
    fn refuse(&mut self, whom: impl fmt::Display, why: impl fmt::Display) {
        let (whom, why) = (whom.to_string(), why.to_string());
        self.events.push(Event::Refused { whom, why });
    }

    fn datagram(&mut self, packet: Packet, proxy: Option<&Proxy>) {
        let Some(sender) = packet.sender else { return self.refuse("a datagram", "no sender") };
        let peer = match Peer::of_sender(sender) {
            Ok(peer) => peer,
            Err(error) => return self.refuse(format_args!("user {}", sender.uid), error),
        };
        if let Some(Err(error)) = proxy.map(|proxy| proxy.forward(&packet)) {
            self.events.push(Event::Proxy(error));
        }
        let done = match Request::parse(&packet.bytes) {
            Ok(Request::Store(name)) => self.put(&peer, name, packet.descriptors),
            Ok(Request::Remove(name)) => self.remove(&peer, name),
            Ok(Request::Take(_) | Request::List) => {
                Err("there is no answer to a datagram; ask on store.sock".to_owned())
            }
            Ok(Request::Barrier | Request::Other) => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = done {
            self.refuse(&peer, why);
        }
    }

    /// Handles one packet of a connection, if there is one; returns whether it goes on.
    fn connection(&mut self, connection: &mut Connection) -> bool {
        match connection.flush() {
            Ok(true) => {}
            waits => return waits.is_ok(),
        }
        let peer = connection.peer.clone();
        let received = match receive(&connection.socket) {
            Ok(Received::Packet(packet)) => Ok(packet),
            Ok(Received::Nothing) => return true,
            Ok(Received::End) => return false,
            Err(error) => Err(error.to_string()),
        };
        let answer = received.and_then(|packet| self.answer(&peer, packet));
        connection.outgoing = answer.unwrap_or_else(|why| {
            self.refuse(&peer, &why);
            [Outgoing::new(&Answer::Refused(why))].into()
        });
        connection.flush().is_ok()
    }

    fn answer(&mut self, peer: &Peer, packet: Packet) -> Result<VecDeque<Outgoing>, String> {
        match Request::parse(&packet.bytes).map_err(|e| e.to_string())? {
            Request::Store(name) => self.put(peer, name, packet.descriptors)?,
            Request::Remove(name) => self.remove(peer, name)?,
            Request::Take(name) => return self.give(peer, name.as_ref()),
            Request::List => return Ok(self.list(peer)),
            Request::Barrier => {}
            Request::Other => return Err("the message asks for nothing of the store".to_owned()),
        }
        Ok([Outgoing::new(&Answer::Done(Part::default()))].into())
    }

    fn put(&mut self, peer: &Peer, name: Name, descriptors: Vec<OwnedFd>) -> Result<(), String> {
        let stored = self.store.put(peer, &name, descriptors);
        let count = stored.map_err(|refusal| refusal.to_string())?;
        if count > 0 {
            self.sync();
            self.events.push(Event::Stored { peer: peer.clone(), name, count });
        }
        Ok(())
    }

    fn remove(&mut self, peer: &Peer, name: Name) -> Result<(), String> {
        let mut kept = Ok(());
        let removed = self.store.remove(&peer.owner(), &name);
        for path in removed.iter().filter_map(|entry| entry.region_file.as_ref()) {
            if let Err(error) = super::arrive::forget(path) {
                kept = Err(format!("it is back after the next kexec: {}: {error}", path.display()));
            }
        }
        if !removed.is_empty() {
            self.sync();
            let (peer, count) = (peer.clone(), removed.len());
            self.events.push(Event::Removed { peer, name, count });
        }
        kept
    }

    fn sync(&mut self) {
        if let Some(Err(error)) = self.pid1.as_mut().map(|pid1| pid1.sync(self.store)) {
            self.events.push(Event::Pid1(error));
        }
    }

    fn give(&self, peer: &Peer, name: Option<&Name>) -> Result<VecDeque<Outgoing>, String> {
        let owner = peer.owner();
        let entries = self.store.of(&owner).filter(|e| name.is_none_or(|name| e.name == *name));
        let entries: Vec<_> = entries.collect();
        let names: Vec<_> = entries.iter().map(|e| (e.name.clone(), None)).collect();
        let mut descriptors = entries.iter().map(|e| e.descriptor.try_clone());
        let mut answer = VecDeque::new();
        for part in Part::split(&names) {
            let own = descriptors.by_ref().take(part.names.len()).collect::<Result<_, _>>();
            let own = own.map_err(|e| format!("cannot duplicate a descriptor: {e}"))?;
            answer.push_back(Outgoing::with(&Answer::Done(part), own));
        }
        Ok(answer)
    }

    fn list(&self, peer: &Peer) -> VecDeque<Outgoing> {
        let size = |e: &super::Entry| (e.name.clone(), Some(e.size().unwrap_or(0)));
        let items: Vec<_> = self.store.of(&peer.owner()).map(size).collect();
        Part::split(&items).into_iter().map(|part| Outgoing::new(&Answer::Done(part))).collect()
    }
}
