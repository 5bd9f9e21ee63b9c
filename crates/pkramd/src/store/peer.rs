//! Who hands something over.
//!
//! ```text
//! credentials ─► hold the process by a pidfd ─► its cgroup, its users ─► still its PID? ─► Peer
//! ```
//!
//! A PID says little once its process has ended: another may get the number. So what is read from
//! `/proc/PID` counts only if the PID still is that of the process that the pidfd stands for after
//! it, and if that has the user whom the kernel saw sending.

use super::cgroup;
use fdstore::packet::Credentials;
use nix::sys::socket::{getsockopt, sockopt};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Who hands something over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its process.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// The system service that it belongs to, if it belongs to one.
    pub unit: Option<String>,
}

/// Whose something is: a system service's, by its unit, or else a user's.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Owner(String);

/// Why something is nobody's.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} owns nothing: an owner is a unit that ends in .service, or user-UID")]
pub struct OwnerError(String);

/// Why it cannot be said who somebody is.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// It has ended.
    #[error("process {pid} ended before it could be seen to which service it belongs")]
    Ended {
        /// Its PID.
        pid: u32,
    },
    /// The PID is another process's by now.
    #[error("process {pid} does not run as user {uid}, who sent this; the PID is another's by now")]
    Other {
        /// The PID.
        pid: u32,
        /// Who sent.
        uid: u32,
    },
    /// The system did not say.
    #[error("cannot see who process {pid} is: {what}: {source}")]
    Io {
        /// Its PID.
        pid: u32,
        /// What was looked at.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl Peer {
    /// Who sent a datagram.
    ///
    /// # Errors
    /// It has ended, or cannot be looked at.
    pub fn of_sender(sender: Credentials) -> Result<Self, PeerError> {
        let Credentials { pid, .. } = sender;
        let at = |source| PeerError::Io { pid, what: "pidfd_open(2)", source };
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let raw = raw.ok_or_else(|| at(io::ErrorKind::InvalidInput.into()))?;
        match pidfd_open(raw, PidfdFlags::empty()) {
            Err(rustix::io::Errno::SRCH) => Err(PeerError::Ended { pid }),
            opened => Self::look(sender, &opened.map_err(|e| at(e.into()))?),
        }
    }

    /// Who made a connection. The kernel keeps its process in mind, from 6.5 on so that it cannot
    /// be mistaken (`SO_PEERPIDFD`).
    ///
    /// # Errors
    /// It has ended, or cannot be looked at.
    pub fn of_connection(socket: impl AsFd, peer: Credentials) -> Result<Self, PeerError> {
        match getsockopt(&socket.as_fd(), sockopt::PeerPidfd) {
            Ok(pidfd) => Self::look(peer, &pidfd),
            Err(nix::Error::ESRCH) => Err(PeerError::Ended { pid: peer.pid }),
            Err(_) => Self::of_sender(peer),
        }
    }

    fn look(credentials: Credentials, process: &OwnedFd) -> Result<Self, PeerError> {
        let Credentials { pid, uid, gid } = credentials;
        let read = |file: &'static str| match fs::read(format!("/proc/{pid}/{file}")) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(PeerError::Ended { pid }),
            Err(source) => Err(PeerError::Io { pid, what: file, source }),
        };
        let (group, status) = (read("cgroup")?, read("status")?);
        let still = number(process).map_err(|source| PeerError::Io {
            pid,
            what: "its pidfd's fdinfo",
            source,
        })?;
        if still != Some(pid) {
            return Err(PeerError::Ended { pid });
        }
        if !users(&status).any(|user| user == uid) {
            return Err(PeerError::Other { pid, uid });
        }
        let unit = cgroup::path(&group).and_then(cgroup::service).map(str::to_owned);
        Ok(Self { pid, uid, gid, unit })
    }

    /// Whose it is what this one hands over.
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner(self.unit.clone().unwrap_or_else(|| format!("user-{}", self.uid)))
    }
}

/// For messages.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.unit {
            Some(unit) => write!(f, "{unit} (PID {})", self.pid),
            None => write!(f, "user {} (PID {})", self.uid, self.pid),
        }
    }
}

/// The PID of the process that a pidfd stands for; none once it was waited for and the number is
/// free (`pidfd_show_fdinfo`, `kernel/fork.c`, which says -1 then).
fn number(process: &OwnedFd) -> io::Result<Option<u32>> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", process.as_raw_fd()))?;
    let line = info.lines().find_map(|line| line.strip_prefix("Pid:"));
    Ok(line.and_then(|pid| pid.trim().parse().ok()))
}

/// The users of a process, real, effective, saved and for files, from `/proc/PID/status`
/// (`proc_pid_status(5)`): a sender may name any of the first three.
fn users(status: &str) -> impl Iterator<Item = u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    line.split_whitespace().filter_map(|word| word.parse().ok())
}

impl Owner {
    /// The owner.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The user, where it is no service.
    #[must_use]
    pub fn uid(&self) -> Option<u32> {
        self.0.strip_prefix("user-")?.parse().ok()
    }
}

impl TryFrom<String> for Owner {
    type Error = OwnerError;

    fn try_from(text: String) -> Result<Self, OwnerError> {
        let is_service = cgroup::service(&format!("/{text}")) == Some(&text);
        let owner = Self(text);
        match is_service || owner.uid().is_some_and(|uid| owner.0 == format!("user-{uid}")) {
            true => Ok(owner),
            false => Err(OwnerError(owner.0.chars().take(64).collect())),
        }
    }
}

impl From<Owner> for String {
    fn from(owner: Owner) -> Self {
        owner.0
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    fn me() -> Credentials {
        let uid = rustix::process::getuid().as_raw();
        Credentials { pid: std::process::id(), uid, gid: rustix::process::getgid().as_raw() }
    }

    #[test]
    fn knows_a_process_that_lives() {
        let peer = Peer::of_sender(me()).unwrap();
        assert_eq!((peer.pid, peer.uid), (me().pid, me().uid));
        let owner = peer.owner();
        assert_eq!(Owner::try_from(owner.to_string()).unwrap(), owner);
    }

    #[test]
    fn a_pid_of_another_user_or_none_is_refused() {
        let error = Peer::of_sender(Credentials { uid: me().uid + 1, ..me() }).unwrap_err();
        assert!(matches!(error, PeerError::Other { .. }), "{error}");
        let mut child = Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        let error = Peer::of_sender(Credentials { pid, ..me() }).unwrap_err();
        assert!(matches!(error, PeerError::Ended { .. }), "{error}");
        for pid in [0, u32::MAX, i32::MAX as u32] {
            assert!(Peer::of_sender(Credentials { pid, ..me() }).is_err());
        }
    }

    #[test]
    fn a_number_is_its_process_until_that_was_waited_for() {
        let mut child = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        while !fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") Z ") {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(number(&process).unwrap(), Some(pid));
        child.wait().unwrap();
        assert_eq!(number(&process).unwrap(), None);
    }

    #[test]
    fn owners_are_services_and_users() {
        for good in ["a.service", "a@b.service", "user-0", "user-4294967295"] {
            assert_eq!(Owner::try_from(good.to_owned()).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "..",
            "a",
            "user-",
            "user--1",
            "user-4294967296",
            "user-01",
            "a/b.service",
            "user@1.service",
            "_a.service",
            "a.scope",
        ] {
            assert!(Owner::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
