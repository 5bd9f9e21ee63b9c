//! What a program calls.

use crate::STORE_SOCKET;
use crate::answer::{Answer, AnswerError, Part};
use crate::name::{Name, NameError};
use crate::packet::{Packet, ReceiveError, Received, receive, send};
use crate::request::Request;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, connect, shutdown,
    socket_with,
};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a call waits, unless told otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Packets in one answer: far more than any quota lets there be.
const MAX_PARTS: usize = 1 << 12;

/// Why pkramd did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody is there.
    #[error(
        "cannot connect to pkramd at {path}: {source}; is pkramd.service running?",
        path = .path.display()
    )]
    Connect {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// pkramd says no.
    #[error("pkramd refuses: {0}")]
    Refused(String),
    /// It took too long.
    #[error("pkramd has not answered for {} s", .0.as_secs())]
    Timeout(Duration),
    /// It went away.
    #[error("pkramd closed the connection")]
    Closed,
    /// It could not be asked.
    #[error("cannot send to pkramd: {0}")]
    Send(io::Error),
    /// Its answer could not be received.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// Its answer is none.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// Its answer has no end.
    #[error("pkramd's answer has more than {MAX_PARTS} packets")]
    Endless,
    /// Names and descriptors do not go together.
    #[error("pkramd's answer names {names} descriptors and brings {descriptors}")]
    Count {
        /// So many.
        names: usize,
        /// So many.
        descriptors: usize,
    },
}

/// A descriptor that was kept.
#[derive(Debug)]
pub struct Kept {
    /// Under this name.
    pub name: Name,
    /// A duplicate; the store has its own.
    pub descriptor: OwnedFd,
}

/// A connection to pkramd. One call is under way at a time.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    timeout: Duration,
}

impl Client {
    /// Connects to the pkramd of this machine.
    ///
    /// # Errors
    /// Nobody is there.
    pub fn connect() -> Result<Self, ClientError> {
        Self::connect_to(Path::new(STORE_SOCKET), TIMEOUT)
    }

    /// Connects to a socket; no call on the connection waits longer than `timeout` for an answer.
    ///
    /// # Errors
    /// Nobody is there, or accepts within the time.
    pub fn connect_to(path: &Path, timeout: Duration) -> Result<Self, ClientError> {
        let open = || -> io::Result<OwnedFd> {
            let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
            let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
            set_socket_timeout(&socket, Timeout::Send, Some(timeout))?;
            set_socket_timeout(&socket, Timeout::Recv, Some(timeout))?;
            connect(&socket, &SocketAddrUnix::new(path)?)?;
            Ok(socket)
        };
        match open() {
            Ok(socket) => Ok(Self { socket, timeout }),
            Err(source) => Err(ClientError::Connect { path: path.to_owned(), source }),
        }
    }

    /// Has a descriptor kept under a name. Several may have the same one; the same file under the
    /// same name is kept once.
    ///
    /// # Errors
    /// pkramd refuses: no rule is for this program, its quota is used up, or it is not memory.
    pub fn put(&self, name: &str, descriptor: impl AsFd) -> Result<(), ClientError> {
        let request = Request::Store(Name::new(name)?);
        self.ask(&request, &[descriptor.as_fd()])?;
        Ok(())
    }

    /// The descriptor that was kept under a name last, if there is one. It stays in the store.
    ///
    /// # Errors
    /// pkramd does not answer.
    pub fn take(&self, name: &str) -> Result<Option<OwnedFd>, ClientError> {
        let kept = self.taken(&Request::Take(Some(Name::new(name)?)))?;
        Ok(kept.into_iter().next_back().map(|kept| kept.descriptor))
    }

    /// All that is kept for this program, or all of a name, in the order in which it was put. It
    /// stays in the store.
    ///
    /// # Errors
    /// pkramd does not answer.
    pub fn take_all(&self, name: Option<&str>) -> Result<Vec<Kept>, ClientError> {
        self.taken(&Request::Take(name.map(Name::new).transpose()?))
    }

    /// Drops all that is kept under a name; nothing of that name is no error.
    ///
    /// # Errors
    /// pkramd does not answer.
    pub fn remove(&self, name: &str) -> Result<(), ClientError> {
        self.ask(&Request::Remove(Name::new(name)?), &[])?;
        Ok(())
    }

    /// Names and sizes in bytes of what is kept for this program.
    ///
    /// # Errors
    /// pkramd does not answer.
    pub fn list(&self) -> Result<Vec<(Name, u64)>, ClientError> {
        let parts = self.ask(&Request::List, &[])?;
        Ok(parts.into_iter().flat_map(|(part, _)| part.names.into_iter().zip(part.sizes)).collect())
    }

    fn taken(&self, request: &Request) -> Result<Vec<Kept>, ClientError> {
        let mut kept = Vec::new();
        for (part, descriptors) in self.ask(request, &[])? {
            let (names, count) = (part.names.len(), descriptors.len());
            if names != count {
                return Err(ClientError::Count { names, descriptors: count });
            }
            let pairs = part.names.into_iter().zip(descriptors);
            kept.extend(pairs.map(|(name, descriptor)| Kept { name, descriptor }));
        }
        Ok(kept)
    }

    /// Sends a request and receives all packets of its answer. An answer that came too late must
    /// not be taken for the next one: whatever fails but a refusal ends the connection.
    fn ask(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Vec<(Part, Vec<OwnedFd>)>, ClientError> {
        let answer = self.exchange(request, descriptors);
        if !matches!(answer, Ok(_) | Err(ClientError::Refused(_))) {
            // It may be at its end already.
            let _ = shutdown(&self.socket, Shutdown::Both);
        }
        answer
    }

    fn exchange(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Vec<(Part, Vec<OwnedFd>)>, ClientError> {
        match send(&self.socket, &request.to_bytes(), descriptors).map_err(|e| (e.kind(), e)) {
            // Who is refused at once can read why.
            Ok(()) | Err((ErrorKind::BrokenPipe | ErrorKind::ConnectionReset, _)) => {}
            Err((ErrorKind::WouldBlock, _)) => return Err(ClientError::Timeout(self.timeout)),
            Err((_, error)) => return Err(ClientError::Send(error)),
        }
        let mut parts = Vec::new();
        while parts.len() < MAX_PARTS {
            let Packet { bytes, descriptors, .. } = match self.receive()? {
                Received::Packet(packet) => packet,
                Received::Nothing => return Err(ClientError::Timeout(self.timeout)),
                Received::End => return Err(ClientError::Closed),
            };
            match Answer::parse(&bytes)? {
                Answer::Refused(why) => return Err(ClientError::Refused(why)),
                Answer::Done(part) => {
                    let more = part.more;
                    parts.push((part, descriptors));
                    if !more {
                        return Ok(parts);
                    }
                }
            }
        }
        Err(ClientError::Endless)
    }

    /// One packet. That the other side closed the connection without reading all is told before
    /// what it had sent (`unix_release_sock`, `net/unix/af_unix.c`).
    fn receive(&self) -> Result<Received, ClientError> {
        let is_reset = |e: &ReceiveError| matches!(e, ReceiveError::Io(e) if e.kind() == ErrorKind::ConnectionReset);
        match receive(&self.socket) {
            Err(error) if is_reset(&error) => Ok(receive(&self.socket)?),
            received => Ok(received?),
        }
    }
}
