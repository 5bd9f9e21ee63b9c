//! What a service gives is what it gets, and what it may not give is refused with the reason.

use crate::common::{content, memfd, refusal, start};
use fdstore::ClientError;
use rustix::fs::{MemfdFlags, memfd_create};
use std::os::unix::net::UnixStream;

#[test]
fn what_is_put_is_taken_as_often_as_wanted_until_it_is_removed() {
    let running = start(1 << 20, 10);
    let client = running.client();
    assert!(client.take("cache").unwrap().is_none());
    client.put("cache", memfd(b"first")).unwrap();
    client.put("cache", memfd(b"second")).unwrap();
    client.put("a b=c", memfd(b"third")).unwrap();
    for _ in 0..2 {
        // Another connection of the same owner, as after a crash.
        let client = running.client();
        let all = client.take_all(None).unwrap();
        let all: Vec<_> =
            all.into_iter().map(|k| (k.name.to_string(), content(k.descriptor))).collect();
        let expected = [("cache", "first"), ("cache", "second"), ("a b=c", "third")];
        assert!(
            all.iter()
                .map(|(n, c)| (n.as_str(), &c[..]))
                .eq(expected.map(|(n, c)| (n, c.as_bytes())))
        );
        assert_eq!(content(client.take("cache").unwrap().unwrap()), b"second");
        assert_eq!(client.take_all(Some("cache")).unwrap().len(), 2);
        let list = client.list().unwrap();
        let list: Vec<_> = list.iter().map(|(n, size)| (n.as_str(), *size)).collect();
        assert_eq!(list, [("cache", 5), ("cache", 6), ("a b=c", 5)]);
    }
    client.remove("cache").unwrap();
    client.remove("cache").unwrap();
    assert!(client.take("cache").unwrap().is_none());
    assert_eq!(client.list().unwrap().len(), 1);
}

#[test]
fn the_same_file_is_there_once_under_one_name() {
    let running = start(10, 2);
    let client = running.client();
    let file = memfd(b"0123456789");
    for _ in 0..3 {
        client.put("x", &file).unwrap();
    }
    // Its size counts once, the descriptor twice.
    client.put("y", &file).unwrap();
    assert_eq!(client.list().unwrap().len(), 2);
    let why = refusal(client.put("z", &file));
    assert!(why.contains("would have 3 descriptors stored; its max-descriptors is 2"), "{why}");
    // Where nothing is new, nothing is too much.
    client.put("x", &file).unwrap();
}

#[test]
fn quotas_hold() {
    let running = start(100, 3);
    let client = running.client();
    client.put("a", memfd(&[1; 60])).unwrap();
    let why = refusal(client.put("b", memfd(&[2; 41])));
    assert!(why.contains("would have 101 bytes stored; its max-size is 100 bytes"), "{why}");
    client.put("b", memfd(&[2; 40])).unwrap();
    client.remove("a").unwrap();
    let grown = memfd(&[3; 60]);
    client.put("a", &grown).unwrap();
    rustix::fs::ftruncate(&grown, 61).unwrap();
    let (store, _dir) = running.stop();
    let over = store.oversize();
    assert_eq!(over.iter().map(|o| (o.size, o.limit)).collect::<Vec<_>>(), [(101, 100)]);
}

#[test]
fn who_has_no_rule_is_told_which() {
    let dir = tempfile::TempDir::new().unwrap();
    let store = pkramd::store::Store::new(Vec::new());
    let running = crate::common::Running::start(dir, store, None, false);
    let why = refusal(running.client().put("x", memfd(b"x")));
    assert!(why.contains("pkram.toml has no [[handover]] with "), "{why}");
    assert!(running.client().list().unwrap().is_empty());
}

#[test]
fn what_is_no_memory_is_refused() {
    let running = start(1 << 20, 10);
    let client = running.client();
    let why = refusal(client.put("s", &UnixStream::pair().unwrap().0));
    assert_eq!(
        why,
        "descriptor \"s\" is not kept: it is a socket, which cannot go over a kexec; what \
         can is memory: memfds, files on tmpfs or hugetlbfs"
    );
    let disk = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let why = refusal(client.put("d", &disk));
    assert!(why.contains("it lies on ") && why.contains(", mounted on /"), "{why}");
    assert!(client.list().unwrap().is_empty());
}

#[test]
fn thousands_come_back_in_several_packets() {
    let running = start(1 << 30, 1000);
    let client = running.client();
    let name = |i: usize| format!("{i:0>200}");
    for i in 0..600 {
        let file = memfd_create("many", MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, i as u64).unwrap();
        client.put(&name(i), file).unwrap();
    }
    let all = client.take_all(None).unwrap();
    assert_eq!(all.len(), 600);
    for (i, kept) in all.iter().enumerate() {
        assert_eq!(kept.name.as_str(), name(i));
        assert_eq!(rustix::fs::fstat(&kept.descriptor).unwrap().st_size, i64::try_from(i).unwrap());
    }
    assert_eq!(client.list().unwrap().len(), 600);
}

#[test]
fn nobody_there_is_said() {
    let dir = tempfile::TempDir::new().unwrap();
    let error = fdstore::Client::connect_to(&dir.path().join("none"), crate::common::LONG);
    assert!(matches!(error, Err(ClientError::Connect { .. })), "{error:?}");
}
