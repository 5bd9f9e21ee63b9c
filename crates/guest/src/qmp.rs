//! Speaks to a QEMU inside the test machine, by its machine protocol.
//!
//! Lines of JSON both ways: QEMU greets, we negotiate, then a reply follows each command; events
//! come in between (QEMU: docs/interop/qmp-spec.rst).

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// QEMU under an emulated processor takes its time, to start and to answer.
const PATIENCE: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(5);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// QEMU's socket; waited for
    socket: PathBuf,
    /// The command's name
    command: String,
    /// Its arguments, a JSON object
    #[arg(default_value = "{}", value_parser = |text: &str| serde_json::from_str::<Value>(text))]
    arguments: Value,
    /// Then wait until the migration has come to its end, and fail unless it was a good one
    #[arg(long)]
    migrated: bool,
}

/// Runs one command and prints its value.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut qemu = Qemu::connect(&args.socket)?;
    println!("{}", qemu.execute(&args.command, &args.arguments)?);
    if args.migrated {
        qemu.await_migration()?;
    }
    Ok(())
}

struct Qemu {
    stream: UnixStream,
    lines: BufReader<UnixStream>,
}

impl Qemu {
    fn connect(socket: &Path) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::NotFound | ErrorKind::ConnectionRefused
                    ) && Instant::now() < deadline =>
                {
                    sleep(POLL);
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("connect to {}", socket.display()));
                }
            }
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        let lines = BufReader::new(stream.try_clone()?);
        let mut qemu = Self { stream, lines };
        ensure!(qemu.line()?.get("QMP").is_some(), "QEMU does not greet");
        qemu.execute("qmp_capabilities", &json!({}))?;
        Ok(qemu)
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.lines.read_line(&mut line).context("no answer from QEMU")?;
        serde_json::from_str(&line).with_context(|| format!("QEMU said {line:?}"))
    }

    fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let request = json!({ "execute": command, "arguments": arguments });
        writeln!(self.stream, "{request}").context("send to QEMU")?;
        loop {
            let mut reply = self.line()?;
            if let Some(error) = reply.get("error") {
                bail!("QEMU refused {request}: {error}");
            }
            if reply.get("return").is_some() {
                return Ok(reply["return"].take());
            }
        }
    }

    fn await_migration(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let migration = self.execute("query-migrate", &json!({}))?;
            match migration["status"].as_str() {
                Some("completed") => return Ok(()),
                Some("failed" | "cancelled") => bail!("the migration failed: {migration}"),
                _ if Instant::now() > deadline => bail!("the migration does not end: {migration}"),
                _ => sleep(POLL),
            }
        }
    }
}
