//! The holder: what is loaded stays only as long as its pages are held, so a process has to stay.
//!
//! It listens on a socket in `/run/pkram` and does one of two things when asked: take the last look
//! and jump, or let everything go. Requests and replies are one JSON object a line.

use crate::history::{self, Way};
use crate::progress::Progress;
use crate::save::{Prepared, SaveError};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// What pkram keeps for the time of this boot.
const DIR: &str = "/run/pkram";

/// Where the holder listens.
pub const SOCKET: &str = "/run/pkram/holder.sock";

/// A client that says nothing for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a holder can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Last look and jump. There is an answer only if that fails.
    Exec,
    /// Unload and let the sources go.
    Unload,
    /// Say what is loaded.
    Status,
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// Done.
    Done,
    /// It did not work; the text says why.
    Failed(String),
    /// The manifest of what is loaded.
    Loaded(Box<crate::manifest::Manifest>),
}

/// Why there is no answer from a holder.
#[derive(Debug, thiserror::Error)]
pub enum HolderError {
    /// None runs.
    #[error(
        "nothing is loaded by pkram (no holder answers at {SOCKET}); load with `pkram kexec --load-only`"
    )]
    None,
    /// One runs already.
    #[error(
        "another pkram is loading or has loaded something already; jump with `pkram exec` or take it back with `pkram unload`"
    )]
    Running,
    /// The connection broke or made no sense.
    #[error("{SOCKET}: {0}")]
    Io(#[from] io::Error),
}

/// The right to load: one process at a time has it, from before it holds anything until it ends.
#[derive(Debug)]
pub struct Seat {
    _lock: File,
}

impl Seat {
    /// Takes the seat, unless a living process has it.
    pub fn take() -> Result<Self, HolderError> {
        let dir = Path::new(DIR);
        fs::create_dir_all(dir)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
        let lock =
            File::options().write(true).create(true).truncate(false).open(dir.join("lock"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(Errno::WOULDBLOCK) => Err(HolderError::Running),
            Err(e) => Err(HolderError::Io(e.into())),
        }
    }

    /// Begins to listen; from then on questions are kept until they are answered.
    pub fn listen(&self) -> Result<UnixListener, HolderError> {
        match fs::remove_file(SOCKET) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e.into()),
            _ => {}
        }
        Ok(UnixListener::bind(SOCKET)?)
    }

    /// Holds `prepared`, which is loaded, until it is asked to let go. After a failed jump nothing
    /// is loaded any more, and the holder ends.
    pub fn serve(
        self,
        listener: &UnixListener,
        mut prepared: Prepared,
        progress: &dyn Progress,
    ) -> Result<(), SaveError> {
        for client in listener.incoming().flatten() {
            let Ok(ask) = read_ask(&client) else { continue };
            match ask {
                Ask::Status => {
                    reply(&client, &Reply::Loaded(Box::new(prepared.manifest.clone())));
                }
                Ask::Unload => {
                    let undone = prepared.unload();
                    reply(&client, &outcome(&undone));
                    let _ = fs::remove_file(SOCKET);
                    return undone;
                }
                Ask::Exec => {
                    // What was held and loaded before cost nobody anything.
                    prepared.set_stopped(SystemTime::now());
                    let error = history::jump(prepared, Way::Command, progress);
                    reply(&client, &Reply::Failed(told(&error)));
                    let _ = fs::remove_file(SOCKET);
                    return Err(error);
                }
            }
        }
        prepared.unload()
    }
}

/// Asks the holder.
pub fn ask(what: Ask) -> Result<Reply, HolderError> {
    let mut stream = match UnixStream::connect(SOCKET) {
        Err(e)
            if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
        {
            return Err(HolderError::None);
        }
        other => other?,
    };
    // The last look, and letting go, take as long as there is memory.
    if what == Ask::Status {
        stream.set_read_timeout(Some(PATIENCE))?;
    }
    let line = serde_json::to_string(&what).map_err(io::Error::other)?;
    writeln!(stream, "{line}")?;
    let mut answer = String::new();
    let read = BufReader::new(stream).read_line(&mut answer).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            let text = "the holder does not answer; it is busy with a jump, or was stopped";
            io::Error::new(io::ErrorKind::TimedOut, text)
        }
        _ => error,
    });
    if read? == 0 {
        let gone = "the holder ended without an answer; `pkram unload` takes back what it loaded";
        return Err(io::Error::other(gone).into());
    }
    Ok(serde_json::from_str(&answer).map_err(io::Error::other)?)
}

fn read_ask(client: &UnixStream) -> io::Result<Ask> {
    client.set_read_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(io::Read::take(client, 4096)).read_line(&mut line)?;
    serde_json::from_str(&line).map_err(io::Error::other)
}

/// The error, and what would help: all that goes to the other side is text.
fn told(error: &SaveError) -> String {
    error.remedy().map_or_else(|| error.to_string(), |remedy| format!("{error}: {remedy}"))
}

fn outcome<T>(result: &Result<T, SaveError>) -> Reply {
    match result {
        Ok(_) => Reply::Done,
        Err(e) => Reply::Failed(told(e)),
    }
}

/// A client that has gone does not matter.
fn reply(mut client: &UnixStream, reply: &Reply) {
    if let Ok(line) = serde_json::to_string(reply) {
        let _ = writeln!(client, "{line}");
    }
}
