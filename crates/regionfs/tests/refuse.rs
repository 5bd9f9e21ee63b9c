//! What cannot be composed is refused, with the reason; nothing is written.

mod common;

use common::{attributes, geometry, tree};
use regionfs::{
    ComposeError, Content, FileExtent, GeometryError, NodeId, Tree, TreeError, Xattr, XattrError,
    compose,
};

fn add(tree: &mut Tree, name: &str, content: Content) -> NodeId {
    let node = tree.add_inode(attributes(0o600), content).unwrap();
    tree.link(tree.root(), name.as_bytes(), node).unwrap();
    node
}

fn file(block: u64, len: u64) -> Content {
    Content::File { size: len * 4096, extents: vec![FileExtent { logical: 0, block, len }] }
}

#[test]
fn names_that_no_directory_can_hold() {
    let mut t = tree();
    let (root, fifo) = (t.root(), add(&mut tree(), "x", Content::Fifo));
    let node = add(&mut t, "x", Content::Fifo);
    assert_eq!(node, fifo);
    for name in [&b""[..], b".", b"..", b"a/b", b"a\0b", &[b'n'; 256]] {
        assert!(matches!(t.link(root, name, node), Err(TreeError::BadName(_))), "{name:?}");
    }
    assert!(matches!(t.link(root, b"x", node), Err(TreeError::Duplicate(_))));
    assert!(matches!(t.link(root, b"lost+found", node), Err(TreeError::Duplicate(_))));
    assert!(matches!(t.link(node, b"in", node), Err(TreeError::NotADirectory { .. })));
    t.link(root, &[b'n'; 255], node).unwrap();
}

#[test]
fn directories_that_are_no_tree() {
    let mut t = tree();
    let root = t.root();
    let outer = add(&mut t, "outer", Content::Directory);
    assert!(matches!(t.link(root, b"again", outer), Err(TreeError::SecondParent(_))));
    assert!(matches!(t.link(outer, b"root", root), Err(TreeError::SecondParent(_))));
    let a = t.add_inode(attributes(0o700), Content::Directory).unwrap();
    let b = t.add_inode(attributes(0o700), Content::Directory).unwrap();
    t.link(a, b"b", b).unwrap();
    assert!(matches!(t.link(b, b"a", a), Err(TreeError::Loop(_))));
    assert!(matches!(t.link(a, b"a", a), Err(TreeError::Loop(_))));
    let unnamed = compose(t, geometry(1024)).unwrap_err();
    assert_eq!(unnamed, ComposeError::Unnamed(a.inode()));
}

#[test]
fn more_names_than_ext4_counts() {
    let mut t = tree();
    let node = t.add_inode(attributes(0o600), Content::Fifo).unwrap();
    for i in 0..65_000 {
        t.link(t.root(), format!("{i}").as_bytes(), node).unwrap();
    }
    assert!(matches!(t.link(t.root(), b"one more", node), Err(TreeError::TooManyLinks(_))));
}

#[test]
fn extents_that_are_no_file() {
    let extent = |logical, block, len| FileExtent { logical, block, len };
    let cases = [
        vec![extent(0, 5000, 0)],
        vec![extent(1, 5000, 1), extent(0, 6000, 1)],
        vec![extent(0, 5000, 2), extent(1, 6000, 1)],
        vec![extent(9, 5000, 2)],
        vec![extent(u64::MAX, 5000, 2)],
        vec![extent(0, (1 << 48) - 1, 2)],
        vec![extent(0, u64::MAX, 2)],
    ];
    for extents in cases {
        let content = Content::File { size: 10 * 4096, extents };
        let refused = tree().add_inode(attributes(0o600), content.clone());
        assert!(matches!(refused, Err(TreeError::BadExtent { .. })), "{content:?}");
    }
}

#[test]
fn targets_and_devices_that_linux_does_not_have() {
    for target in [Vec::new(), vec![b'x'; 4096], b"a\0b".to_vec()] {
        let refused = tree().add_inode(attributes(0), Content::Symlink(target));
        assert!(matches!(refused, Err(TreeError::BadTarget(_))));
    }
    for (major, minor) in [(4096, 0), (0, 1 << 20)] {
        let refused = tree().add_inode(attributes(0), Content::CharDevice { major, minor });
        assert!(matches!(refused, Err(TreeError::BadDevice { .. })));
    }
}

#[test]
fn extended_attributes_without_a_place() {
    let refuse = |pairs: &[(&str, usize)]| {
        let mut attrs = attributes(0o600);
        for &(name, size) in pairs {
            attrs.xattrs.push(Xattr { name: name.into(), value: vec![1; size] });
        }
        match tree().add_inode(attrs, Content::Fifo) {
            Err(TreeError::Xattr(error)) => error,
            other => panic!("{pairs:?}: {other:?}"),
        }
    };
    let large = refuse(&[("user.large", 4100)]);
    assert_eq!(large, XattrError::NoRoom { name: "user.large".to_owned(), size: 4100 });
    assert!(large.to_string().contains("user.large") && large.to_string().contains("4100"));
    assert!(matches!(refuse(&[("user.a", 3000), ("user.b", 3000)]), XattrError::NoRoom { .. }));
    assert!(matches!(refuse(&[("user.a", 1), ("user.a", 1)]), XattrError::Duplicate(_)));
    for name in ["user.", "colour", "system.richacl", "system.posix_acl_access.x"] {
        assert!(matches!(refuse(&[(name, 1)]), XattrError::BadName(_)), "{name}");
    }
    assert!(matches!(refuse(&[("system.posix_acl_access", 7)]), XattrError::BadAcl(_)));
}

#[test]
fn data_where_they_cannot_be() {
    let refuse = |contents: Vec<Content>, bad: Vec<std::ops::Range<u64>>| {
        let mut t = tree();
        for (i, content) in contents.into_iter().enumerate() {
            add(&mut t, &format!("file-{i}"), content);
        }
        let mut g = geometry(2048);
        g.bad = bad;
        compose(t, g).unwrap_err()
    };
    let in_head = refuse(vec![file(3, 1)], vec![]);
    assert!(matches!(in_head, ComposeError::InHead { block: 3, .. }), "{in_head}");
    assert!(in_head.to_string().contains("/file-0"), "{in_head}");
    let past_end = refuse(vec![file(2040, 9)], vec![]);
    assert!(matches!(past_end, ComposeError::PastEnd { end: 2049, blocks: 2048, .. }));
    let overlap = refuse(vec![file(1000, 10), file(500, 20), file(1009, 1)], vec![]);
    assert!(matches!(overlap, ComposeError::Overlap { block: 1009, .. }), "{overlap}");
    assert!(overlap.to_string().contains("/file-2"), "{overlap}");
    let bad = [512..514, 1024..1026];
    let overlap = refuse(vec![file(1000, 30)], bad.to_vec());
    assert!(overlap.to_string().contains("bad blocks"), "{overlap}");
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    for range in [514..512, 600..600, 0..u64::MAX] {
        assert_eq!(refuse(vec![], [512..514, range].to_vec()), ComposeError::BadBlocks);
    }
}

#[test]
fn regions_of_the_wrong_size() {
    let mut t = tree();
    add(&mut t, "bytes", Content::Bytes(vec![1; 5 << 20]));
    let small = compose(t, geometry(1024)).unwrap_err();
    assert!(matches!(small, ComposeError::NoRoom { blocks: 1024, .. }), "{small}");
    let large = compose(tree(), geometry(1 << 40)).unwrap_err();
    assert!(matches!(large, ComposeError::Geometry(GeometryError::TooLarge { .. })), "{large}");
    let mut t = tree();
    (0..40_000).for_each(|i| _ = add(&mut t, &format!("{i}"), Content::Fifo));
    let many = compose(t.clone(), geometry(1024)).unwrap_err();
    let ComposeError::Geometry(GeometryError::TooManyInodes { needed, .. }) = many else {
        panic!("{many}");
    };
    compose(t, geometry(needed)).unwrap();
}
