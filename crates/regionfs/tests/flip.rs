//! One flipped bit anywhere in metadata that are in use is found.

mod common;

use common::{attributes, geometry, tree};
use proptest::prelude::*;
use regionfs::read::Filesystem;
use regionfs::{Content, FileExtent, RegionImage, Xattr, compose};
use std::sync::LazyLock;

/// One group: block 0, descriptors, two bitmaps, then the inode tables.
const BLOCKS: u64 = 20_000;
const TABLES: usize = 4;
const INODE: usize = 256;

struct Image {
    composed: RegionImage,
    head: Vec<u8>,
}

static IMAGE: LazyLock<Image> = LazyLock::new(|| {
    let mut t = tree();
    let mut add = |name: &str, xattr: usize, content| {
        let mut attrs = attributes(0o644);
        let value = vec![b'v'; xattr];
        attrs.xattrs.push(Xattr { name: b"user.some".to_vec(), value });
        let node = t.add_inode(attrs, content).unwrap();
        t.link(t.root(), name.as_bytes(), node).unwrap();
    };
    add("small-xattr", 5, Content::Fifo);
    add("large-xattr", 500, Content::CharDevice { major: 1, minor: 3 });
    add("link", 1, Content::Symlink(b"somewhere".to_vec()));
    add("directory", 1, Content::Directory);
    let extents = |n: u64, block: u64| {
        (0..n).map(|i| FileExtent { logical: i, block: block + 2 * i, len: 1 }).collect()
    };
    add("flat", 1, Content::File { size: 4 * 4096, extents: extents(4, 1000) });
    add("one-level", 1, Content::File { size: 300 * 4096, extents: extents(300, 2000) });
    add("two-levels", 1, Content::File { size: 1500 * 4096, extents: extents(1500, 4000) });
    let composed = compose(t, geometry(BLOCKS)).unwrap();
    let mut head = Vec::new();
    composed
        .write_metadata(&mut |_, block| {
            head.extend_from_slice(block);
            Ok(())
        })
        .unwrap();
    Image { composed, head }
});

/// Bytes that ext4 neither reads nor sums up.
fn is_unused(at: usize) -> bool {
    let figures = IMAGE.composed.figures();
    let (block, byte) = (at / 4096, at % 4096);
    let table = (at / INODE).checked_sub(TABLES * 4096 / INODE);
    let inodes = usize::try_from(figures.inodes).unwrap();
    let used = usize::try_from(figures.inodes - figures.free_inodes).unwrap();
    match block {
        0 => !(1024..2048).contains(&byte),
        1 => byte >= 64,
        _ => table.is_some_and(|inode| (used..inodes).contains(&inode)),
    }
}

fn is_found(head: &[u8]) -> bool {
    let reader = |offset: u64, buf: &mut [u8]| {
        let at = usize::try_from(offset).unwrap();
        match head.get(at..at + buf.len()) {
            Some(bytes) => buf.copy_from_slice(bytes),
            None => buf.fill(0),
        }
        Ok(())
    };
    Filesystem::open(reader, BLOCKS).map_or(true, |fs| !fs.verify().unwrap().is_empty())
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert!(!is_found(&IMAGE.head));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_flipped_bit_is_found(at in 0..IMAGE.head.len() * 8) {
        let mut head = IMAGE.head.clone();
        head[at / 8] ^= 1 << (at % 8);
        prop_assert_eq!(is_found(&head), !is_unused(at / 8), "bit {} of byte {}", at % 8, at / 8);
    }
}
