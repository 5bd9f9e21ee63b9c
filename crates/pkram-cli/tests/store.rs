//! `pkram put` and `pkram take`, against a store that runs.

use pkramd::store::{Arrival, Rule, Server, Store, Who};
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// Does something while a store serves in the folder that it is given.
fn with_store(work: impl FnOnce(&Client)) {
    let dir = TempDir::new_in("/dev/shm").unwrap();
    let who = Who::User(rustix::process::getuid().as_raw());
    let rule = Rule { who, max_size: 1 << 20, max_descriptors: 9, arrival: Arrival::Copy };
    let mut store = Store::new(vec![rule]);
    let at = |name| dir.path().join(name);
    let mut server = Server::bind(&at("notify"), &at("store.sock"), None).unwrap();
    let end = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&end);
    let thread = std::thread::spawn(move || {
        while !ended.load(Ordering::Relaxed) {
            server.wait(Duration::from_millis(20)).unwrap();
            server.turn(&mut store, None);
        }
    });
    work(&Client(dir));
    end.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}

struct Client(TempDir);

impl Client {
    fn pkram(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pkram"));
        let (verb, rest) = words.split_first().unwrap();
        command.arg(verb).arg("--socket").arg(self.0.path().join("store.sock")).args(rest);
        command
    }

    fn run(&self, words: &[&str], stdin: Option<OwnedFd>) -> Output {
        let stdin = stdin.map_or_else(Stdio::null, Stdio::from);
        self.pkram(words).stdin(stdin).output().unwrap()
    }

    /// What it prints when it succeeds.
    fn says(&self, words: &[&str], stdin: Option<OwnedFd>) -> String {
        let output = self.run(words, stdin);
        assert!(output.status.success(), "{}", text(output.stderr));
        text(output.stdout)
    }

    /// What it prints when it fails.
    fn fails(&self, words: &[&str]) -> String {
        let output = self.run(words, None);
        assert_eq!(output.status.code(), Some(1), "{}", text(output.stdout));
        text(output.stderr)
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn memfd(content: &str) -> OwnedFd {
    let mut file = File::from(memfd_create("cli", MemfdFlags::CLOEXEC).unwrap());
    file.write_all(content.as_bytes()).unwrap();
    file.into()
}

#[test]
fn what_was_put_is_listed_written_and_removed() {
    with_store(|client| {
        assert_eq!(client.says(&["take"], None), "nothing is kept\n");
        client.says(&["put", "cache"], Some(memfd("by standard input")));
        let file = client.0.path().join("file");
        std::fs::write(&file, "by path").unwrap();
        client.says(&["put", "file", file.to_str().unwrap()], None);
        let list: serde_json::Value =
            serde_json::from_str(&client.says(&["take", "--json"], None)).unwrap();
        assert_eq!(list["descriptors"][0]["name"], "cache");
        assert_eq!(list["descriptors"][0]["bytes"], 17);
        assert_eq!(list["descriptors"][1]["name"], "file");
        for _ in 0..2 {
            assert_eq!(client.says(&["take", "cache"], None), "by standard input");
        }
        assert_eq!(client.says(&["take", "--remove", "cache"], None), "by standard input");
        assert!(client.fails(&["take", "cache"]).contains("pkramd keeps nothing as \"cache\""));
        assert_eq!(client.says(&["take", "file"], None), "by path");
    });
}

#[test]
fn what_is_refused_is_said() {
    with_store(|client| {
        assert!(
            client.fails(&["put", "x", "/etc/passwd"]).contains("pkramd refuses: descriptor \"x\"")
        );
        assert!(client.fails(&["put", "x"]).contains("it is a device"));
        assert!(client.fails(&["put", "a:b"]).contains("has a colon"));
        assert!(client.fails(&["put", "x", "--fd", "777"]).contains("descriptor 777"));
        assert_eq!(client.run(&["put", "x", "--fd", "-1"], None).status.code(), Some(2));
        assert!(client.fails(&["put", "x", "/nowhere"]).contains("/nowhere"));
        let program = client.fails(&["take", "--", "/nowhere/program"]);
        assert!(program.contains("/nowhere/program"), "{program}");
    });
}

/// Closes what whoever started the test left open, such as a jobserver's pipe, and prints what
/// `sd_listen_fds_with_names(3)` would give, each descriptor's content, and how many are open.
const CLEAN: &str = "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-;";
const SHOW: &str = r#"[ "$LISTEN_PID" = $$ ] || exit 9
    echo "$LISTEN_FDS $LISTEN_FDNAMES $*"
    i=3; while [ $i -lt $((3 + LISTEN_FDS)) ]; do cat /proc/self/fd/$i; echo; i=$((i + 1)); done
    set -- /proc/$$/fd/*; echo $#"#;

/// Runs `before; pkram take OPTIONS -- sh -c SHOW`.
fn take(client: &Client, before: &str, options: &str) -> (String, String) {
    let http = client.0.path().join("http");
    std::fs::write(&http, "http").unwrap();
    let script = format!(r#"{CLEAN} {before} exec "$PKRAM" take --socket "$SOCKET" {options}"#);
    let output = Command::new("sh")
        .args(["-c", &script])
        .env("PKRAM", env!("CARGO_BIN_EXE_pkram"))
        .env("SHOW", SHOW)
        .env("SOCKET", client.0.path().join("store.sock"))
        .env("HTTP", &http)
        .output()
        .unwrap();
    (text(output.stdout), text(output.stderr))
}

/// How many are open besides those.
fn others() -> usize {
    let script = format!("{CLEAN} set -- /proc/$$/fd/*; echo $#");
    let counted = Command::new("sh").args(["-c", &script]).output().unwrap();
    text(counted.stdout).trim().parse().unwrap()
}

#[test]
fn a_program_is_started_with_what_was_kept() {
    with_store(|client| {
        for (name, content) in [("a", "first"), ("b", "second"), ("a", "third")] {
            client.says(&["put", name], Some(memfd(content)));
        }
        let others = others();
        for (options, expected, count) in [
            (r#"-- sh -c "$SHOW" sh an argument"#, "3 a:b:a an argument\nfirst\nsecond\nthird", 3),
            (r#"b -- sh -c "$SHOW""#, "1 b \nsecond", 1),
            (r#"--remove a -- sh -c "$SHOW""#, "2 a:a \nfirst\nthird", 2),
            (r#"-- sh -c "$SHOW""#, "1 b \nsecond", 1),
            (r#"a -- sh -c "$SHOW""#, "0  ", 0),
        ] {
            let (out, why) = take(client, "", options);
            assert_eq!(out, format!("{expected}\n{}\n", others + count), "{options} {why}");
        }
    });
}

#[test]
fn what_systemd_passed_on_comes_first() {
    with_store(|client| {
        client.says(&["put", "kept"], Some(memfd("kept")));
        let others = others();
        let ours = r#"exec 3<"$HTTP"; export LISTEN_PID=$$ LISTEN_FDS=1"#;
        let show = r#"-- sh -c "$SHOW""#;
        for (names, expected) in [(" LISTEN_FDNAMES=http;", "http"), (";", "unknown")] {
            let (out, why) = take(client, &format!("{ours}{names}"), show);
            let expected = format!("2 {expected}:kept \nhttp\nkept\n{}\n", others + 2);
            assert_eq!(out, expected, "{why}");
        }
        // Of another process, and the number is taken all the same.
        let theirs = r#"exec 3<"$HTTP"; export LISTEN_PID=1 LISTEN_FDS=1;"#;
        let (_, why) = take(client, theirs, show);
        assert!(why.contains("descriptor 3 is open already"), "{why}");
    });
}
