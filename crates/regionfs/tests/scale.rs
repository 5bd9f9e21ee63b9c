//! Large regions, large files, large directories.

mod common;

use common::{attributes, check, geometry, image, tree};
use regionfs::read::Filesystem;
use regionfs::synthetic::Synthetic;
use regionfs::{Content, FileExtent, RegionImage, compose};
use std::os::unix::fs::FileExt;

/// Both judges: `e2fsck`, and our own verifying.
fn check_both(composed: &RegionImage) {
    let image = image(composed);
    let reader = |offset: u64, buf: &mut [u8]| image.as_file().read_exact_at(buf, offset);
    let fs = Filesystem::open(reader, composed.figures().blocks).unwrap();
    assert_eq!(fs.verify().unwrap(), vec![]);
    check(image.path());
}

fn share(composed: &RegionImage) -> f64 {
    let figures = composed.figures();
    100.0 * figures.head_blocks as f64 / figures.blocks as f64
}

#[test]
fn eight_tebibytes_of_large_files() {
    let shape = Synthetic { files: 8, file_blocks: 1 << 28, extent_blocks: 32768 };
    let (tree, geometry) = shape.build().unwrap();
    let composed = compose(tree, geometry).unwrap();
    assert!(share(&composed) <= 0.02, "metadata take {} %", share(&composed));
    check_both(&composed);
}

#[test]
fn metadata_of_large_files_cost_little_at_any_size() {
    for gib in [1, 4, 64, 1024] {
        let shape = Synthetic { files: 4, file_blocks: gib << 16, extent_blocks: 4096 };
        let (tree, mut geometry) = shape.build().unwrap();
        geometry.blocks = geometry.blocks.next_multiple_of(32768);
        let share = share(&compose(tree, geometry).unwrap());
        assert!(share <= 0.02, "{gib} GiB: metadata take {share} %");
    }
}

#[test]
fn a_file_of_two_hundred_thousand_extents() {
    let mut t = tree();
    let extents = (0..200_000)
        .map(|i| FileExtent { logical: 3 * i, block: 4000 + 2 * ((i * 77_773) % 200_000), len: 1 })
        .collect();
    let file = t.add_inode(attributes(0o600), Content::File { size: 600_000 * 4096, extents });
    t.link(t.root(), b"scattered", file.unwrap()).unwrap();
    let composed = compose(t, geometry(404_480)).unwrap();
    check_both(&composed);
}

#[test]
fn a_file_of_sixteen_tebibytes_less_one_block() {
    let mut t = tree();
    let last = (1 << 32) - 2;
    let extents = vec![
        FileExtent { logical: 0, block: 5000, len: 1 },
        FileExtent { logical: last, block: 6000, len: 1 },
    ];
    let size = (last + 1) * 4096;
    let file = t.add_inode(attributes(0o600), Content::File { size, extents }).unwrap();
    t.link(t.root(), b"huge", file).unwrap();
    check_both(&compose(t, geometry(32768)).unwrap());
    let larger = Content::File { size: size + 1, extents: Vec::new() };
    assert!(tree().add_inode(attributes(0o600), larger).is_err());
}

#[test]
fn seventy_thousand_directories_in_one() {
    let mut t = tree();
    for i in 0..70_000 {
        let dir = t.add_inode(attributes(0o700), Content::Directory).unwrap();
        t.link(t.root(), format!("{i}").as_bytes(), dir).unwrap();
    }
    check_both(&compose(t, geometry(130_000)).unwrap());
}

#[test]
fn a_hundred_thousand_long_names_in_one_directory() {
    let mut t = tree();
    let mut file = None;
    for i in 0..100_000 {
        if i % 60_000 == 0 {
            file = Some(t.add_inode(attributes(0o600), Content::Fifo).unwrap());
        }
        t.link(t.root(), format!("{i:0>255}").as_bytes(), file.unwrap()).unwrap();
    }
    check_both(&compose(t, geometry(32_768)).unwrap());
}
