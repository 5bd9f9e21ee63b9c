//! Forging: a small composed image, ways to change it, and all checksums made right again.

use crate::checksum::{self, Sum};
use crate::compose::{RegionImage, compose};
use crate::extents::{FileExtent, tree_blocks};
use crate::geometry::Geometry;
use crate::layout::{
    BLOCK, Block, DESCRIPTOR, DIRENT_TAIL, EXTENT_TAIL, INODE, RawDescriptor, RawInode,
    RawSuperblock, SUPERBLOCK_AT, flag, hi16, index, lo16, lo32,
};
use crate::time::Timestamp;
use crate::tree::{Attributes, Content, NodeId, Tree};
use crate::xattr::Xattr;
use proptest::prelude::*;
use std::sync::LazyLock;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, IntoBytes};

pub(super) const BLOCKS: u64 = 4096;

pub(super) static IMAGE: LazyLock<(RegionImage, Vec<u8>)> = LazyLock::new(|| {
    let mut tree = Tree::new(Attributes::default()).unwrap();
    let mut parent = tree.root();
    let extents = |count: u64| {
        (0..count).map(|i| FileExtent { logical: 2 * i, block: 1000 + 2 * i, len: 1 }).collect()
    };
    for i in 0..400 {
        let content = match i {
            0..3 => Content::Directory,
            3 => Content::File { size: 1 << 30, extents: extents(1400) },
            4 => Content::Symlink(vec![b's'; 100]),
            5 => Content::Bytes(vec![b'b'; 5000]),
            _ => Content::Socket,
        };
        let value = vec![7; if i == 6 { 1000 } else { 10 }];
        let xattrs = vec![Xattr { name: b"user.fuzz".to_vec(), value }];
        let node = tree.add_inode(Attributes { xattrs, ..Default::default() }, content).unwrap();
        tree.link(parent, format!("{i:040}").as_bytes(), node).unwrap();
        if i < 3 {
            parent = node;
        }
    }
    let image = compose(tree, geometry()).unwrap();
    let mut head = Vec::new();
    image
        .write_metadata(&mut |_, block| {
            head.extend_from_slice(block);
            Ok(())
        })
        .unwrap();
    (image, head)
});

pub(super) fn geometry() -> Geometry {
    Geometry {
        blocks: BLOCKS,
        uuid: uuid::Uuid::from_u128(77),
        created: Timestamp::default(),
        bad: vec![4000..4002, 4010..4012],
        journal_blocks: 0,
        free_inodes: 0,
        boot_area: [0; 1024],
    }
}

fn block_of(head: &mut [u8], number: u64) -> &mut Block {
    head[index(number) * BLOCK..].first_chunk_mut().unwrap()
}

/// Makes every checksum right again, where the composed image has one.
pub(super) fn reseal(image: &RegionImage, head: &mut [u8]) {
    let filesystem = Sum::of_filesystem(geometry().uuid.as_bytes());
    for number in 0..image.map.used_inodes {
        let at = index(image.map.inode_table(0)) * BLOCK + index(number) * INODE;
        let bytes: &mut [u8; INODE] = head[at..].first_chunk_mut().unwrap();
        if *bytes == [0; INODE] {
            continue;
        }
        let (mut raw, _) = RawInode::read_from_prefix(&bytes[..]).unwrap();
        let seed = filesystem.of_inode(lo32(number + 1).get(), raw.generation.get());
        let sum = checksum::inode(seed, bytes);
        (raw.checksum_lo, raw.checksum_hi) = (lo16(sum), hi16(sum));
        bytes[..size_of::<RawInode>()].copy_from_slice(raw.as_bytes());
    }
    for (id, node) in (0..).map(NodeId).zip(&image.tree.nodes) {
        let places = image.places(id);
        let at = index(image.map.inode_table(0)) * BLOCK + index(u64::from(id.inode()) - 1) * INODE;
        let (raw, _) = RawInode::read_from_prefix(&head[at..]).unwrap();
        let seed = filesystem.of_inode(id.inode(), raw.generation.get());
        if let Some(number) = places.xattrs {
            let block = block_of(head, number);
            let sum = checksum::xattr_block(filesystem, number, block);
            block[0x10..0x14].copy_from_slice(&sum.to_le_bytes());
        }
        for number in places.tree..places.tree + tree_blocks(places.runs.len() as u64) {
            let block = block_of(head, number);
            let sum = checksum::extent_block(seed, block);
            block[EXTENT_TAIL..].copy_from_slice(&sum.to_le_bytes());
        }
        if node.is_directory() {
            let runs = places.runs.iter().flat_map(|r| r.block..r.block + u64::from(r.len));
            runs.for_each(|number| reseal_directory(seed, raw.flags, block_of(head, number)));
        }
    }
    let (mut raw, _) = RawDescriptor::read_from_prefix(&head[BLOCK..]).unwrap();
    raw.checksum = checksum::descriptor(filesystem, 0, &raw);
    head[BLOCK..BLOCK + DESCRIPTOR].copy_from_slice(raw.as_bytes());
    let (mut raw, _) = RawSuperblock::read_from_prefix(&head[SUPERBLOCK_AT..]).unwrap();
    raw.checksum = U32::new(checksum::superblock(&raw));
    head[SUPERBLOCK_AT..2 * SUPERBLOCK_AT].copy_from_slice(raw.as_bytes());
}

fn reseal_directory(seed: Sum, flags: U32, block: &mut Block) {
    let number =
        |block: &Block, at: usize| usize::from(u16::from_le_bytes([block[at], block[at + 1]]));
    let list = match (flags.get() & flag::INDEX, number(block, 4), number(block, 16)) {
        (0, ..) => None,
        (_, BLOCK, _) => Some(8),
        (_, 12, 4084) => Some(32),
        _ => None,
    };
    let Some(list) = list else {
        let sum = checksum::directory_block(seed, block);
        block[BLOCK - DIRENT_TAIL + 8..].copy_from_slice(&sum.to_le_bytes());
        return;
    };
    let (limit, count) = (number(block, list), number(block, list + 2));
    if limit < (BLOCK - list) / 8 && count <= limit {
        let sum = checksum::hash_tree_block(seed, block, list, count, limit);
        block[list + 8 * limit + 4..][..4].copy_from_slice(&sum.to_le_bytes());
    }
}

/// Values that sit at the edges of fields.
pub(super) fn value() -> impl Strategy<Value = Vec<u8>> {
    let edges = prop::sample::select(vec![0_u32, 1, 2, 3, 11, 12, 340, 0x7fff, 0x8000, 0x8001]);
    prop_oneof![
        any::<u8>().prop_map(|b| vec![b]),
        any::<u16>().prop_map(|v| v.to_le_bytes().to_vec()),
        any::<u32>().prop_map(|v| v.to_le_bytes().to_vec()),
        edges.prop_map(|v| v.to_le_bytes()[..2].to_vec()),
        (0..4200_u32).prop_map(|v| v.to_le_bytes().to_vec()),
        Just(vec![0xff; 4]),
        Just(vec![0xff; 8]),
    ]
}

/// Mostly where structures are: starts of blocks, inodes in use, the superblock.
pub(super) fn place() -> impl Strategy<Value = usize> {
    let (image, head) = &*IMAGE;
    let (blocks, inodes) = (head.len() / BLOCK, index(image.map.used_inodes));
    let table = index(image.map.inode_table(0)) * BLOCK;
    prop_oneof![
        2 => 0..head.len(),
        4 => (0..blocks, 0_usize..80).prop_map(|(block, at)| block * BLOCK + at),
        4 => (0..inodes.min(20), 0_usize..INODE).prop_map(move |(i, at)| table + i * INODE + at),
        1 => SUPERBLOCK_AT..SUPERBLOCK_AT + 512,
        1 => BLOCK..BLOCK + DESCRIPTOR,
    ]
}
