//! What `dumpe2fs` and `debugfs` read out of a composed filesystem.

mod common;

use common::{attributes, debugfs, geometry, have, image, tree};
use regionfs::{Content, FileExtent, Xattr, compose, head_blocks};
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

fn headers(image: &Path) -> BTreeMap<String, String> {
    let out = Command::new("dumpe2fs").arg("-h").arg(image).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

#[test]
fn dumpe2fs_agrees_on_the_superblock() {
    if !have("dumpe2fs") {
        return;
    }
    let composed = compose(tree(), geometry(66_048)).unwrap();
    let figures = composed.figures();
    let image = image(&composed);
    let headers = headers(image.path());
    let features = "ext_attr dir_index sparse_super2 filetype extent 64bit flex_bg sparse_super \
                    large_file huge_file dir_nlink extra_isize metadata_csum";
    for (name, value) in [
        ("Filesystem volume name", "pkram".to_owned()),
        ("Filesystem UUID", "12345678-9abc-4def-8123-456789abcdef".to_owned()),
        ("Filesystem features", features.to_owned()),
        ("Filesystem state", "clean".to_owned()),
        ("Errors behavior", "Remount read-only".to_owned()),
        ("Block count", figures.blocks.to_string()),
        ("Free blocks", figures.free_blocks.to_string()),
        ("Inode count", figures.inodes.to_string()),
        ("Free inodes", figures.free_inodes.to_string()),
        ("Inode size", "256".to_owned()),
        ("Default directory hash", "half_md4".to_owned()),
        ("Checksum type", "crc32c".to_owned()),
    ] {
        assert_eq!(headers.get(name), Some(&value), "{name}");
    }
    let mut boot_area = [0; 5];
    image.as_file().read_exact_at(&mut boot_area, 0).unwrap();
    assert_eq!(&boot_area, b"heads");
}

/// What `getxattr` gives for an ACL with these named users.
fn acl(users: std::ops::Range<u32>) -> Vec<u8> {
    let entry = |tag: u16, perm: u16, id: u32| {
        [&tag.to_le_bytes()[..], &perm.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let mut acl = [&2_u32.to_le_bytes()[..], &entry(1, 7, u32::MAX)].concat();
    users.for_each(|user| acl.extend(entry(2, 5, user)));
    for (tag, perm) in [(4, 5), (0x10, 5), (0x20, 0)] {
        acl.extend(entry(tag, perm, u32::MAX));
    }
    acl
}

#[test]
fn debugfs_reads_extended_attributes_and_acls() {
    if !have("debugfs") {
        return;
    }
    let xattrs = [
        ("system.posix_acl_access", acl(1000..1002)),
        ("system.posix_acl_default", acl(1000..1100)),
        ("security.selinux", b"system_u:object_r:tmp_t:s0\0".to_vec()),
        ("security.capability", vec![1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0]),
        ("trusted.overlay.opaque", b"y".to_vec()),
        ("user.binary", (0..=255).collect()),
        ("user.empty", Vec::new()),
    ];
    let mut t = tree();
    let mut attrs = attributes(0o750);
    attrs.xattrs = xattrs
        .iter()
        .map(|(name, value)| Xattr { name: (*name).into(), value: value.clone() })
        .collect();
    let dir = t.add_inode(attrs, Content::Directory).unwrap();
    t.link(t.root(), b"dir", dir).unwrap();
    let image = image(&compose(t, geometry(1024)).unwrap());
    common::check(image.path());
    let list = String::from_utf8_lossy(&debugfs(image.path(), "ea_list /dir")).into_owned();
    let out = tempfile::NamedTempFile::new().unwrap();
    for (name, value) in &xattrs {
        // The list shows ACLs in their stored form, which is shorter.
        let shown = if name.starts_with("system.") {
            format!("{name} (")
        } else {
            format!("{name} ({})", value.len())
        };
        assert!(list.contains(&shown), "{shown} in {list}");
        debugfs(image.path(), &format!("ea_get -f {} /dir {name}", out.path().display()));
        let mut expected = value.clone();
        if name.starts_with("system.") {
            // Entries for no one in particular have the id −1 in Linux, but 0 in e2fsprogs.
            let (entries, _) = expected[4..].as_chunks_mut::<8>();
            let unnamed = entries.iter_mut().filter(|entry| entry[4..] == [0xff; 4]);
            unnamed.for_each(|entry| entry[4..].fill(0));
        }
        assert_eq!(std::fs::read(out.path()).unwrap(), expected, "{name}");
    }
}

#[test]
fn debugfs_dumps_a_tree_as_it_was() {
    if !have("debugfs") {
        return;
    }
    let mut t = tree();
    let mut dir = t.root();
    for depth in 0..5 {
        let next = t.add_inode(attributes(0o755), Content::Directory).unwrap();
        t.link(dir, format!("level {depth}").as_bytes(), next).unwrap();
        dir = next;
        let bytes = Content::Bytes(vec![b'0' + depth; 3000 * usize::from(depth)]);
        let file = t.add_inode(attributes(0o644), bytes).unwrap();
        t.link(dir, b"file", file).unwrap();
        let link = t.add_inode(attributes(0o777), Content::Symlink(b"../file".to_vec())).unwrap();
        t.link(dir, b"link", link).unwrap();
    }
    let image = image(&compose(t, geometry(1024)).unwrap());
    let out = tempfile::tempdir().unwrap();
    debugfs(image.path(), &format!("rdump / {}", out.path().display()));
    let mut path = out.path().to_owned();
    for depth in 0..5_u8 {
        path.push(format!("level {depth}"));
        let bytes = std::fs::read(path.join("file")).unwrap();
        assert_eq!(bytes, vec![b'0' + depth; 3000 * usize::from(depth)]);
        assert_eq!(std::fs::read_link(path.join("link")).unwrap(), Path::new("../file"));
    }
}

#[test]
fn debugfs_finds_the_extents() {
    if !have("debugfs") {
        return;
    }
    let mut t = tree();
    let extents: Vec<_> =
        (0..700).map(|i| FileExtent { logical: 5 * i, block: 9000 - 4 * i, len: 3 }).collect();
    let content = Content::File { size: 5 * 700 * 4096, extents: extents.clone() };
    let file = t.add_inode(attributes(0o644), content).unwrap();
    t.link(t.root(), b"file", file).unwrap();
    let image = image(&compose(t, geometry(10_240)).unwrap());
    let text = String::from_utf8_lossy(&debugfs(image.path(), "ex /file")).into_owned();
    // Lines of leaves: level, entry, logical, physical, length; depth 1 of 1.
    let found: Vec<_> = text
        .lines()
        .filter(|line| line.trim_start().starts_with("1/ 1"))
        .map(|line| {
            let numbers: Vec<u64> =
                line.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
            let [_, _, _, _, logical, _, block, _, len] = numbers[..] else { panic!("{line}") };
            FileExtent { logical, block, len }
        })
        .collect();
    assert_eq!(found, extents);
}

#[test]
fn a_bound_on_extents_leaves_room_for_them() {
    let mut t = tree();
    let content = Content::File { size: 1 << 30, extents: Vec::new() };
    let file = t.add_inode(attributes(0o644), content).unwrap();
    t.link(t.root(), b"file", file).unwrap();
    let exact = head_blocks(&t, &geometry(10_240), |_, extents| extents).unwrap();
    let bound = |most| {
        head_blocks(&t, &geometry(10_240), |node, _| if node == file { most } else { 0 }).unwrap()
    };
    assert_eq!([bound(0), bound(4), bound(5), bound(341)], [exact, exact, exact + 1, exact + 2]);
}
