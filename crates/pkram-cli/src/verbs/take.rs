//! `pkram take`: gets back what pkramd keeps.
//!
//! ```text
//! ExecStart=pkram take -- /usr/bin/app      LISTEN_FDS=1  LISTEN_FDNAMES=http
//!                                     ─►    LISTEN_FDS=3  LISTEN_FDNAMES=http:cache:cache
//! ```

use crate::answer::print;
use crate::args::StoreSocket;
use anyhow::Context as _;
use config::size::show;
use fdstore::{Client, Kept};
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use serde::Serialize;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{self, Command, ExitCode};

/// The number of the first descriptor that is passed on: `SD_LISTEN_FDS_START`, `sd-daemon.h`.
const START: RawFd = 3;

pub(crate) fn run(
    json: bool,
    name: Option<&str>,
    remove: bool,
    program: &[OsString],
    store: &StoreSocket,
) -> anyhow::Result<ExitCode> {
    let client = Client::connect_to(&store.socket, fdstore::TIMEOUT)?;
    let take = || -> anyhow::Result<Vec<Kept>> {
        let kept = client.take_all(name)?;
        if let Some(name) = name.filter(|_| remove) {
            client.remove(name)?;
        }
        Ok(kept)
    };
    match (program.split_first(), name) {
        (Some((program, arguments)), _) => {
            let kept = take()?;
            drop(client);
            Err(start(program, arguments, kept)?)
        }
        (None, Some(name)) => {
            let last =
                take()?.pop().with_context(|| format!("pkramd keeps nothing as {name:?}"))?;
            write(last.descriptor)?;
            Ok(ExitCode::SUCCESS)
        }
        (None, None) => {
            let list = client.list()?.into_iter();
            let line = |(name, bytes): (fdstore::Name, u64)| Line { name: name.to_string(), bytes };
            print(json, &List { descriptors: list.map(line).collect() })?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// All of a file. Its offset, which the store's own descriptor shares, stays.
fn write(descriptor: OwnedFd) -> anyhow::Result<()> {
    let (file, mut out) = (File::from(descriptor), io::stdout().lock());
    let (mut bytes, mut at) = (vec![0; 1 << 16], 0);
    loop {
        let read = file.read_at(&mut bytes, at).context("what pkramd keeps")?;
        if read == 0 {
            return out.flush().context("standard output");
        }
        out.write_all(&bytes[..read]).context("standard output")?;
        at += read as u64;
    }
}

/// Becomes the program, or says why not.
fn start(
    program: &OsString,
    arguments: &[OsString],
    kept: Vec<Kept>,
) -> anyhow::Result<anyhow::Error> {
    let before = Inherited::from_env();
    let mut names = before.names;
    names.extend(kept.iter().map(|k| k.name.to_string()));
    let first = START + i32::try_from(before.count).context("LISTEN_FDS")?;
    let end = first + i32::try_from(kept.len()).context("descriptors")?;
    // Out of the way of the numbers that they are to have.
    let aside = kept.iter().map(|k| fcntl_dupfd_cloexec(&k.descriptor, end));
    let aside: Vec<_> = aside.collect::<Result<_, _>>().context("cannot duplicate descriptors")?;
    drop(kept);
    let mut passed = Vec::new();
    for (number, descriptor) in (first..).zip(&aside) {
        let own = fcntl_dupfd_cloexec(descriptor, number);
        let own = own.context("cannot duplicate descriptors")?;
        anyhow::ensure!(
            own.as_raw_fd() == number,
            "descriptor {number} is open already; the program would take it for one of LISTEN_FDS: \
             start pkram take without descriptors besides those of LISTEN_FDS"
        );
        fcntl_setfd(&own, FdFlags::empty()).context("cannot pass descriptors on")?;
        passed.push(own);
    }
    let mut command = Command::new(program);
    command.args(arguments);
    if !before.is_ours {
        command.env_remove("LISTEN_PIDFDID");
    }
    command.env("LISTEN_FDS", names.len().to_string());
    command.env("LISTEN_PID", process::id().to_string());
    command.env("LISTEN_FDNAMES", names.join(":"));
    let error = command.exec();
    Ok(anyhow::Error::new(error).context(program.to_string_lossy().into_owned()))
}

/// The descriptors that systemd passed on to this process: `sd_listen_fds_with_names(3)`.
#[derive(Debug, Default)]
struct Inherited {
    is_ours: bool,
    count: usize,
    names: Vec<String>,
}

impl Inherited {
    fn from_env() -> Self {
        let text = |key| env::var(key).unwrap_or_default();
        if text("LISTEN_PID") != process::id().to_string() {
            return Self::default();
        }
        let count = text("LISTEN_FDS").parse().unwrap_or(0).min(1 << 16);
        let names = env::var("LISTEN_FDNAMES").ok();
        let names = names.iter().flat_map(|names| names.split(':')).map(str::to_owned);
        // What systemd calls one without a name.
        let unnamed = std::iter::repeat("unknown".to_owned());
        let names = names.chain(unnamed).take(count).collect();
        Self { is_ours: true, count, names }
    }
}

#[derive(Debug, Serialize)]
struct List {
    descriptors: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    name: String,
    bytes: u64,
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.descriptors.is_empty() {
            writeln!(f, "nothing is kept")?;
        }
        self.descriptors
            .iter()
            .try_for_each(|line| writeln!(f, "{}  {}", line.name, show(line.bytes)))
    }
}
