//! A store that serves in a thread, and a socket in PID 1's place.

use fdstore::packet::{Packet, Received, receive};
use fdstore::server::bind_notify;
use fdstore::{Client, ClientError};
use pkramd::store::{Arrival, Pid1, Proxy, Rule, Server, Store, Who};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What a test may wait for anything.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A store in a thread.
pub(crate) struct Running {
    pub(crate) dir: TempDir,
    end: Arc<AtomicBool>,
    events: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<Store>>,
}

/// One rule, for this test's user.
pub(crate) fn rule(max_size: u64, max_descriptors: usize) -> Rule {
    let who = Who::User(rustix::process::getuid().as_raw());
    Rule { who, max_size, max_descriptors, arrival: Arrival::Copy }
}

/// A store with one rule, without systemd.
pub(crate) fn start(max_size: u64, max_descriptors: usize) -> Running {
    let dir = TempDir::new().unwrap();
    Running::start(dir, Store::new(vec![rule(max_size, max_descriptors)]), None, false)
}

impl Running {
    pub(crate) fn start(
        dir: TempDir,
        mut store: Store,
        mut pid1: Option<Pid1>,
        proxied: bool,
    ) -> Self {
        let at = |name: &str| dir.path().join(name);
        let proxy = proxied.then(|| Proxy::new(&at("systemd")).unwrap());
        let mut server = Server::bind(&at("notify"), &at("store.sock"), proxy).unwrap();
        let end = Arc::new(AtomicBool::new(false));
        let events = Arc::new(Mutex::new(Vec::new()));
        let (ended, told) = (Arc::clone(&end), Arc::clone(&events));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                server.wait(Duration::from_millis(20)).unwrap();
                let events = server.turn(&mut store, pid1.as_mut());
                told.lock().unwrap().extend(events.iter().map(ToString::to_string));
            }
            store
        });
        Self { dir, end, events, thread: Some(thread) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect_to(&self.path("store.sock"), LONG).unwrap()
    }

    /// Waits for a line of the journal that has this text.
    pub(crate) fn told(&self, text: &str) -> String {
        let start = Instant::now();
        while start.elapsed() < LONG {
            if let Some(line) = self.events.lock().unwrap().iter().find(|l| l.contains(text)) {
                return line.clone();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("nothing was told of {text:?}, only {:?}", self.events.lock().unwrap());
    }

    /// Ends it, and gives what it has.
    pub(crate) fn stop(mut self) -> (Store, TempDir) {
        self.end.store(true, Ordering::Relaxed);
        let store = self.thread.take().unwrap().join().unwrap();
        let dir = std::mem::replace(&mut self.dir, TempDir::new().unwrap());
        (store, dir)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the store's thread panicked");
        }
    }
}

/// A memfd with this content, which cannot shrink.
pub(crate) fn memfd(content: &[u8]) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(memfd_create("test", flags).unwrap());
    ftruncate(&file, content.len() as u64).unwrap();
    file.write_all_at(content, 0).unwrap();
    fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
    file.into()
}

/// What a file has.
pub(crate) fn content(file: OwnedFd) -> Vec<u8> {
    let file = File::from(file);
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// What pkramd says when it says no.
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> String {
    match result {
        Err(ClientError::Refused(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

/// A socket in the place of PID 1's.
pub(crate) struct Systemd(OwnedFd);

impl Systemd {
    pub(crate) fn bind(dir: &Path) -> Self {
        Self(bind_notify(&dir.join("systemd")).unwrap())
    }

    /// The next message, if one comes soon.
    pub(crate) fn next(&self) -> Option<Packet> {
        let start = Instant::now();
        while start.elapsed() < LONG {
            match receive(&self.0).unwrap() {
                Received::Packet(packet) => return Some(packet),
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        None
    }

    /// All messages that have come.
    pub(crate) fn all(&self) -> Vec<Packet> {
        let mut all = Vec::new();
        while let Received::Packet(packet) = receive(&self.0).unwrap() {
            all.push(packet);
        }
        all
    }
}
