//! Empty filesystems for use: with a journal, free inodes, and bad blocks at regular distances.

mod common;

use common::{check, debugfs, geometry, have, image, tree};
use regionfs::read::Filesystem;
use regionfs::{ComposeError, Geometry, RegionImage, compose};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// A region of `blocks` blocks in which the last block of every MiB is bad.
fn reserved(blocks: u64, journal_blocks: u64) -> RegionImage {
    let plain = Geometry { journal_blocks, free_inodes: blocks / 16, ..geometry(blocks) };
    let head = compose(tree(), plain.clone()).unwrap().head_blocks();
    let bad = (0..blocks / 256).map(|mib| mib * 256 + 255).filter(|&b| b > head + 100);
    compose(tree(), Geometry { bad: bad.map(|b| b..b + 1).collect(), ..plain }).unwrap()
}

fn problems(image: &File, blocks: u64) -> Vec<String> {
    let fs = Filesystem::open(|at, buf: &mut [u8]| image.read_exact_at(buf, at), blocks).unwrap();
    fs.verify().unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn e2fsprogs_agree_on_the_journal() {
    // 600 pieces of bad blocks need an extent tree of two levels, 98304 of journal three extents.
    for (blocks, journal) in [(4608, 1024), (160_000, 4096), (300_000, 98_304)] {
        let composed = reserved(blocks, journal);
        assert!(composed.figures().free_inodes >= blocks / 16);
        let image = image(&composed);
        check(image.path());
        assert_eq!(problems(image.as_file(), blocks), [""; 0]);
        if !have("debugfs") {
            continue;
        }
        let say = |request| String::from_utf8_lossy(&debugfs(image.path(), request)).into_owned();
        let log = say("logdump");
        assert!(log.contains("Journal starts at block 0, transaction 1"), "{log}");
        let stat = say("stat <8>");
        assert!(stat.contains(&format!("Size: {}", journal * 4096)), "{stat}");
        // The superblock's own copy of the journal's inode is the inode's.
        let stats = say("stats");
        assert!(stats.contains("Journal backup:           inode blocks"), "{stats}");
    }
}

#[test]
fn a_damaged_journal_is_found() {
    let blocks = 4608;
    let image = image(&reserved(blocks, 1024));
    let file = image.as_file();
    let mut bytes = vec![0; 4608 * 4096];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let magic = [0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 4];
    let at = bytes.chunks(4096).position(|block| block.starts_with(&magic)).unwrap() * 4096;
    file.write_all_at(&[0], at as u64).unwrap();
    let found = problems(file, blocks);
    assert!(matches!(&found[..], [one] if one.contains("the journal, magic number")), "{found:?}");
}

#[test]
fn a_journal_must_fit() {
    for journal_blocks in [1024, u64::from(u32::MAX), u64::MAX / 8192] {
        let small = Geometry { journal_blocks, ..geometry(512) };
        assert!(matches!(compose(tree(), small), Err(ComposeError::NoRoom { .. })));
    }
}
