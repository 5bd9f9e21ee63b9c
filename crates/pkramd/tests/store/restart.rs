//! pkramd ends and is started anew: systemd has what was stored.

use crate::common::{Running, Systemd, content, memfd, rule};
use fdstore::request::Request;
use pkramd::store::{Pid1, Store};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use tempfile::TempDir;

/// systemd's fd store: what `service_add_fd_store` and `service_remove_fd_store` make of messages.
#[derive(Default)]
struct FdStore(Vec<(String, OwnedFd)>);

impl FdStore {
    fn hear(&mut self, systemd: &Systemd) {
        for packet in systemd.all() {
            match Request::parse(&packet.bytes).unwrap() {
                Request::Store(name) => {
                    for descriptor in packet.descriptors {
                        if !self.0.iter().any(|(_, own)| same(own, &descriptor)) {
                            self.0.push((name.to_string(), descriptor));
                        }
                    }
                }
                Request::Remove(name) => self.0.retain(|(own, _)| own != name.as_str()),
                other => panic!("{other:?}"),
            }
        }
    }

    /// What it starts the service with.
    fn pass_on(&self) -> Vec<(String, OwnedFd)> {
        self.0.iter().map(|(name, fd)| (name.clone(), fd.try_clone().unwrap())).collect()
    }

    fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }
}

/// `same_fd`, systemd's `src/basic/fd-util.c`.
fn same(one: &OwnedFd, other: &OwnedFd) -> bool {
    let of = |fd: &OwnedFd| {
        let stat = rustix::fs::fstat(fd).unwrap();
        (stat.st_dev, stat.st_ino, rustix::fs::fcntl_getfl(fd).unwrap())
    };
    of(one) == of(other)
}

fn store() -> Store {
    Store::new(vec![rule(1 << 20, 10)])
}

fn pid1(dir: &TempDir) -> Pid1 {
    Pid1::new(dir.path().join("systemd").to_str().unwrap()).unwrap()
}

#[test]
fn what_was_stored_is_there_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let systemd = Systemd::bind(dir.path());
    let told = pid1(&dir);
    let running = Running::start(dir, store(), Some(told), false);
    let client = running.client();
    let mut fd_store = FdStore::default();
    let shared = memfd(b"shared");
    for (name, file) in [("a", &shared), ("b", &shared), ("b", &memfd(b"own"))] {
        client.put(name, file).unwrap();
        fd_store.hear(&systemd);
    }
    client.put("gone", memfd(b"gone")).unwrap();
    client.remove("gone").unwrap();
    drop(client);
    fd_store.hear(&systemd);
    assert_eq!(fd_store.0.len(), 3, "two files and an index: {:?}", fd_store.names());
    // As after `kill -9`: nothing was said at the end.
    let (_, dir) = running.stop();
    let (mut store, mut told) = (store(), pid1(&dir));
    let (inherited, synced) = told.inherit(&mut store, fd_store.pass_on());
    synced.unwrap();
    assert_eq!(inherited.problems, [""; 0]);
    fd_store.hear(&systemd);
    assert_eq!(fd_store.0.len(), 3, "{:?}", fd_store.names());
    let running = Running::start(dir, store, Some(told), false);
    let all = running.client().take_all(None).unwrap();
    let all: Vec<_> =
        all.into_iter().map(|k| (k.name.to_string(), content(k.descriptor))).collect();
    let pair = |n: &str, c: &[u8]| (n.to_owned(), c.to_vec());
    assert_eq!(all, [pair("a", b"shared"), pair("b", b"shared"), pair("b", b"own")]);
    running.client().remove("a").unwrap();
    running.client().remove("b").unwrap();
    fd_store.hear(&systemd);
    assert_eq!(fd_store.0.len(), 1, "only an index: {:?}", fd_store.names());
}

/// Killed after each message that it sends: what it had answered for is there, and nothing is
/// there that nobody knows.
#[test]
fn killed_after_any_message_it_loses_nothing_that_it_had() {
    let dir = TempDir::new().unwrap();
    let systemd = Systemd::bind(dir.path());
    let told = pid1(&dir);
    let running = Running::start(dir, store(), Some(told), false);
    let client = running.client();
    client.put("kept", memfd(b"kept")).unwrap();
    let first = systemd.all();
    client.put("new", memfd(b"new")).unwrap();
    client.remove("new").unwrap();
    let rest = systemd.all();
    let (_, dir) = running.stop();
    for killed_after in 0..=rest.len() {
        let replay = Systemd::bind(dir.path());
        let mut fd_store = FdStore::default();
        for packet in first.iter().chain(&rest[..killed_after]) {
            let again: Vec<_> = packet.descriptors.iter().map(|d| d.try_clone().unwrap()).collect();
            match Request::parse(&packet.bytes).unwrap() {
                Request::Store(name) => {
                    fd_store.0.extend(again.into_iter().map(|d| (name.to_string(), d)));
                }
                Request::Remove(name) => fd_store.0.retain(|(own, _)| own != name.as_str()),
                other => panic!("{other:?}"),
            }
        }
        let (mut store, mut told) = (store(), pid1(&dir));
        let (_, synced) = told.inherit(&mut store, fd_store.pass_on());
        synced.unwrap();
        let names: Vec<_> = store.entries().iter().map(|e| e.name.as_str()).collect();
        assert_eq!(names[0], "kept", "after {killed_after} messages");
        fd_store.hear(&replay);
        let files = names.len() + 1;
        assert_eq!(fd_store.0.len(), files, "after {killed_after}: {:?}", fd_store.names());
    }
    assert!(
        rest.len() >= 6,
        "a file, an index, an index away; an index, another away, a file away"
    );
}

#[test]
fn where_systemd_does_not_hear_it_is_said() {
    let dir = TempDir::new().unwrap();
    let told = pid1(&dir);
    let running = Running::start(dir, store(), Some(told), false);
    running.client().put("x", memfd(b"x")).unwrap();
    running.told("what is stored is lost if pkramd ends");
    assert_eq!(running.client().list().unwrap().len(), 1);
}

#[test]
fn what_systemd_passes_on_may_be_anything() {
    let dir = TempDir::new().unwrap();
    let systemd = Systemd::bind(dir.path());
    let index = |text: &str| memfd(text.as_bytes());
    let line = |owner: &str, name: &str, file: u64| {
        format!(
            r#"{{"owner":"{owner}","name":"{name}","file":{file},"arrival":"copy","region_file":null}}"#
        )
    };
    let (good, missing) = (line("user-0", "good", 7), line("a.service", "missing", 8));
    let (pipe, colon) = (line("user-0", "pipe", 9), line("user-0", "co:lon", 7));
    let newest = format!(r#"{{"version":1,"entries":[{good},{missing},{pipe},{colon}]}}"#);
    let descriptors = vec![
        ("store-index-20".to_owned(), rustix::pipe::pipe().unwrap().0),
        ("store-index-19".to_owned(), index(r#"{"version":2,"entries":[]}"#)),
        ("store-index-18".to_owned(), index("[[[[")),
        ("store-index-17".to_owned(), index(r#"{"version":1,"entries":[{"owner":"../x"}]}"#)),
        ("store-index-16".to_owned(), index(&newest)),
        ("store-index-15".to_owned(), index(r#"{"version":1,"entries":[]}"#)),
        ("store-file-7".to_owned(), memfd(b"good")),
        ("store-file-9".to_owned(), rustix::pipe::pipe().unwrap().0),
        ("store-file-18446744073709551615".to_owned(), memfd(b"last")),
        ("store-file-x".to_owned(), memfd(b"other")),
        ("http".to_owned(), memfd(b"other")),
    ];
    let mut fd_store = FdStore(descriptors);
    let (mut store, mut told) = (store(), pid1(&dir));
    let (inherited, synced) = told.inherit(&mut store, fd_store.pass_on());
    synced.unwrap();
    let names: Vec<_> = inherited.others.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["store-file-x", "http"]);
    let problems = inherited.problems.join("\n");
    for problem in [
        "store-index-20 from systemd's fd store: it is a pipe",
        "store-index-19 from systemd's fd store: version 2",
        "store-index-18",
        "store-index-17 from systemd's fd store: \"../x\" owns nothing",
        "\"missing\" of a.service is lost: store-file-8 is not among what systemd passed on",
        "\"pipe\" of user-0 is lost: it is a pipe",
        "\"co:lon\" of user-0 is lost: name",
        "store-file-9 from systemd's fd store is nobody's",
        "store-file-18446744073709551615 from systemd's fd store is nobody's",
    ] {
        assert!(problems.contains(problem), "{problem} is not in\n{problems}");
    }
    let entries: Vec<_> =
        store.entries().iter().map(|e| (e.owner.as_str(), e.name.as_str())).collect();
    assert_eq!(entries, [("user-0", "good")]);
    fd_store.hear(&systemd);
    let mut left = fd_store.names();
    left.retain(|name| name.starts_with("store-"));
    assert_eq!(left.len(), 3, "file, index, and what is not ours: {left:?}");
    let mut text = String::new();
    let index = fd_store.0.pop().unwrap().1;
    std::fs::File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&index)))
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, format!(r#"{{"version":1,"entries":[{good}]}}"#));
}
