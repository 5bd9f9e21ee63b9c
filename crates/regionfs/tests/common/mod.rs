//! Composed images as sparse files, and e2fsprogs to judge them.

#![allow(dead_code, reason = "each test file uses a part of this")]

pub(crate) mod random;

use regionfs::{Attributes, Geometry, RegionImage, Timestamp, Tree, Uuid};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use tempfile::NamedTempFile;

/// Whether `tool` can be run. Says so if not; with `PKRAM_TEST_REQUIRE=1` that is a failure.
pub(crate) fn have(tool: &str) -> bool {
    let found = Command::new(tool).arg("-V").output().is_ok();
    if !found {
        assert!(
            std::env::var_os("PKRAM_TEST_REQUIRE").is_none_or(|v| v != "1"),
            "{tool} is missing: apt-get install e2fsprogs"
        );
        eprintln!("skipped: {tool} is missing (apt-get install e2fsprogs)");
    }
    found
}

pub(crate) fn geometry(blocks: u64) -> Geometry {
    let mut boot_area = [0; 1024];
    boot_area[..5].copy_from_slice(b"heads");
    Geometry {
        blocks,
        uuid: Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef),
        created: Timestamp { secs: 1_790_000_000, nanos: 0 },
        bad: Vec::new(),
        journal_blocks: 0,
        free_inodes: 0,
        boot_area,
    }
}

pub(crate) fn tree() -> Tree {
    Tree::new(attributes(0o755)).unwrap()
}

pub(crate) fn attributes(mode: u16) -> Attributes {
    let time = Timestamp { secs: 1_700_000_000, nanos: 123_456_789 };
    Attributes {
        mode,
        uid: 1000,
        gid: 100_000,
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        xattrs: Vec::new(),
    }
}

/// Writes the head into a sparse file as large as the region.
pub(crate) fn image(composed: &RegionImage) -> NamedTempFile {
    // In memory if possible: e2fsprogs syncs, and disks take their time for that.
    let file = NamedTempFile::new_in("/dev/shm").or_else(|_| NamedTempFile::new()).unwrap();
    file.as_file().set_len(composed.figures().blocks * 4096).unwrap();
    let mut next = 0;
    composed
        .write_metadata(&mut |block, bytes| {
            assert_eq!(block, next, "blocks come in order");
            next += 1;
            if bytes.iter().all(|&b| b == 0) {
                return Ok(());
            }
            file.as_file().write_all_at(bytes, block * 4096)
        })
        .unwrap();
    assert_eq!(next, composed.head_blocks());
    file
}

/// Panics unless `e2fsck` finds nothing at all.
pub(crate) fn check(image: &Path) {
    if !have("e2fsck") {
        return;
    }
    let out = Command::new("e2fsck").arg("-fn").arg(image).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    // What a clean run says: five passes and one line of figures.
    let passes = text.lines().filter(|line| line.starts_with("Pass ")).count();
    assert!(
        out.status.success() && passes == 5 && text.lines().count() == 6,
        "e2fsck {}:\n{text}{}",
        out.status,
        String::from_utf8_lossy(&out.stderr)
    );
}

/// What `debugfs` answers to one request.
pub(crate) fn debugfs(image: &Path, request: &str) -> Vec<u8> {
    Command::new("debugfs").args(["-R", request]).arg(image).output().unwrap().stdout
}
