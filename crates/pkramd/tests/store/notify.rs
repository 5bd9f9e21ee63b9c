//! The datagram socket, as any program uses it that speaks sd_notify, and what reaches systemd.

use crate::common::{LONG, Running, Systemd, content, memfd, rule, start};
use fdstore::packet::send_to;
use pkramd::store::Store;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

fn say(to: &Path, message: &str, descriptors: &[BorrowedFd<'_>]) {
    let (family, kind) = (AddressFamily::UNIX, SocketType::DGRAM);
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None).unwrap();
    let to = SocketAddrUnix::new(to).unwrap();
    send_to(socket, &to, message.as_bytes(), descriptors, None).unwrap();
}

#[test]
fn a_service_that_speaks_sd_notify_needs_nothing_of_ours() {
    let running = start(1 << 20, 10);
    let notify = running.path("notify");
    let (one, two) = (memfd(b"one"), memfd(b"two"));
    say(&notify, "READY=1\nFDSTORE=1\nFDNAME=pair\nFDPOLL=0", &[one.as_fd(), two.as_fd()]);
    running.told("stored 2 as \"pair\"");
    let all = running.client().take_all(None).unwrap();
    let all: Vec<_> = all.into_iter().map(|kept| content(kept.descriptor)).collect();
    assert_eq!(all, [b"one", b"two"]);
    say(&notify, "FDSTOREREMOVE=1\nFDNAME=pair", &[]);
    running.told("removed 2 of \"pair\"");
    assert!(running.client().list().unwrap().is_empty());
    say(&notify, "FDTAKE=1", &[]);
    running.told("there is no answer to a datagram");
}

/// systemd's own program sends, and waits until a barrier tells it that systemd has read that.
#[test]
fn systemd_notify_itself_is_understood() {
    let is_root = rustix::process::geteuid().is_root();
    let is_there = Command::new("systemd-notify").arg("--version").output().is_ok();
    if !is_root || !is_there {
        assert!(std::env::var_os("PKRAM_TEST_REQUIRE").is_none(), "root and systemd-notify");
        eprintln!("skipped: needs root and systemd-notify");
        return;
    }
    let dir = TempDir::new().unwrap();
    let systemd = Systemd::bind(dir.path());
    let running = Running::start(dir, Store::new(Vec::new()), None, true);
    let mut child = Command::new("systemd-notify")
        .args(["--ready", "--status=warm"])
        .env("NOTIFY_SOCKET", running.path("notify"))
        .spawn()
        .unwrap();
    let said = systemd.next().unwrap();
    let said = String::from_utf8(said.bytes).unwrap();
    assert!(said.lines().any(|l| l == "READY=1") && said.contains("STATUS=warm"), "{said:?}");
    let barrier = systemd.next().unwrap();
    assert_eq!((&barrier.bytes[..], barrier.descriptors.len()), (&b"BARRIER=1"[..], 1));
    assert!(child.try_wait().unwrap().is_none(), "it did not wait for its barrier");
    drop(barrier);
    assert!(child.wait().unwrap().success());
}

#[test]
fn systemd_hears_everything_in_the_sender_s_name() {
    let dir = TempDir::new().unwrap();
    let systemd = Systemd::bind(dir.path());
    let running = Running::start(dir, Store::new(vec![rule(1 << 20, 10)]), None, true);
    let notify = running.path("notify");
    let file = memfd(b"kept twice");
    say(&notify, "READY=1\nSTATUS=warm\nX_UNKNOWN=\u{e4}", &[]);
    say(&notify, "FDSTORE=1\nFDNAME=cache", &[file.as_fd()]);
    let first = systemd.next().unwrap();
    assert_eq!(first.bytes, "READY=1\nSTATUS=warm\nX_UNKNOWN=\u{e4}".as_bytes());
    let sender = first.sender.unwrap();
    assert_eq!(sender.pid, std::process::id());
    assert_eq!(sender.uid, rustix::process::getuid().as_raw());
    let second = systemd.next().unwrap();
    assert_eq!(second.bytes, b"FDSTORE=1\nFDNAME=cache");
    let own: Vec<_> = second.descriptors.into_iter().map(content).collect();
    assert_eq!(own, [b"kept twice"]);
    running.told("stored 1");
}

/// Only root may speak for another process.
#[test]
fn another_process_is_the_sender_at_systemd_too() {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("PKRAM_TEST_REQUIRE").is_none(), "root");
        eprintln!("skipped: needs root");
        return;
    }
    let dir = TempDir::new().unwrap();
    let systemd = Systemd::bind(dir.path());
    let running = Running::start(dir, Store::new(Vec::new()), None, true);
    // It must still be there when pkramd passes it on.
    let script = "import os,socket,sys\n\
        s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM)\n\
        s.sendto(b'READY=1',sys.argv[1])\n\
        sys.stdin.read()";
    let child = Command::new("python3")
        .args(["-c", script])
        .arg(running.path("notify"))
        .stdin(std::process::Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        assert!(std::env::var_os("PKRAM_TEST_REQUIRE").is_none(), "python3");
        eprintln!("skipped: no python3");
        return;
    };
    let heard = systemd.next().unwrap();
    assert_eq!(heard.bytes, b"READY=1");
    assert_eq!(heard.sender.unwrap().pid, child.id());
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn a_barrier_is_closed_by_systemd_and_not_before() {
    let dir = TempDir::new().unwrap();
    let systemd = Systemd::bind(dir.path());
    let running = Running::start(dir, Store::new(Vec::new()), None, true);
    let (ours, theirs) = rustix::pipe::pipe().unwrap();
    say(&running.path("notify"), "BARRIER=1", &[theirs.as_fd()]);
    drop(theirs);
    let heard = systemd.next().unwrap();
    assert_eq!((&heard.bytes[..], heard.descriptors.len()), (&b"BARRIER=1"[..], 1));
    assert!(!is_closed(&ours, 0), "closed although systemd has not closed it");
    drop(heard);
    assert!(is_closed(&ours, LONG.as_secs().cast_signed()));
}

#[test]
fn without_systemd_a_barrier_is_closed_when_it_was_reached() {
    let running = start(1, 1);
    let (ours, theirs) = rustix::pipe::pipe().unwrap();
    say(&running.path("notify"), "BARRIER=1", &[theirs.as_fd()]);
    drop(theirs);
    assert!(is_closed(&ours, LONG.as_secs().cast_signed()));
}

fn is_closed(pipe: &OwnedFd, seconds: i64) -> bool {
    let mut polled = [PollFd::new(pipe, PollFlags::empty())];
    poll(&mut polled, Some(&Timespec { tv_sec: seconds, tv_nsec: 0 })).unwrap();
    polled[0].revents().contains(PollFlags::HUP)
}
