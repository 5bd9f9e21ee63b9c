//! `pkram put`: hands a descriptor over to pkramd.

use crate::args::StoreSocket;
use anyhow::Context as _;
use fdstore::Client;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;

pub(crate) fn run(
    name: &str,
    number: Option<i32>,
    file: Option<&Path>,
    store: &StoreSocket,
) -> anyhow::Result<ExitCode> {
    let descriptor = match file {
        Some(file) => open_file(file)?,
        None => own(number.unwrap_or(0))?,
    };
    Client::connect_to(&store.socket, fdstore::TIMEOUT)?.put(name, descriptor)?;
    Ok(ExitCode::SUCCESS)
}

/// For reading and writing, or where that is not allowed for reading.
fn open_file(path: &Path) -> anyhow::Result<OwnedFd> {
    let with = |access| open(path, access | OFlags::CLOEXEC, Mode::empty());
    with(OFlags::RDWR)
        .or_else(|e| match e {
            Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::TXTBSY => with(OFlags::RDONLY),
            e => Err(e),
        })
        .with_context(|| path.display().to_string())
}

/// A duplicate of a descriptor that this process was started with.
fn own(number: i32) -> anyhow::Result<OwnedFd> {
    pidfd_open(getpid(), PidfdFlags::empty())
        .and_then(|process| pidfd_getfd(process, number, PidfdGetfdFlags::empty()))
        .with_context(|| format!("descriptor {number}"))
}
