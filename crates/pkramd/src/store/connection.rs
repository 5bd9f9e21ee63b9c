//! One client: who it is, and what it has not taken yet of its answer.
//!
//! A socket takes few packets at a time (`net.unix.max_dgram_qlen`), so an answer of many goes as
//! the client reads. One that does not read for a while is given up.

use super::Peer;
use fdstore::answer::Answer;
use fdstore::packet::send;
use rustix::event::{PollFd, PollFlags};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long a client may leave an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: OwnedFd,
    pub(super) peer: Peer,
    /// What is to be sent.
    pub(super) outgoing: VecDeque<Outgoing>,
    /// Since when it has taken nothing of it.
    stuck: Option<Instant>,
}

/// A packet of an answer.
#[derive(Debug)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Outgoing {
    /// A packet without descriptors.
    pub(super) fn new(answer: &Answer) -> Self {
        Self::with(answer, Vec::new())
    }

    /// A packet with some.
    pub(super) fn with(answer: &Answer, descriptors: Vec<OwnedFd>) -> Self {
        Self { bytes: answer.to_bytes(), descriptors }
    }
}

impl Connection {
    pub(super) fn new(socket: OwnedFd, peer: Peer) -> Self {
        Self { socket, peer, outgoing: VecDeque::new(), stuck: None }
    }

    /// What to wait for: room for the answer, or else a request.
    pub(super) fn awaited(&self) -> PollFd<'_> {
        let flags = if self.outgoing.is_empty() { PollFlags::IN } else { PollFlags::OUT };
        PollFd::new(&self.socket, flags)
    }

    /// How much longer it may leave its answer; `None` where it leaves none.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.stuck.map(|since| PATIENCE.saturating_sub(since.elapsed()))
    }

    /// Sends what the client takes; returns whether that was all.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        while let Some(Outgoing { bytes, descriptors }) = self.outgoing.front() {
            let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(|d| d.as_fd()).collect();
            match send(&self.socket, bytes, &descriptors) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let since = self.stuck.get_or_insert_with(Instant::now);
                    return if since.elapsed() < PATIENCE { Ok(false) } else { Err(e) };
                }
                sent => sent?,
            }
            self.outgoing.pop_front();
            self.stuck = None;
        }
        Ok(true)
    }
}
