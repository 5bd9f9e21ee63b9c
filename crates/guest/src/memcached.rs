//! Fills a memcached with random items and checks that it still has them.
//!
//! Speaks the text protocol (memcached: doc/protocol.txt) over a Unix socket. Keys and values
//! follow from seed and number, so that the check needs nothing but those.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use crate::rng::Rng;

/// Items per round trip.
const BATCH: u64 = 64;

/// A stuck server is an error, not a wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(50);

/// Sizes of values, bytes.
const VALUE_SIZES: (u64, u64) = (16, 600);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Store the items
    Fill(Items),
    /// Count the items that are found and that are equal
    Check(Items),
}

#[derive(Debug, clap::Args)]
struct Items {
    /// How many
    #[arg(long, default_value_t = 100_000)]
    items: u64,
    /// Same seed, same items
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The server's Unix socket
    #[arg(long)]
    socket: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.verb {
        Verb::Fill(items) => {
            let (set, bytes) = fill(items)?;
            println!("{}", json!({ "set": set, "bytes": bytes }));
        }
        Verb::Check(items) => {
            let (found, equal) = check(items)?;
            println!("{}", json!({ "asked": items.items, "found": found, "equal": equal }));
        }
    }
    Ok(())
}

fn item(seed: u64, index: u64) -> (String, Vec<u8>) {
    let mut rng = Rng::stream(seed, index);
    let key = format!("{:016x}-{index}", rng.next());
    let size = usize::try_from(rng.between(VALUE_SIZES.0, VALUE_SIZES.1)).unwrap_or(0);
    let mut value = vec![0; size];
    rng.fill(&mut value);
    (key, value)
}

fn batches(items: u64) -> impl Iterator<Item = std::ops::Range<u64>> {
    (0..items).step_by(64).map(move |first| first..items.min(first + BATCH))
}

fn fill(items: &Items) -> Result<(u64, u64)> {
    let mut server = Server::connect(&items.socket)?;
    let (mut set, mut bytes) = (0, 0);
    for batch in batches(items.items) {
        let mut request = Vec::new();
        for index in batch.clone() {
            let (key, value) = item(items.seed, index);
            write!(request, "set {key} 0 0 {}\r\n", value.len())?;
            request.extend(&value);
            request.extend(b"\r\n");
            bytes += value.len() as u64;
        }
        server.send(&request)?;
        for _ in batch {
            let line = server.line()?;
            ensure!(line == "STORED", "memcached did not store an item: {line}");
            set += 1;
        }
    }
    Ok((set, bytes))
}

fn check(items: &Items) -> Result<(u64, u64)> {
    let mut server = Server::connect(&items.socket)?;
    let (mut found, mut equal) = (0, 0);
    for batch in batches(items.items) {
        let expected: Vec<_> = batch.map(|index| item(items.seed, index)).collect();
        let keys: Vec<_> = expected.iter().map(|(key, _)| key.as_str()).collect();
        server.send(format!("get {}\r\n", keys.join(" ")).as_bytes())?;
        while let Some((key, value)) = server.value()? {
            found += 1;
            equal += u64::from(expected.contains(&(key, value)));
        }
    }
    Ok((found, equal))
}

/// Nobody listens there, or not any more.
fn not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

struct Server {
    stream: UnixStream,
    answers: BufReader<UnixStream>,
}

impl Server {
    /// Its stock unit counts as started before it listens (systemd.service(5): `Type=simple`).
    fn connect(socket: &Path) -> Result<Self> {
        let began = Instant::now();
        let stream = loop {
            match UnixStream::connect(socket) {
                Err(error) if not_yet(&error) && began.elapsed() < PATIENCE => sleep(PAUSE),
                other => break other,
            }
        };
        let stream = stream.with_context(|| format!("connect to {}", socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let answers = BufReader::new(stream.try_clone()?);
        Ok(Self { stream, answers })
    }

    fn send(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request).context("send to memcached")
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).context("no answer from memcached")?;
        Ok(line.trim_end().to_owned())
    }

    /// One item of the answer to a get, or `None` at its end.
    fn value(&mut self) -> Result<Option<(String, Vec<u8>)>> {
        let line = self.line()?;
        if line == "END" {
            return Ok(None);
        }
        let words: Vec<_> = line.split(' ').collect();
        let ["VALUE", key, _flags, length] = words.as_slice() else {
            bail!("memcached said: {line}")
        };
        let mut value = vec![0; length.parse::<u32>()?.try_into()?];
        self.answers.read_exact(&mut value)?;
        ensure!(self.line()?.is_empty(), "an item is longer than announced");
        Ok(Some(((*key).to_owned(), value)))
    }
}
