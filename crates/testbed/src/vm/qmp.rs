//! QEMU's machine protocol, as far as we need it: run a command, remember why the guest ended.
//!
//! Lines of JSON both ways (QEMU: docs/interop/qmp-spec.rst). Everything received goes to
//! `qmp.log`.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

/// QEMU answers from its main loop; even a dump of 1 GiB takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Qmp {
    stream: UnixStream,
    replies: Receiver<Value>,
    end: Arc<Mutex<Option<String>>>,
}

impl Qmp {
    /// Starts the protocol on a fresh connection.
    pub(super) fn start(stream: UnixStream, log: &Path) -> Result<Self> {
        let mut log = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let lines = BufReader::new(stream.try_clone()?).lines();
        let (sender, replies) = channel();
        let end = Arc::new(Mutex::new(None));
        let seen_end = Arc::clone(&end);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = writeln!(log, "{line}");
                let Ok(value) = serde_json::from_str::<Value>(&line) else { continue };
                if value["event"] == "SHUTDOWN" {
                    let reason = value["data"]["reason"].as_str().unwrap_or("unknown").to_owned();
                    if let Ok(mut end) = seen_end.lock() {
                        end.get_or_insert(reason);
                    }
                } else if value.get("event").is_none()
                    && value.get("QMP").is_none()
                    && sender.send(value).is_err()
                {
                    break;
                }
            }
        });
        let mut qmp = Self { stream, replies, end };
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Runs a command and returns its value.
    pub(super) fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let line = json!({ "execute": command, "arguments": arguments });
        writeln!(self.stream, "{line}").with_context(|| format!("send QMP {command}"))?;
        let mut reply = self
            .replies
            .recv_timeout(PATIENCE)
            .map_err(|error| anyhow!("QEMU gave no answer to {command}: {error}"))?;
        if let Some(error) = reply.get("error") {
            bail!("QEMU refused {command} {arguments}: {error}");
        }
        Ok(reply["return"].take())
    }

    /// Why the guest ended, in QEMU's words, if it did.
    pub(super) fn end(&self) -> Option<String> {
        self.end.lock().ok().and_then(|end| end.clone())
    }
}
