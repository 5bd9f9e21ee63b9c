//! Images that lie, most of them with right checksums: the reader must end with a value or an
//! error, and stay within the region. And what `e2fsck` finds wrong, verifying finds too.

use super::forge::{BLOCKS, IMAGE, place, reseal, value};
use super::{Filesystem, Kind, ReadError};
use crate::layout::{BLOCK64, index};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::io::Write;
use std::process::Command;

/// Reads a region whose data are zeros.
fn read(head: &[u8], offset: u64, buf: &mut [u8]) {
    assert!(offset + buf.len() as u64 <= BLOCKS * BLOCK64, "reads past the region");
    let at = index(offset).min(head.len());
    let there = buf.len().min(head.len() - at);
    buf[..there].copy_from_slice(&head[at..at + there]);
    buf[there..].fill(0);
}

/// Uses everything that the reader offers.
fn use_all(head: &[u8]) -> Result<(), ReadError> {
    let reader = |offset: u64, buf: &mut [u8]| {
        read(head, offset, buf);
        Ok(())
    };
    let fs = Filesystem::open(reader, BLOCKS)?;
    fs.verify()?;
    let _ = fs.walk(|visit| fs.xattrs(visit.inode).map(|_| ()));
    let _ = fs.lookup(format!("{:040}/{:040}/{:040}/nothing", 0, 1, 2).as_bytes());
    for number in 0..fs.superblock().inodes.saturating_add(2).min(600) {
        let Ok(inode) = fs.inode(number) else { continue };
        let _ = (fs.xattrs(&inode), fs.symlink_target(&inode), fs.read_dir(&inode));
        if let (Kind::File, Ok(file)) = (inode.kind, fs.file(&inode)) {
            let mut bytes = vec![0; 10_000];
            for offset in [0, 4095, file.size().saturating_sub(5000), u64::MAX - 3] {
                let _ = fs.read_file(&file, offset, &mut bytes);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn hostile_images_end_in_an_error(
        changes in prop::collection::vec((place(), value()), 1..12),
        sealed in prop::bool::weighted(0.9),
    ) {
        let (image, head) = &*IMAGE;
        let mut head = head.clone();
        for (at, value) in changes {
            let end = head.len().min(at + value.len());
            head[at..end].copy_from_slice(&value[..end - at]);
        }
        if sealed {
            reseal(image, &mut head);
        }
        let _ = use_all(&head);
    }

    #[test]
    fn noise_ends_in_an_error(noise in prop::collection::vec(any::<u8>(), 0..9000)) {
        prop_assert!(use_all(&noise).is_err());
    }
}

#[test]
fn resealing_changes_nothing_in_a_whole_image() {
    let (image, head) = &*IMAGE;
    let mut sealed = head.clone();
    reseal(image, &mut sealed);
    assert!(sealed == *head);
    use_all(head).unwrap();
}

/// What `e2fsck` finds and verifying does not: things that Linux does not look at.
const NOT_OURS: [&str; 1] = [
    // Hashes of extended attributes; kernels differ about names that are not ASCII.
    "has a hash",
];

/// What `e2fsck` says of the region with this head, unless it is content; `None` without it.
fn e2fsck(head: &[u8]) -> Option<Result<(), String>> {
    let file = tempfile::NamedTempFile::new_in("/dev/shm").ok()?;
    file.as_file().set_len(BLOCKS * BLOCK64).ok()?;
    std::fs::File::options().write(true).open(file.path()).ok()?.write_all(head).ok()?;
    let out = Command::new("e2fsck").arg("-fn").arg(file.path()).output().ok()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    Some(if out.status.success() { Ok(()) } else { Err(text) })
}

proptest! {
    // The same cases each time: there is always one more field that e2fsck knows of.
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(14),
        ..Default::default()
    })]

    #[test]
    fn verifying_finds_what_e2fsck_finds(at in place(), value in value()) {
        let (image, head) = &*IMAGE;
        let mut head = head.clone();
        let end = head.len().min(at + value.len());
        head[at..end].copy_from_slice(&value[..end - at]);
        reseal(image, &mut head);
        let reader = |offset: u64, buf: &mut [u8]| {
            read(&head, offset, buf);
            Ok(())
        };
        let found = Filesystem::open(reader, BLOCKS)
            .map_or(true, |fs| !fs.verify().unwrap().is_empty());
        if let Some(Err(text)) = e2fsck(&head) {
            let only_known = NOT_OURS.iter().any(|known| text.contains(known));
            prop_assert!(found || only_known, "block {} byte {}: {text}", at / 4096, at % 4096);
        }
    }
}
