//! The agent protocol: one JSON object a line, over the guest's second serial port.
//!
//! ```text
//!   guest ──► host   {"hello": …}              once per boot, before anything else
//!   host  ──► guest  {"id": 7, "exec": …}      one request at a time
//!   guest ──► host   {"stderr": {"id": 7, …}}  while the request runs, a line each
//!   guest ──► host   {"reply": {"id": 7, …}}   exactly once per request
//! ```
//!
//! A kexec shows as a second `hello` with another boot id; no reply is due for a request that was
//! running then. Lines that are not JSON are noise of the boot and are passed over.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most bytes that one `read_file` returns or one `write_file` carries.
pub const MAX_CHUNK: usize = 48 * 1024;

/// Most bytes of standard output that a reply carries; a program that prints more is failed.
pub const MAX_OUTPUT: usize = 32 * 1024 * 1024;

/// A request with the number that its reply will carry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered {
    /// Chosen by the host, never used twice on one machine.
    pub id: u64,
    /// What is asked.
    #[serde(flatten)]
    pub request: Request,
}

/// What the host can ask of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Run a program to its end; answered with [`Answer::Exit`].
    Exec(Exec),
    /// Start a program and leave it running; answered with [`Answer::Pid`].
    Spawn(Spawn),
    /// Send a signal to a spawned process; answered with [`Answer::Done`].
    Kill {
        /// The process, as [`Answer::Pid`] named it.
        pid: u32,
        /// The signal's number.
        signal: i32,
    },
    /// Wait for a spawned process to end; answered with [`Answer::Exit`] without output.
    Wait {
        /// The process, as [`Answer::Pid`] named it.
        pid: u32,
        /// After so many milliseconds the request fails.
        timeout_ms: u64,
    },
    /// Read up to [`MAX_CHUNK`] bytes of a file; answered with [`Answer::Data`].
    ReadFile {
        /// Path in the guest.
        path: String,
        /// Where to start, in bytes.
        offset: u64,
    },
    /// Write up to [`MAX_CHUNK`] bytes at an offset; offset 0 creates or truncates the file.
    WriteFile {
        /// Path in the guest.
        path: String,
        /// Where to write, in bytes.
        offset: u64,
        /// What to write.
        data: Bytes,
    },
}

/// A program to run to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Added to the agent's environment.
    pub env: Vec<(String, String)>,
    /// Working directory, else `/`.
    pub cwd: Option<String>,
    /// Standard input, else empty.
    pub stdin: Bytes,
    /// After so many milliseconds the program is killed and the request fails.
    pub timeout_ms: u64,
}

/// A program to leave running.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawn {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// File in the guest that gets standard output and error, else they are dropped.
    pub log: Option<String>,
}

/// What the agent says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// A kernel has come up.
    Hello(Hello),
    /// One line that a running program wrote to standard error.
    Stderr {
        /// The request that runs the program.
        id: u64,
        /// The line, without its end.
        line: String,
    },
    /// The answer to a request.
    Reply {
        /// The request's number.
        id: u64,
        /// What came of it, or why not.
        result: Result<Answer, String>,
    },
}

/// Who came up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// `/proc/sys/kernel/osrelease`.
    pub release: String,
    /// `/proc/sys/kernel/random/boot_id`: differs after every kexec.
    pub boot_id: String,
    /// `/proc/cmdline`.
    pub cmdline: String,
    /// Milliseconds since this kernel started, from `/proc/uptime`.
    pub uptime_ms: u64,
    /// What went wrong on the way up without stopping it (a module that did not load, …).
    pub troubles: Vec<String>,
}

/// The good outcomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The request needs no more said.
    Done,
    /// The process that was started.
    Pid(u32),
    /// How a program ended.
    Exit(Exit),
    /// A piece of a file; empty at its end.
    Data(Bytes),
}

/// How a program ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Everything it wrote to standard output.
    pub stdout: Bytes,
    /// Everything it wrote to standard error.
    pub stderr: Bytes,
}

/// Bytes of any value; base64 in JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line_whatever_it_carries() {
        let request = Numbered {
            id: 7,
            request: Request::WriteFile {
                path: "/tmp/a\nb".into(),
                offset: 1 << 40,
                data: Bytes((0..=255).collect()),
            },
        };
        let line = serde_json::to_string(&request).unwrap();
        assert!(!line.contains('\n'), "{line}");
        assert_eq!(serde_json::from_str::<Numbered>(&line).unwrap(), request);
    }

    #[test]
    fn failures_travel_as_text() {
        let line = r#"{"reply":{"id":3,"result":{"Err":"no such program: nope"}}}"#;
        let expected = Message::Reply { id: 3, result: Err("no such program: nope".into()) };
        assert_eq!(serde_json::from_str::<Message>(line).unwrap(), expected);
    }

    #[test]
    fn bytes_that_are_not_base64_are_refused() {
        assert!(serde_json::from_str::<Bytes>("\"*\"").is_err());
    }
}
