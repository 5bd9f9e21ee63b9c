//! Random trees, and what a filesystem made of one must hold.

use super::tree;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::Index;
use regionfs::{Attributes, Content, FileExtent, NodeId, Timestamp, Tree, Xattr};
use std::collections::BTreeMap;

/// Where data begin; heads of the trees made here stay below.
pub(crate) const DATA: u64 = 8000;
/// Blocks of a region in which all data of a tree find room.
pub(crate) const BLOCKS: u64 = 70_000;

#[derive(Clone, Debug)]
pub(crate) struct Spec {
    dir: Index,
    name: Vec<u8>,
    also: Vec<(Index, Vec<u8>)>,
    attrs: Attributes,
    kind: KindSpec,
}

#[derive(Clone, Debug)]
enum KindSpec {
    /// Hole before, length, free blocks before, of each extent; bytes missing at the end.
    File(Vec<(u64, u64, u64)>, u64),
    Other(Content),
}

/// A tree and what every path in it must lead to.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) tree: Tree,
    pub(crate) paths: BTreeMap<Vec<u8>, NodeId>,
    pub(crate) nodes: BTreeMap<u32, (Attributes, Content)>,
}

pub(crate) fn specs(count: usize) -> impl Strategy<Value = Vec<Spec>> {
    vec(spec(), 0..count)
}

fn spec() -> impl Strategy<Value = Spec> {
    let also = vec((any::<Index>(), name()), 0..3);
    (any::<Index>(), name(), also, attributes(), kind())
        .prop_map(|(dir, name, also, attrs, kind)| Spec { dir, name, also, attrs, kind })
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_map(|b| if b == 0 || b == b'/' { b'n' } else { b });
    prop_oneof![
        "[a-z]{1,8}".prop_map(String::into_bytes),
        vec(byte, 1..=255).prop_map(|name| if name == b"." || name == b".." {
            b"x".to_vec()
        } else {
            name
        }),
    ]
}

/// From 1901 to 2310: `e2fsck` takes later times for the traces of an old kernel's mistake.
fn time() -> impl Strategy<Value = Timestamp> {
    (Timestamp::MIN.secs..=10_737_000_000, 0_u32..1_000_000_000)
        .prop_map(|(secs, nanos)| Timestamp { secs, nanos })
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let ids = prop_oneof![Just((0, 0)), any::<(u32, u32)>()];
    (0_u16..0o10_000, ids, [time(), time(), time(), time()], xattrs()).prop_map(
        |(mode, (uid, gid), [atime, mtime, ctime, crtime], xattrs)| Attributes {
            mode,
            uid,
            gid,
            atime,
            mtime,
            ctime,
            crtime,
            xattrs,
        },
    )
}

fn xattrs() -> impl Strategy<Value = Vec<Xattr>> {
    let namespace = prop_oneof![Just("user."), Just("trusted."), Just("security.")];
    let suffix = vec(1_u8..=255, 1..60);
    let names = btree_set((namespace, suffix), 0..5);
    let values = vec(vec(any::<u8>(), 0..500), 5);
    (names, values, any::<Option<bool>>()).prop_map(|(names, values, acl)| {
        let named = names.into_iter().zip(values).map(|((namespace, suffix), value)| Xattr {
            name: [namespace.as_bytes(), &suffix].concat(),
            value,
        });
        let acl = acl
            .map(|many| Xattr { name: b"system.posix_acl_access".to_vec(), value: acl_of(many) });
        let mut xattrs: Vec<_> = named.chain(acl).collect();
        xattrs.sort();
        xattrs
    })
}

/// user::rw-, one or many users, group::r--, mask::rw-, other::---; as `getxattr` gives it.
fn acl_of(many: bool) -> Vec<u8> {
    let users = if many { 1000..1040 } else { 1000..1001 };
    let entry = |tag: u16, perm: u16, id: u32| {
        [&tag.to_le_bytes()[..], &perm.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let mut acl = 2_u32.to_le_bytes().to_vec();
    acl.extend(entry(1, 6, u32::MAX));
    users.for_each(|user| acl.extend(entry(2, 4, user)));
    for (tag, perm) in [(4, 4), (0x10, 6), (0x20, 0)] {
        acl.extend(entry(tag, perm, u32::MAX));
    }
    acl
}

fn kind() -> impl Strategy<Value = KindSpec> {
    let few = vec((0_u64..50, 1_u64..20, 0_u64..20), 0..8);
    let many = vec((0_u64..2, 1_u64..2, 1_u64..2), 300..1500);
    let target = vec(1_u8..=255, 1..200);
    let device = (0_u32..4096, 0_u32..1 << 20);
    prop_oneof![
        4 => (few, 0_u64..4096).prop_map(|(extents, cut)| KindSpec::File(extents, cut)),
        1 => (many, 0_u64..4096).prop_map(|(extents, cut)| KindSpec::File(extents, cut)),
        4 => Just(KindSpec::Other(Content::Directory)),
        1 => vec(any::<u8>(), 0..9000).prop_map(|bytes| KindSpec::Other(Content::Bytes(bytes))),
        1 => target.prop_map(|target| KindSpec::Other(Content::Symlink(target))),
        1 => device.clone().prop_map(|(major, minor)| KindSpec::Other(Content::CharDevice { major, minor })),
        1 => device.prop_map(|(major, minor)| KindSpec::Other(Content::BlockDevice { major, minor })),
        1 => Just(KindSpec::Other(Content::Fifo)),
        1 => Just(KindSpec::Other(Content::Socket)),
    ]
}

/// Builds the tree; names that are taken are left out.
pub(crate) fn build(specs: Vec<Spec>) -> Model {
    let mut tree = tree();
    let mut directories = vec![(tree.root(), Vec::new())];
    let (mut paths, mut nodes) = (BTreeMap::new(), BTreeMap::new());
    let mut free = DATA;
    for Spec { dir, name, also, attrs, kind } in specs {
        let (parent, prefix) = dir.get(&directories).clone();
        if paths.contains_key(&join(&prefix, &name)) || (prefix.is_empty() && name == b"lost+found")
        {
            continue;
        }
        let content = match kind {
            KindSpec::File(pieces, cut) => file(&pieces, cut, &mut free),
            KindSpec::Other(content) => content,
        };
        let node = tree.add_inode(attrs.clone(), content.clone()).unwrap();
        tree.link(parent, &name, node).unwrap();
        paths.insert(join(&prefix, &name), node);
        if content == Content::Directory {
            directories.push((node, join(&prefix, &name)));
        } else {
            for (dir, name) in also {
                let (parent, prefix) = dir.get(&directories);
                let path = join(prefix, &name);
                let linked = tree.link(*parent, &name, node);
                assert_eq!(linked.is_err(), paths.contains_key(&path), "{linked:?}");
                if linked.is_ok() {
                    paths.insert(path, node);
                }
            }
        }
        nodes.insert(node.inode(), (attrs, content));
    }
    assert!(free < BLOCKS);
    Model { tree, paths, nodes }
}

fn join(prefix: &[u8], name: &[u8]) -> Vec<u8> {
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

fn file(pieces: &[(u64, u64, u64)], cut: u64, free: &mut u64) -> Content {
    let (mut logical, mut extents) = (0, Vec::new());
    for &(hole, len, skip) in pieces {
        if *free + skip + len >= BLOCKS {
            break;
        }
        logical += hole;
        *free += skip;
        extents.push(FileExtent { logical, block: *free, len });
        logical += len;
        *free += len;
    }
    Content::File { size: (logical * 4096).saturating_sub(cut), extents }
}

/// The bytes that a test writes into data block `block`.
pub(crate) fn data_of(block: u64) -> [u8; 4096] {
    let mut bytes = [0; 4096];
    for (i, chunk) in bytes.chunks_exact_mut(8).enumerate() {
        chunk.copy_from_slice(&(block << 16 | i as u64).to_le_bytes());
    }
    bytes
}

/// A file's bytes, from its extents and [`data_of`].
pub(crate) fn bytes_of(size: u64, extents: &[FileExtent]) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(size).unwrap()];
    for e in extents {
        for i in 0..e.len {
            let at = usize::try_from((e.logical + i) * 4096).unwrap();
            let there = bytes.len().saturating_sub(at).min(4096);
            if there > 0 {
                bytes[at..at + there].copy_from_slice(&data_of(e.block + i)[..there]);
            }
        }
    }
    bytes
}
