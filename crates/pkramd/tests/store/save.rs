//! Into a save, and out of a region: here the region's files are files on tmpfs.

use crate::common::{content, memfd, rule};
use fdstore::Name;
use fdstore::packet::Credentials;
use pkram::census::{Manner, hold};
use pkram::nodes::Save;
use pkram::progress::Silent;
use pkram::source::{Added, SourceSpec, add_each};
use pkramd::store::{Arrived, Entry, Owner, Peer, Store, node_name, owner_of};
use proptest::prelude::*;
use rustix::fs::{
    FallocateFlags, MemfdFlags, OFlags, SealFlags, SeekFrom, fallocate, fcntl_add_seals,
    fcntl_get_seals, fcntl_getfl, fstat, ftruncate, memfd_create, open, seek, tell,
};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn me() -> Peer {
    let uid = rustix::process::getuid().as_raw();
    let gid = rustix::process::getgid().as_raw();
    Peer::of_sender(Credentials { pid: std::process::id(), uid, gid }).unwrap()
}

fn owner() -> Owner {
    me().owner()
}

fn put(store: &mut Store, name: &str, file: OwnedFd) {
    store.put(&me(), &Name::new(name).unwrap(), vec![file]).unwrap();
}

#[test]
fn a_save_holds_each_file_once() {
    let mut store = Store::new(vec![rule(1 << 30, 100)]);
    let shared = memfd(&[7; 10_000]);
    put(&mut store, "one", shared.try_clone().unwrap());
    put(&mut store, "another", shared);
    put(&mut store, "empty", memfd(b""));
    let sealed = memfd(&[1; 5000]);
    fcntl_add_seals(&sealed, SealFlags::WRITE | SealFlags::GROW | SealFlags::SEAL).unwrap();
    put(&mut store, "sealed", sealed);
    let mut save = Save::new();
    assert!(store.save_into(&mut save, BTreeMap::new()).is_empty());
    assert!(!save.is_empty());
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("PKRAM_TEST_REQUIRE").is_none(), "root");
        eprintln!("skipped: holding pages needs root");
        return;
    }
    // A page of two objects would be refused here.
    let (_hold, census) = hold(&save, Manner { threads: 1, no_pins: true }, &Silent).unwrap();
    let pages = |file: &pkram::census::FileCensus| file.extents.iter().map(|e| e.len).sum::<u64>();
    assert_eq!(census.files.iter().map(pages).collect::<Vec<_>>(), [3, 0, 2]);
}

#[test]
fn a_file_that_is_a_source_s_as_well_is_held_once() {
    let dir = TempDir::new_in("/dev/shm").unwrap();
    fs::write(dir.path().join("both"), [5; 4096]).unwrap();
    fs::write(dir.path().join("tree-only"), [6; 4096]).unwrap();
    let mut store = Store::new(vec![rule(1 << 30, 100)]);
    put(&mut store, "both", File::open(dir.path().join("both")).unwrap().into());
    put(&mut store, "alone", memfd(&[7; 4096]));
    let mut save = Save::new();
    let spec = SourceSpec::parse(&format!("tree={}", dir.path().display())).unwrap();
    let Added { outcomes, found } = add_each(&mut save, &[spec], &store.files()).unwrap();
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(found.len(), 1);
    assert!(store.save_into(&mut save, found).is_empty());
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("PKRAM_TEST_REQUIRE").is_none(), "root");
        eprintln!("skipped: holding pages needs root");
        return;
    }
    // A page of two objects would be refused here.
    let (_hold, census) = hold(&save, Manner { threads: 1, no_pins: true }, &Silent).unwrap();
    assert_eq!(census.files.len(), 3);
}

/// A file as it would lie in a region.
fn region_file(dir: &Path, number: u32, bytes: &[u8]) -> PathBuf {
    let path = dir.join(number.to_string());
    fs::write(&path, bytes).unwrap();
    path
}

fn arrived(path: &Path, record: &str) -> Arrived {
    let file = File::options().read(true).write(true).open(path).unwrap();
    fs::write(format!("{}.bytes", path.display()), record).unwrap();
    Arrived { path: path.to_owned(), file, record: record.as_bytes().to_vec() }
}

fn record(name: &str, size: u64, more: &str) -> String {
    let stat = rustix::fs::stat("/proc/self").unwrap();
    format!(
        r#"{{"version":1,"name":"{name}","file":"the file","size":{size},"offset":0,"access":"read-write","append":false,"seals":[],"mode":384,"uid":{},"gid":{},"huge_page":null,"arrival":"copy"{more}}}"#,
        stat.st_uid, stat.st_gid
    )
}

fn link(entry: &Entry) -> String {
    let link = format!("/proc/self/fd/{}", entry.descriptor.as_raw_fd());
    fs::read_link(link).unwrap().to_string_lossy().into_owned()
}

fn bytes(entry: &Entry) -> Vec<u8> {
    content(entry.descriptor.try_clone().unwrap())
}

#[test]
fn a_copy_is_what_the_memfd_was() {
    let dir = TempDir::new_in("/dev/shm").unwrap();
    let path = region_file(dir.path(), 0, b"");
    let file = File::options().write(true).open(&path).unwrap();
    ftruncate(&file, (64 << 20) + 100).unwrap();
    file.write_all_at(b"begin", 4096 * 5).unwrap();
    file.write_all_at(&[9; 3 << 20], 32 << 20).unwrap();
    file.write_all_at(b"end", (64 << 20) + 97).unwrap();
    let size = (64 << 20) + 100;
    let text =
        record("cache", size, "").replace("\"seals\":[]", "\"seals\":[\"shrink\",\"write\"]");
    let text = text.replace("\"offset\":0", "\"offset\":4711").replace("384", "493");
    let mut store = Store::new(vec![]);
    let errors = store.arrive(vec![(owner(), arrived(&path, &text))]);
    assert!(errors.is_empty(), "{errors:?}");
    let [entry] = store.entries() else { panic!("{store:?}") };
    assert_eq!((entry.name.as_str(), &entry.owner), ("cache", &owner()));
    assert_eq!(link(entry), "/memfd:the file (deleted)");
    assert_eq!(tell(&entry.descriptor).unwrap(), 4711);
    let seals = SealFlags::SHRINK | SealFlags::WRITE;
    assert_eq!(fcntl_get_seals(&entry.descriptor).unwrap(), seals);
    assert_eq!(fstat(&entry.descriptor).unwrap().st_mode & 0o777, 0o755);
    assert_eq!(bytes(entry), fs::read(&path).unwrap());
    let blocks = |fd: &dyn std::os::fd::AsFd| fstat(fd.as_fd()).unwrap().st_blocks;
    assert_eq!(blocks(&entry.descriptor), blocks(&File::open(&path).unwrap()), "holes");
}

#[test]
fn in_place_is_the_region_s_file_until_it_is_removed() {
    let dir = TempDir::new_in("/dev/shm").unwrap();
    let path = region_file(dir.path(), 3, b"where it lies");
    let text = record("cache", 13, "").replace("\"copy\"", "\"in-place\"");
    let mut store = Store::new(vec![rule(1 << 20, 10)]);
    assert!(store.arrive(vec![(owner(), arrived(&path, &text))]).is_empty());
    let entry = &store.entries()[0];
    assert_eq!(link(entry), path.to_str().unwrap());
    assert_eq!(entry.region_file.as_deref(), Some(&*path));
    // It goes over the next kexec with its region.
    let mut save = Save::new();
    assert!(store.save_into(&mut save, BTreeMap::new()).is_empty() && save.is_empty());
    // A service that stores what it got changes nothing.
    let same = entry.descriptor.try_clone().unwrap();
    assert_eq!(store.put(&me(), &Name::new("cache").unwrap(), vec![same]).unwrap(), 0);
}

#[test]
fn names_of_one_file_are_one_file_again() {
    let dir = TempDir::new_in("/dev/shm").unwrap();
    let path = region_file(dir.path(), 0, b"shared");
    let second = dir.path().join("1");
    fs::hard_link(&path, &second).unwrap();
    let read_only = record("b", 6, "").replace("read-write", "read");
    let other = Owner::try_from("other.service".to_owned()).unwrap();
    let first = arrived(&path, &record("a", 6, ""));
    let objects = vec![(owner(), first), (other, arrived(&second, &read_only))];
    let mut store = Store::new(vec![]);
    assert!(store.arrive(objects).is_empty());
    let [a, b] = store.entries() else { panic!("{store:?}") };
    assert_eq!(a.file, b.file);
    assert_eq!(fcntl_getfl(&b.descriptor).unwrap() & OFlags::ACCMODE, OFlags::RDONLY);
    File::from(a.descriptor.try_clone().unwrap()).write_all_at(b"S", 0).unwrap();
    assert_eq!(bytes(b), b"Shared");
}

#[test]
fn huge_pages_that_this_kernel_has_not_become_small_ones() {
    let dir = TempDir::new_in("/dev/shm").unwrap();
    for page in [2 << 20, 1 << 30, 3, u64::MAX, 1 << 63] {
        let path = region_file(dir.path(), 0, &vec![5; 2 << 20]);
        let text = record("huge", 2 << 20, "").replace("null", &page.to_string());
        let mut store = Store::new(vec![]);
        let errors = store.arrive(vec![(owner(), arrived(&path, &text))]);
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(bytes(&store.entries()[0]), vec![5; 2 << 20]);
    }
}

#[test]
fn what_does_not_check_out_costs_only_itself() {
    let dir = TempDir::new_in("/dev/shm").unwrap();
    let bad = [
        ("{", "its record: EOF"),
        (&record("x", 4, "").replace("\"version\":1", "\"version\":2"), "has version 2"),
        (&record("x:y", 4, ""), "has a colon"),
        (&record("x", 5, ""), "has 4 bytes; its record says 5"),
        (&record("x", 4, "").replace("\"offset\":0", "\"offset\":18446744073709551615"), "offset"),
        (&record("x", 4, "").replace("384", "2541"), "mode 2541 cannot be"),
        (&record("x", 4, "").replace("[]", "[\"open\"]"), "unknown seal \"open\""),
        (&record("x", 4, "").replace("read-write", "execute"), "unknown variant"),
        (&record(&"x".repeat(9000), 4, ""), "one has at most 8192"),
    ];
    let good = arrived(&region_file(dir.path(), 0, b"good"), &record("good", 4, ""));
    let mut objects = vec![(owner(), good)];
    for (i, (text, _)) in (1..).zip(&bad) {
        objects.push((owner(), arrived(&region_file(dir.path(), i, b"four"), text)));
    }
    let mut store = Store::new(vec![]);
    let errors = store.arrive(objects);
    assert_eq!(store.entries().len(), 1);
    assert_eq!(errors.len(), bad.len());
    for ((_, error), (_, expected)) in errors.iter().zip(&bad) {
        assert!(error.to_string().contains(expected), "{expected} is not in {error}");
    }
}

#[test]
fn nodes_are_called_after_owners() {
    let owner = |text: &str| Owner::try_from(text.to_owned()).unwrap();
    assert_eq!(node_name(&owner("a.service")), "fdstore-a.service");
    assert_eq!(owner_of("fdstore-user-5"), Some(owner("user-5")));
    for other in ["fdstore-", "fdstore-..", "cache", "fdstore-a/b.service", "fdstore-user-x"] {
        assert_eq!(owner_of(other), None, "{other}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_record_ends_in_an_entry_or_an_error(
        text in prop_oneof![
            "[ -~]{0,200}",
            (0..400usize, any::<char>()).prop_map(|(at, with)| {
                let mut text = record("x", 4, "");
                let at = at % text.len();
                text.replace_range(at..=at, &with.to_string());
                text
            }),
        ]
    ) {
        let dir = TempDir::new_in("/dev/shm").unwrap();
        let path = region_file(dir.path(), 0, b"four");
        let mut store = Store::new(vec![]);
        let errors = store.arrive(vec![(owner(), arrived(&path, &text))]);
        prop_assert_eq!(errors.len() + store.entries().len(), 1);
        prop_assert_eq!(fs::read(&path).unwrap(), b"four");
    }
}

/// What a memfd is like that was stored anyhow is what `Record` says; the bytes of a save cannot be
/// read before the jump, so the whole way is seen in `pkram-cli`'s end-to-end tests.
#[test]
fn sparse_and_append_only_files_are_taken() {
    let mut store = Store::new(vec![rule(1 << 30, 10)]);
    let file = memfd_create("sparse", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, 1 << 29).unwrap();
    fallocate(&file, FallocateFlags::KEEP_SIZE, 1 << 29, 8192).unwrap();
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC;
    let again = open(path, flags, rustix::fs::Mode::empty()).unwrap();
    seek(&again, SeekFrom::End(0)).unwrap();
    put(&mut store, "sparse", file);
    put(&mut store, "sparse", again);
    assert_eq!(store.entries().len(), 2, "open in different ways");
    assert!(store.save_into(&mut Save::new(), BTreeMap::new()).is_empty());
}
