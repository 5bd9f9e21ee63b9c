//! The host's end of the agent protocol.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};
use guest::protocol::{Message, Numbered, Request};

/// A line to the agent of one machine.
#[derive(Debug)]
pub(super) struct Agent {
    stream: UnixStream,
    messages: Receiver<Message>,
    next_id: u64,
}

/// Why no message came.
#[derive(Debug)]
pub(super) enum Silence {
    /// The deadline passed.
    Deadline,
    /// QEMU closed the line.
    Closed,
}

impl Agent {
    /// Listens on a fresh connection; what is not a message goes to `noise`.
    pub(super) fn start(stream: UnixStream, noise: &Path) -> Result<Self> {
        let mut noise =
            File::create(noise).with_context(|| format!("create {}", noise.display()))?;
        let lines = BufReader::new(stream.try_clone()?).split(b'\n');
        let (sender, messages) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                match serde_json::from_slice(&line) {
                    Ok(message) => {
                        if sender.send(message).is_err() {
                            break;
                        }
                    }
                    Err(_) => {
                        let _ = noise.write_all(&line).and_then(|()| noise.write_all(b"\n"));
                    }
                }
            }
        });
        Ok(Self { stream, messages, next_id: 1 })
    }

    /// Sends a request and returns the number that its reply will carry.
    pub(super) fn send(&mut self, request: Request) -> Result<u64> {
        let id = self.next_id;
        self.next_id += 1;
        let mut line = serde_json::to_vec(&Numbered { id, request })?;
        line.push(b'\n');
        self.stream.write_all(&line).context("send a request to the agent")?;
        Ok(id)
    }

    /// Waits for the next message, whatever it is.
    pub(super) fn next(&self, deadline: Instant) -> Result<Message, Silence> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.messages.recv_timeout(left).map_err(|error| match error {
            RecvTimeoutError::Timeout => Silence::Deadline,
            RecvTimeoutError::Disconnected => Silence::Closed,
        })
    }
}
