//! Random trees, composed and read back: by our reader, and by e2fsprogs.

mod common;

use common::random::{BLOCKS, DATA, Model, build, bytes_of, data_of, specs};
use common::{check, geometry, have, image};
use proptest::prelude::*;
use regionfs::read::{Filesystem, Inode, Kind, ReadAt, ReadError};
use regionfs::{Attributes, Content, compose};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use tempfile::NamedTempFile;

/// A composed image with its data, and its reader.
fn make(model: &Model) -> NamedTempFile {
    let mut g = geometry(BLOCKS);
    g.bad = vec![BLOCKS - 1000..BLOCKS - 998, BLOCKS - 500..BLOCKS - 498];
    let composed = compose(model.tree.clone(), g).unwrap();
    assert!(composed.head_blocks() <= DATA);
    let image = image(&composed);
    for (_, content) in model.nodes.values() {
        let Content::File { extents, .. } = content else { continue };
        for e in extents {
            for block in e.block..e.block + e.len {
                image.as_file().write_all_at(&data_of(block), block * 4096).unwrap();
            }
        }
    }
    image
}

fn open(image: &File) -> Filesystem<impl ReadAt> {
    let reader = |offset: u64, buf: &mut [u8]| image.read_exact_at(buf, offset);
    Filesystem::open(reader, BLOCKS).unwrap()
}

fn attributes_of<R: ReadAt>(fs: &Filesystem<R>, inode: &Inode) -> Attributes {
    Attributes {
        mode: inode.mode & 0o7777,
        uid: inode.uid,
        gid: inode.gid,
        atime: inode.atime,
        mtime: inode.mtime,
        ctime: inode.ctime,
        crtime: inode.crtime,
        xattrs: fs.xattrs(inode).unwrap(),
    }
}

fn check_content<R: ReadAt>(fs: &Filesystem<R>, inode: &Inode, content: &Content) {
    let read = |inode| {
        let file = fs.file(inode).unwrap();
        let mut bytes = vec![1; usize::try_from(file.size()).unwrap() + 10];
        let there = fs.read_file(&file, 0, &mut bytes).unwrap();
        bytes.truncate(there);
        bytes
    };
    match (content, inode.kind) {
        (Content::File { size, extents }, Kind::File) => {
            assert_eq!(read(inode), bytes_of(*size, extents));
        }
        (Content::Bytes(bytes), Kind::File) => assert_eq!(&read(inode), bytes),
        (Content::Symlink(target), Kind::Symlink) => {
            assert_eq!(&fs.symlink_target(inode).unwrap(), target);
        }
        (Content::CharDevice { major, minor }, kind) => {
            assert_eq!(kind, Kind::CharDevice { major: *major, minor: *minor });
        }
        (Content::BlockDevice { major, minor }, kind) => {
            assert_eq!(kind, Kind::BlockDevice { major: *major, minor: *minor });
        }
        (Content::Directory, Kind::Directory)
        | (Content::Fifo, Kind::Fifo)
        | (Content::Socket, Kind::Socket) => {}
        (content, kind) => panic!("{content:?} became {kind:?}"),
    }
}

/// What `debugfs` knows of every inode, by number: its `stat` text.
fn debugfs_stats(image: &Path, model: &Model) -> BTreeMap<u32, String> {
    let script = NamedTempFile::new().unwrap();
    let requests: String = model.nodes.keys().map(|n| format!("stat <{n}>\n")).collect();
    std::fs::write(script.path(), requests).unwrap();
    let out = Command::new("debugfs").arg("-f").arg(script.path()).arg(image).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let parts = text.split("debugfs: stat <").skip(1);
    parts
        .map(|part| {
            let (number, rest) = part.split_once('>').unwrap();
            (number.parse().unwrap(), rest.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .collect()
}

fn check_stat(text: &str, attrs: &Attributes, content: &Content) {
    let holds = |part: String| assert!(text.contains(&part), "{part:?} is not in {text}");
    holds(format!("Mode: 0{:03o}", attrs.mode));
    holds(format!("User: {} Group: {}", attrs.uid.cast_signed(), attrs.gid.cast_signed()));
    for (name, time) in [("atime", attrs.atime), ("mtime", attrs.mtime), ("crtime", attrs.crtime)] {
        let bits = u64::try_from(time.secs & 0xffff_ffff).unwrap();
        let epoch = u32::try_from((time.secs + (1 << 31)) >> 32).unwrap();
        holds(format!("{name}: 0x{bits:08x}:{:08x}", time.nanos << 2 | epoch));
    }
    let kind = match content {
        Content::File { .. } | Content::Bytes(_) => "regular",
        Content::Directory => "directory",
        Content::Symlink(_) => "symlink",
        Content::CharDevice { .. } => "character special",
        Content::BlockDevice { .. } => "block special",
        Content::Fifo => "FIFO",
        Content::Socket => "socket",
    };
    holds(format!("Type: {kind}"));
    match content {
        Content::File { size, .. } => holds(format!("Size: {size}")),
        Content::Bytes(bytes) => holds(format!("Size: {}", bytes.len())),
        Content::CharDevice { major, minor } | Content::BlockDevice { major, minor } => {
            holds(format!("{major:02}:{minor:02}"));
        }
        _ => {}
    }
    for xattr in &attrs.xattrs {
        if !xattr.name.starts_with(b"system.") && xattr.name.iter().all(u8::is_ascii_alphanumeric) {
            holds(format!("{} ({})", String::from_utf8_lossy(&xattr.name), xattr.value.len()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 60, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_was_composed_is_read_back(specs in specs(60)) {
        let model = build(specs);
        let image = make(&model);
        check(image.path());
        let fs = open(image.as_file());
        prop_assert_eq!(fs.verify().unwrap(), vec![]);

        let mut paths = BTreeMap::new();
        fs.walk(|visit| {
            paths.insert(visit.path.to_vec(), visit.inode.number);
            Ok::<_, ReadError>(())
        })
        .unwrap();
        prop_assert_eq!(paths.remove(&b""[..]), Some(2));
        prop_assert_eq!(paths.remove(&b"lost+found"[..]), Some(11));
        let expected: BTreeMap<_, _> =
            model.paths.iter().map(|(path, node)| (path.clone(), node.inode())).collect();
        prop_assert_eq!(&paths, &expected);
        if let Some((path, number)) = expected.last_key_value() {
            prop_assert_eq!(fs.lookup(path).unwrap().number, *number);
        }

        for (&number, (attrs, content)) in &model.nodes {
            let inode = fs.inode(number).unwrap();
            prop_assert_eq!(&attributes_of(&fs, &inode), attrs);
            check_content(&fs, &inode, content);
        }
        if have("debugfs") {
            let stats = debugfs_stats(image.path(), &model);
            for (number, (attrs, content)) in &model.nodes {
                check_stat(&stats[number], attrs, content);
            }
            for (number, (_, content)) in model.nodes.iter().take(3) {
                if let Content::File { size, extents } = content {
                    let bytes = common::debugfs(image.path(), &format!("cat <{number}>"));
                    prop_assert!(bytes == bytes_of(*size, extents), "debugfs reads other data");
                }
            }
        }
    }
}
