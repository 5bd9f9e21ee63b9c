//! What services tell systemd goes on to it, in their name.
//!
//! A service whose `NOTIFY_SOCKET` is pkramd's says everything there: `READY=1`, `WATCHDOG=1`, a
//! barrier, and what it stores. systemd gets all of it, descriptors included, as if pkramd were not
//! between: the unit's own fd store works as before. The kernel lets root name another process as
//! the sender (`scm_check_creds`, `net/core/scm.c`), and systemd finds the unit by that
//! (`manager_dispatch_notify_fd`, `src/core/manager.c`).
//!
//! Everything goes through one queue in the order in which it came, so a barrier is closed by
//! systemd after it has seen what came before it; our own copy is closed at once.

use fdstore::packet::{Packet, send_to};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long systemd may take to make room for a message.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The way to systemd.
#[derive(Debug)]
pub struct Proxy {
    socket: OwnedFd,
    path: PathBuf,
    to: SocketAddrUnix,
}

/// Why a message did not reach systemd.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// There is no way.
    #[error("{path}: {source}", path = .path.display())]
    Path {
        /// systemd's socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nobody can be named as the sender. Without that it would be said in pkramd's own name.
    #[error("a message without a sender was not passed on to systemd")]
    Sender,
    /// It did not go.
    #[error("a message of process {pid} was not passed on to {path}: {source}", path = .path.display())]
    Send {
        /// The sender.
        pid: u32,
        /// systemd's socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Proxy {
    /// systemd's own socket for all services: `manager_setup_notify`, `src/core/manager.c`.
    pub const SYSTEMD: &str = "/run/systemd/notify";

    /// The way to the socket at `path`.
    ///
    /// # Errors
    /// No path of a socket.
    pub fn new(path: &Path) -> Result<Self, ProxyError> {
        let open = || -> io::Result<(OwnedFd, SocketAddrUnix)> {
            let (family, kind) = (AddressFamily::UNIX, SocketType::DGRAM);
            let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
            set_socket_timeout(&socket, Timeout::Send, Some(TIMEOUT))?;
            Ok((socket, SocketAddrUnix::new(path)?))
        };
        match open() {
            Ok((socket, to)) => Ok(Self { socket, path: path.to_owned(), to }),
            Err(source) => Err(ProxyError::Path { path: path.to_owned(), source }),
        }
    }

    /// Passes a message on.
    ///
    /// # Errors
    /// It did not go, for one because its sender has ended.
    pub fn forward(&self, packet: &Packet) -> Result<(), ProxyError> {
        let sender = packet.sender.ok_or(ProxyError::Sender)?;
        let descriptors: Vec<BorrowedFd<'_>> =
            packet.descriptors.iter().map(|fd| fd.as_fd()).collect();
        send_to(&self.socket, &self.to, &packet.bytes, &descriptors, Some(sender))
            .map_err(|source| ProxyError::Send { pid: sender.pid, path: self.path.clone(), source })
    }
}
