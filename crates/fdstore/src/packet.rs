//! Bytes and descriptors, through a socket.
//!
//! What is received is owned from the first moment: descriptors are close-on-exec, and those of a
//! packet that is refused are closed.

use crate::request::{MAX_BYTES, MAX_DESCRIPTORS};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, UCred, recvmsg, sendmsg, sendmsg_addr,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Who sent a packet, or connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Its process: the one that the kernel saw, or that a sender with `CAP_SYS_ADMIN` named.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

impl From<UCred> for Credentials {
    fn from(ucred: UCred) -> Self {
        let pid = ucred.pid.as_raw_nonzero().get().unsigned_abs();
        Self { pid, uid: ucred.uid.as_raw(), gid: ucred.gid.as_raw() }
    }
}

/// What came in one packet.
#[derive(Debug)]
pub struct Packet {
    /// The message.
    pub bytes: Vec<u8>,
    /// The descriptors that came with it.
    pub descriptors: Vec<OwnedFd>,
    /// The sender, where the socket asks for it (`SO_PASSCRED`).
    pub sender: Option<Credentials>,
}

/// Why a packet was not received.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// Its end is missing.
    #[error("a message of more than {MAX_BYTES} bytes; it was dropped")]
    Long,
    /// There were more than this process can hold.
    #[error(
        "a message with more descriptors than this process may open; it was dropped with all of them"
    )]
    Descriptors,
    /// What `recvmsg(2)` says.
    #[error("cannot receive: {0}")]
    Io(#[from] io::Error),
}

/// Receives one packet; nothing when there is none on a socket that does not wait, or when the
/// other side has closed a connection.
///
/// A sender outside of this process's PID namespace has no PID here. Who relies on
/// [`Packet::sender`] runs in the first one, which sees all.
///
/// # Errors
/// A packet that is too large; its descriptors are closed.
pub fn receive(socket: impl AsFd) -> Result<Received, ReceiveError> {
    let mut bytes = vec![0; MAX_BYTES + 1];
    // A sender can give no more than these: SCM_MAX_FD.
    let mut space =
        [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        match recvmsg(&socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(Received::Nothing),
            other => break other.map_err(io::Error::from)?,
        }
    };
    let mut packet = Packet { bytes, descriptors: Vec::new(), sender: None };
    for part in control.drain() {
        match part {
            RecvAncillaryMessage::ScmRights(descriptors) => packet.descriptors.extend(descriptors),
            RecvAncillaryMessage::ScmCredentials(sender) => packet.sender = Some(sender.into()),
            _ => {}
        }
    }
    // The kernel installs as many as there is room for, and says so.
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(ReceiveError::Descriptors);
    }
    if message.flags.contains(ReturnFlags::TRUNC) || message.bytes > MAX_BYTES {
        return Err(ReceiveError::Long);
    }
    if message.bytes == 0 {
        return Ok(Received::End);
    }
    packet.bytes.truncate(message.bytes);
    Ok(Received::Packet(packet))
}

/// What there was to receive.
#[derive(Debug)]
pub enum Received {
    /// This.
    Packet(Packet),
    /// Nothing within the time, or nothing yet.
    Nothing,
    /// The other side has closed the connection; of a socket without one, an empty datagram.
    End,
}

/// Sends one packet on a connected socket.
///
/// # Errors
/// What `sendmsg(2)` says; `EPIPE` without a signal where the other side is gone.
pub fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    with_control(descriptors, None, |control| {
        sendmsg(&socket, &[IoSlice::new(bytes)], control, SendFlags::NOSIGNAL)
    })
}

/// Sends one datagram to an address, in the name of `sender` where one is given: that takes
/// `CAP_SYS_ADMIN`, or one's own PID (`scm_check_creds`, `net/core/scm.c`).
///
/// # Errors
/// What `sendmsg(2)` says; `ESRCH` where the sender has ended.
pub fn send_to(
    socket: impl AsFd,
    to: &SocketAddrUnix,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
    sender: Option<Credentials>,
) -> io::Result<()> {
    with_control(descriptors, sender, |control| {
        sendmsg_addr(&socket, to, &[IoSlice::new(bytes)], control, SendFlags::NOSIGNAL)
    })
}

fn with_control(
    descriptors: &[BorrowedFd<'_>],
    sender: Option<Credentials>,
    mut send: impl FnMut(&mut SendAncillaryBuffer<'_, '_, '_>) -> rustix::io::Result<usize>,
) -> io::Result<()> {
    let mut space =
        [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS), ScmCredentials(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let mut fits = true;
    if let Some(sender) = sender {
        fits &= control.push(SendAncillaryMessage::ScmCredentials(ucred(sender)?));
    }
    if !descriptors.is_empty() {
        fits &= control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    if !fits {
        return Err(io::Error::other(format!(
            "{} descriptors; a message has at most {MAX_DESCRIPTORS}",
            descriptors.len()
        )));
    }
    rustix::io::retry_on_intr(|| send(&mut control))?;
    Ok(())
}

fn ucred(of: Credentials) -> io::Result<UCred> {
    let pid = i32::try_from(of.pid).ok().and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other(format!("{} is no PID", of.pid)))?;
    let uid = rustix::process::Uid::from_raw(of.uid);
    Ok(UCred { pid, uid, gid: rustix::process::Gid::from_raw(of.gid) })
}
