//! C programs, compiled with `pkram.h` and linked with `libpkram.so`, against a store that runs.

use pkramd::store::{Arrival, Rule, Server, Store, Who};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// The compilers that there are; none where the test is to be skipped.
fn compilers(wanted: &[&'static str]) -> Vec<&'static str> {
    let is_there = |c: &&str| Command::new(c).arg("--version").output().is_ok();
    let found: Vec<_> = wanted.iter().copied().filter(is_there).collect();
    if found.is_empty() {
        let required = std::env::var_os("PKRAM_TEST_REQUIRE").is_some();
        assert!(!required, "none of the compilers {wanted:?} is installed");
        eprintln!("skipped: none of the compilers {wanted:?} is installed");
    }
    found
}

/// The library under the names that an installed one has.
fn install(dir: &Path) {
    let here = std::env::current_exe().unwrap();
    let built = here.with_file_name("libfdstore_c.so");
    std::fs::copy(&built, dir.join("libpkram.so.0")).unwrap();
    std::os::unix::fs::symlink("libpkram.so.0", dir.join("libpkram.so")).unwrap();
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn compile(compiler: &str, from: &Path, dir: &Path, more: &[&str]) -> PathBuf {
    let program = dir.join(from.file_stem().unwrap());
    let status = Command::new(compiler)
        .args(["-Wall", "-Wextra", "-Werror", "-I"])
        .arg(source("include"))
        .args(more)
        .arg("-o")
        .args([&program, from])
        .arg("-L")
        .arg(dir)
        .arg("-lpkram")
        .status();
    assert!(status.unwrap().success(), "{compiler} {}", from.display());
    program
}

fn run(program: &Path, dir: &Path) -> String {
    let Output { status, stdout, stderr } = Command::new(program)
        .arg(dir.join("store.sock"))
        .env("LD_LIBRARY_PATH", dir)
        .output()
        .unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

fn with_store(work: impl FnOnce(&Path)) {
    let dir = TempDir::new().unwrap();
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
    install(dir.path());
    work(dir.path());
    end.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}

#[test]
fn the_example_counts() {
    for compiler in compilers(&["cc"]) {
        with_store(|dir| {
            let counter = compile(compiler, &source("examples/counter.c"), dir, &["-std=c11"]);
            for n in 0..3 {
                assert_eq!(run(&counter, dir), format!("started {n} times before\n"));
            }
        });
    }
}

#[test]
fn every_function_does_what_the_header_says() {
    for compiler in compilers(&["gcc", "clang"]) {
        with_store(|dir| {
            let all = compile(compiler, &source("tests/all.c"), dir, &[]);
            assert_eq!(run(&all, dir), "all is as pkram.h says\n");
        });
    }
}

#[test]
fn the_library_is_what_programs_ask_for() {
    let Ok(program) = Command::new("readelf").arg("--version").output() else {
        assert!(std::env::var_os("PKRAM_TEST_REQUIRE").is_none(), "readelf");
        eprintln!("skipped: no readelf");
        return;
    };
    assert!(program.status.success());
    let dir = TempDir::new().unwrap();
    install(dir.path());
    let read = |what: &[&str]| {
        let read = Command::new("readelf").args(what).arg(dir.path().join("libpkram.so")).output();
        String::from_utf8(read.unwrap().stdout).unwrap()
    };
    assert!(read(&["-d"]).contains("Library soname: [libpkram.so.0]"));
    let symbols = read(&["--dyn-syms", "-W"]);
    let exported = symbols.lines().filter(|l| l.contains(" GLOBAL ") && !l.contains(" UND "));
    let mut exported: Vec<_> = exported.filter_map(|l| l.split_whitespace().last()).collect();
    exported.sort_unstable();
    let functions = ["error", "put", "remove", "take", "take_all", "use_socket"];
    assert_eq!(exported, functions.map(|f| format!("pkram_{f}")));
}
