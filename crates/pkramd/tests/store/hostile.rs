//! Clients that mean no good.

use crate::common::{LONG, Running, Systemd, content, memfd, refusal, rule, start};
use fdstore::packet::{Credentials, send, send_to};
use pkramd::store::{Server, Store};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn socket(kind: SocketType) -> OwnedFd {
    socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap()
}

/// How many descriptors this process has open on files called so.
fn open_memfds(name: &str) -> usize {
    let target = format!("/memfd:{name} (deleted)");
    let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    links.filter(|l| std::fs::read_link(l.path()).is_ok_and(|t| t.as_os_str() == &*target)).count()
}

#[test]
fn a_bomb_of_descriptors_is_closed_with_its_message() {
    let running = start(1 << 20, 10);
    let bomb = memfd_create("bomb", MemfdFlags::CLOEXEC).unwrap();
    let many: Vec<BorrowedFd<'_>> = vec![bomb.as_fd(); 253];
    let notify = SocketAddrUnix::new(running.path("notify")).unwrap();
    let sender = socket(SocketType::DGRAM);
    // Nothing that the store wants, a name that is none, a message that is too long.
    let long = [&b"FDSTORE=1\nX="[..], &[b'x'; 5000]].concat();
    for message in [&b"READY=1"[..], b"FDSTORE=1\nFDNAME=a:b", b"FDSTORE=1\0\0", &long] {
        for _ in 0..5 {
            send_to(&sender, &notify, message, &many, None).unwrap();
        }
    }
    running.told("more than 4096 bytes");
    running.told("has a colon");
    running.told("a NUL byte at 9");
    let one = socket(SocketType::SEQPACKET);
    connect(&one, &SocketAddrUnix::new(running.path("store.sock")).unwrap()).unwrap();
    send(&one, b"FDLIST=1", &many).unwrap();
    running.client().put("after", memfd(b"it lives")).unwrap();
    let start = Instant::now();
    while open_memfds("bomb") > 1 && start.elapsed() < LONG {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(open_memfds("bomb"), 1, "the bomb's own");
}

#[test]
fn the_same_file_253_times_is_one() {
    let running = start(1 << 20, 2);
    let file = memfd(b"x");
    let one = socket(SocketType::SEQPACKET);
    connect(&one, &SocketAddrUnix::new(running.path("store.sock")).unwrap()).unwrap();
    send(&one, b"FDSTORE=1", &vec![file.as_fd(); 253]).unwrap();
    running.told("stored 1 as \"stored\"");
    assert_eq!(running.client().list().unwrap().len(), 1);
}

#[test]
fn all_descriptors_of_a_message_are_stored_or_none() {
    let running = start(1 << 20, 2);
    let files = [memfd(b"1"), memfd(b"2"), memfd(b"3")];
    let one = socket(SocketType::SEQPACKET);
    connect(&one, &SocketAddrUnix::new(running.path("store.sock")).unwrap()).unwrap();
    send(&one, b"FDSTORE=1", &files.each_ref().map(|f| f.as_fd())).unwrap();
    running.told("would have 3 descriptors");
    assert!(running.client().list().unwrap().is_empty());
}

#[test]
fn one_owner_cannot_take_all_connections() {
    let running = start(1 << 20, 10);
    let held: Vec<_> = (0..8).map(|_| running.client()).collect();
    assert!(held[7].list().unwrap().is_empty());
    let why = refusal(running.client().list());
    assert!(why.contains("has 8 connections already"), "{why}");
    drop(held);
    let start = Instant::now();
    while running.client().list().is_err() && start.elapsed() < LONG {}
    running.client().put("x", memfd(b"x")).unwrap();
}

#[test]
fn who_does_not_read_waits_alone() {
    let running = start(1 << 20, 1000);
    let client = running.client();
    for i in 0..600 {
        client.put(&format!("{i:0>250}"), memfd_create("n", MemfdFlags::CLOEXEC).unwrap()).unwrap();
    }
    let lazy = socket(SocketType::SEQPACKET);
    connect(&lazy, &SocketAddrUnix::new(running.path("store.sock")).unwrap()).unwrap();
    for _ in 0..3 {
        send(&lazy, b"FDTAKE=1", &[]).unwrap();
    }
    assert_eq!(client.list().unwrap().len(), 600);
    drop(lazy);
    assert_eq!(client.take_all(None).unwrap().len(), 600);
}

#[test]
fn who_never_reads_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("store.sock");
    let mut server = Server::bind(&dir.path().join("notify"), &at, None).unwrap();
    let mut store = Store::new(vec![rule(1 << 20, 10)]);
    let lazy = socket(SocketType::SEQPACKET);
    connect(&lazy, &SocketAddrUnix::new(&at).unwrap()).unwrap();
    assert_eq!(server.patience(), None);
    while server.patience().is_none() {
        // Each is answered, until no more answers fit.
        send(&lazy, b"FDLIST=1", &[]).unwrap();
        server.turn(&mut store, None);
    }
    while let Some(patience) = server.patience() {
        server.wait(patience).unwrap();
        server.turn(&mut store, None);
    }
    // The two sockets alone.
    assert_eq!(server.awaited().count(), 2);
}

/// As this test, started once more as another user.
fn as_nobody(test: &str, dir: &Path) -> bool {
    let exe = std::env::current_exe().unwrap();
    let status = Command::new(exe)
        .args(["--exact", test, "--nocapture"])
        .env("PKRAM_TEST_AS_NOBODY", dir)
        .uid(65534)
        .gid(65534)
        .current_dir("/")
        .status();
    status.unwrap().success()
}

fn needs_root(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    assert!(is_root || std::env::var_os("PKRAM_TEST_REQUIRE").is_none(), "{test} needs root");
    if !is_root {
        eprintln!("skipped: {test} needs root");
    }
    !is_root
}

#[test]
fn nobody_can_speak_for_another() {
    let test = "hostile::nobody_can_speak_for_another";
    if let Some(dir) = std::env::var_os("PKRAM_TEST_AS_NOBODY") {
        let notify = SocketAddrUnix::new(Path::new(&dir).join("notify")).unwrap();
        let say = |sender| {
            let file = memfd(b"forged");
            let message = b"FDSTORE=1\nFDNAME=forged";
            send_to(socket(SocketType::DGRAM), &notify, message, &[file.as_fd()], Some(sender))
        };
        let own = Credentials { pid: std::process::id(), uid: 65534, gid: 65534 };
        for forged in [Credentials { uid: 0, ..own }, Credentials { pid: 1, ..own }] {
            assert_eq!(say(forged).unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
        }
        say(own).unwrap();
        // Who ends before it was seen is nobody at all.
        let (ours, theirs) = rustix::pipe::pipe().unwrap();
        let barrier = [theirs.as_fd()];
        send_to(socket(SocketType::DGRAM), &notify, b"BARRIER=1", &barrier, Some(own)).unwrap();
        drop(theirs);
        assert_eq!(rustix::io::read(ours, &mut [0]).unwrap(), 0);
        return;
    }
    if needs_root(test) {
        return;
    }
    // Root's rule is not nobody's.
    let running = start(1 << 20, 10);
    open_to_all(running.dir.path());
    assert!(as_nobody(test, running.dir.path()));
    running.told("user-65534 may not hand over memory");
    assert!(running.client().list().unwrap().is_empty());
}

#[test]
fn nobody_gets_what_is_another_s() {
    let test = "hostile::nobody_gets_what_is_another_s";
    if let Some(dir) = std::env::var_os("PKRAM_TEST_AS_NOBODY") {
        let path = Path::new(&dir).join("store.sock");
        let client = fdstore::Client::connect_to(&path, LONG).unwrap();
        assert!(client.take("secret").unwrap().is_none());
        assert!(client.list().unwrap().is_empty());
        client.remove("secret").unwrap();
        client.put("secret", memfd(b"nobody's")).unwrap();
        assert_eq!(content(client.take("secret").unwrap().unwrap()), b"nobody's");
        return;
    }
    if needs_root(test) {
        return;
    }
    let dir = TempDir::new().unwrap();
    open_to_all(dir.path());
    let who = pkramd::store::Who::User(65534);
    let rules = vec![rule(1 << 20, 10), pkramd::store::Rule { who, ..rule(1 << 20, 10) }];
    let running = Running::start(dir, Store::new(rules), None, false);
    running.client().put("secret", memfd(b"root's")).unwrap();
    assert!(as_nobody(test, running.dir.path()));
    assert_eq!(content(running.client().take("secret").unwrap().unwrap()), b"root's");
    assert_eq!(running.client().list().unwrap().len(), 1);
}

/// A sender that names another, as root may: what pkramd sees is that one, if it is alive and of
/// that user.
#[test]
fn a_sender_that_is_gone_or_another_s_is_not_passed_on() {
    if needs_root("a_sender_that_is_gone_or_another_s_is_not_passed_on") {
        return;
    }
    let dir = TempDir::new().unwrap();
    let systemd = Systemd::bind(dir.path());
    let running = Running::start(dir, Store::new(vec![rule(1 << 20, 10)]), None, true);
    let notify = SocketAddrUnix::new(running.path("notify")).unwrap();
    let file = memfd(b"x");
    let forged = Credentials { pid: std::process::id(), uid: 12345, gid: 0 };
    let message = b"FDSTORE=1\nFDNAME=x";
    send_to(socket(SocketType::DGRAM), &notify, message, &[file.as_fd()], Some(forged)).unwrap();
    running.told("does not run as user 12345");
    assert!(systemd.all().is_empty());
    assert!(running.client().list().unwrap().is_empty());
}

fn open_to_all(dir: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
}
