//! The descriptors that systemd starts a service with: `sd_listen_fds_with_names(3)`.

use fdstore::Name;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use std::env;
use std::io;
use std::os::fd::{OwnedFd, RawFd};

/// The first of them: `SD_LISTEN_FDS_START`, systemd's `src/systemd/sd-daemon.h`.
const START: RawFd = 3;

/// As many as are believed.
const MAX: usize = 1 << 16;

/// Why they cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Not a number of descriptors.
    #[error("LISTEN_FDS={0} is no number of descriptors")]
    Count(String),
    /// One of them.
    #[error("descriptor {number}, one of LISTEN_FDS={count}: {source}")]
    Descriptor {
        /// Which.
        number: RawFd,
        /// Of so many.
        count: usize,
        /// Why.
        source: io::Error,
    },
}

/// Takes the descriptors that this process was started with, and their names. The numbers from 3
/// on are free afterwards, so it is called once, and before anything else was opened.
///
/// # Errors
/// Variables that promise what is not there.
pub fn listen_descriptors() -> Result<Vec<(String, OwnedFd)>, ListenError> {
    let text = |key| env::var(key).unwrap_or_default();
    if text("LISTEN_PID") != getpid().as_raw_nonzero().to_string() {
        return Ok(Vec::new());
    }
    let count = text("LISTEN_FDS");
    let count = count.parse().ok().filter(|n| *n <= MAX).ok_or(ListenError::Count(count))?;
    let names = text("LISTEN_FDNAMES");
    let mut names = names.split(':');
    let mut taken = Vec::new();
    for number in (START..).take(count) {
        let at = |source| ListenError::Descriptor { number, count, source };
        let name = names.next().filter(|n| Name::new(n).is_ok()).unwrap_or_default();
        taken.push((name.to_owned(), take(number).map_err(at)?));
    }
    Ok(taken)
}

/// Makes a number an owned descriptor, which Rust knows no safe way for: a duplicate, as if it
/// were another process's. The number itself belongs to nobody else here, and is closed.
fn take(number: RawFd) -> io::Result<OwnedFd> {
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    let descriptor = pidfd_getfd(own, number, PidfdGetfdFlags::empty())?;
    nix::unistd::close(number)?;
    Ok(descriptor)
}
