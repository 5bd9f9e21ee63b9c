//! Composed filesystems before `e2fsck`, which did not come from us.

mod common;

use common::{attributes, check, debugfs, geometry, have, image, tree};
use regionfs::{Content, FileExtent, Xattr, compose, head_blocks};

fn file(blocks: &[(u64, u64, u64)], size: u64) -> Content {
    let extents =
        blocks.iter().map(|&(logical, block, len)| FileExtent { logical, block, len }).collect();
    Content::File { size, extents }
}

#[test]
fn an_empty_tree_of_any_size_is_clean() {
    let mib = 256;
    for blocks in [4 * mib, 6 * mib, 126 * mib, 128 * mib, 130 * mib, 2050 * mib, 5000 * mib] {
        let composed = compose(tree(), geometry(blocks)).unwrap();
        assert_eq!(
            composed.head_blocks(),
            head_blocks(&tree(), &geometry(blocks), |_, extents| extents).unwrap()
        );
        check(image(&composed).path());
    }
}

#[test]
fn every_kind_of_file_is_clean() {
    let mut t = tree();
    let root = t.root();
    let dir = t.add_inode(attributes(0o1777), Content::Directory).unwrap();
    t.link(root, b"dir", dir).unwrap();
    let kinds = [
        file(&[(0, 5000, 10), (12, 6000, 1)], 13 * 4096 - 5),
        file(&[], 1 << 30),
        file(&[], 0),
        Content::Bytes(b"hello".to_vec()),
        Content::Bytes(vec![7; 40_000]),
        Content::Bytes(Vec::new()),
        Content::Symlink(b"target".to_vec()),
        Content::Symlink(vec![b'x'; 59]),
        Content::Symlink(vec![b'x'; 60]),
        Content::Symlink(vec![b'x'; 4095]),
        Content::CharDevice { major: 1, minor: 3 },
        Content::BlockDevice { major: 259, minor: 1_000_000 },
        Content::Fifo,
        Content::Socket,
        file(&(0..2000).map(|i| (2 * i, 7000 + 2 * i, 1)).collect::<Vec<_>>(), 4000 * 4096),
    ];
    for (i, kind) in kinds.into_iter().enumerate() {
        let mut attrs = attributes(0o4640);
        if i % 2 == 0 {
            attrs.xattrs.push(Xattr { name: b"user.small".to_vec(), value: b"1".to_vec() });
            attrs.xattrs.push(Xattr { name: b"trusted.large".to_vec(), value: vec![b'v'; 3000] });
        }
        let node = t.add_inode(attrs, kind).unwrap();
        t.link(dir, format!("kind-{i}").as_bytes(), node).unwrap();
        if i % 3 == 0 {
            t.link(root, format!("again-{i}").as_bytes(), node).unwrap();
        }
    }
    let mut g = geometry(40_000);
    g.bad = (0..20).map(|i| 20_000 + 500 * i..20_002 + 500 * i).collect();
    let composed = compose(t, g).unwrap();
    let image = image(&composed);
    check(image.path());
    if have("debugfs") {
        assert_eq!(debugfs(image.path(), "cat /dir/kind-3"), b"hello");
        assert_eq!(debugfs(image.path(), "cat /dir/kind-4"), vec![7; 40_000]);
    }
}

#[test]
fn hashed_directories_are_clean() {
    for count in [500, 100_000] {
        let mut t = tree();
        let root = t.root();
        let node = t.add_inode(attributes(0o600), Content::Fifo).unwrap();
        for i in 0..count {
            let node = if i % 2000 == 0 {
                t.add_inode(attributes(0o600), Content::Directory).unwrap()
            } else if i < 60_000 {
                node
            } else {
                t.add_inode(attributes(0o600), Content::Socket).unwrap()
            };
            let name = format!("{i:0width$}", width = 6 + i % 90);
            t.link(root, name.as_bytes(), node).unwrap();
        }
        check(image(&compose(t, geometry(100_000)).unwrap()).path());
    }
}
