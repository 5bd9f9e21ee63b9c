//! The sockets of the side that keeps.
//!
//! | socket | type | who sends |
//! |---|---|---|
//! | [`NOTIFY_SOCKET`](crate::NOTIFY_SOCKET) | datagrams | each one says by `SCM_CREDENTIALS` |
//! | [`STORE_SOCKET`](crate::STORE_SOCKET) | sequenced packets | who connected, by `SO_PEERCRED` |
//!
//! Both may be written to by everybody; what is done for whom is decided by the credentials.

use crate::packet::Credentials;
use rustix::fs::{Mode, chmod};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_passcred, socket_peercred};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Makes the socket for datagrams, in the place of one that is there. It does not wait.
///
/// # Errors
/// What `bind(2)` says.
pub fn bind_notify(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket(SocketType::DGRAM)?;
    // Before it has an address: nothing can come without credentials.
    set_socket_passcred(&socket, true)?;
    place(&socket, path, |_| Ok(()))?;
    Ok(socket)
}

/// Makes the socket for connections, in the place of one that is there. It does not wait.
///
/// # Errors
/// What `bind(2)` and `listen(2)` say.
pub fn bind_store(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket(SocketType::SEQPACKET)?;
    place(&socket, path, |socket| Ok(listen(socket, BACKLOG)?))?;
    Ok(socket)
}

/// Accepts a connection, if one waits. It does not wait either.
///
/// # Errors
/// What `accept4(2)` says, but for a connection that is gone again.
pub fn accept(listener: impl AsFd) -> io::Result<Option<(OwnedFd, Credentials)>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    match accept_with(listener, flags) {
        Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
        accepted => {
            let connection = accepted?;
            let peer = socket_peercred(&connection)?;
            Ok(Some((connection, peer.into())))
        }
    }
}

fn socket(kind: SocketType) -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?)
}

/// Gives a socket its path when it is ready, so that nobody meets an unready one or none at all.
fn place(
    socket: &OwnedFd,
    path: &Path,
    ready: impl FnOnce(&OwnedFd) -> io::Result<()>,
) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    match fs::remove_file(new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    bind(socket, &SocketAddrUnix::new(new)?)?;
    chmod(new, Mode::from_raw_mode(0o666))?;
    ready(socket)?;
    fs::rename(new, path)
}
