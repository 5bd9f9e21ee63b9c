//! How the daemon's short-lived parts ask the daemon: one JSON object a line, over a socket that
//! only root reaches.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_peercred;
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

/// What pkram keeps for the time of this boot.
pub(crate) const DIR: &str = "/run/pkram";

/// Where the daemon listens.
const SOCKET: &str = "/run/pkram/control.sock";

/// A client that says nothing for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a shutdown ends, as systemd calls it (`system-shutdown/` hooks get it as their argument).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verb {
    Kexec,
    Reboot,
}

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ask {
    /// Hold everything, take the last census, load the next kernel.
    Stage(Verb),
    /// Last look and jump. There is an answer only if that fails.
    Jump(Verb),
    /// Load what lets `systemctl kexec` begin, whatever the configuration says.
    Begin,
    /// Load it, or unload it, as the configuration says.
    Settle,
    /// Read the configuration anew.
    Reload,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reply {
    /// Done.
    Done,
    /// Nothing is to be done: this shutdown is none of ours.
    NotOurs,
    /// It did not work; the text says why.
    Failed(String),
}

/// Begins to listen.
pub(crate) fn listen() -> io::Result<UnixListener> {
    fs::create_dir_all(DIR)?;
    // Other sockets here are for everybody.
    fs::set_permissions(DIR, fs::Permissions::from_mode(0o755))?;
    match fs::remove_file(SOCKET) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(SOCKET)?;
    fs::set_permissions(SOCKET, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Asks the daemon, and waits no longer than `deadline`.
///
/// # Errors
/// No daemon, or none that answers in time, which is [`io::ErrorKind::TimedOut`].
pub(crate) fn ask(what: Ask, deadline: Duration) -> io::Result<Reply> {
    let mut stream = UnixStream::connect(SOCKET)?;
    stream.set_read_timeout(Some(deadline))?;
    let line = serde_json::to_string(&what)?;
    writeln!(stream, "{line}")?;
    let mut answer = String::new();
    let ended = io::ErrorKind::ConnectionReset;
    match BufReader::new(stream).read_line(&mut answer) {
        Ok(0) => Err(io::Error::new(ended, "it ended over it")),
        Ok(_) => Ok(serde_json::from_str(&answer)?),
        Err(error) if error.kind() == ended => Err(io::Error::new(ended, "it ended over it")),
        // `socket(7)`, SO_RCVTIMEO
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let text = format!("nothing came within {} s", deadline.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        }
        Err(error) => Err(error),
    }
}

/// Ends the daemon, whatever it is at, and waits until it is gone.
///
/// # Errors
/// There is none, or it does not go.
pub(crate) fn kill_daemon() -> io::Result<()> {
    // The kernel notes down who listens (`unix(7)`, SO_PEERCRED); no answer is needed.
    let pid = socket_peercred(UnixStream::connect(SOCKET)?)?.pid;
    let daemon = pidfd_open(pid, PidfdFlags::empty())?;
    pidfd_send_signal(&daemon, Signal::KILL)?;
    let gone = PollFd::new(&daemon, PollFlags::IN);
    let patience = Timespec::try_from(PATIENCE).map_err(io::Error::other)?;
    match poll(&mut [gone], Some(&patience))? {
        0 => Err(io::Error::from(io::ErrorKind::TimedOut)),
        _ => Ok(()),
    }
}

/// Reads what one client asks.
pub(crate) fn read(client: &UnixStream) -> io::Result<Ask> {
    client.set_read_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(client.take(4096)).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

/// Answers; a client that has gone does not matter.
pub(crate) fn reply(mut client: &UnixStream, reply: &Reply) {
    if let Ok(line) = serde_json::to_string(reply) {
        let _ = writeln!(client, "{line}");
    }
}
