//! Hashed directories: the index leads to every leaf once, and every name stands where its hash
//! says. Without that, reading all names still works, but looking one up does not.

use crate::dirhash::{self, HALF_MD4};
use crate::layout::{BLOCK, BLOCK64, Block, index};
use crate::read::{FileData, Filesystem, Inode, Problem, ReadAt, ReadError};

/// An index entry: from which hash on the names are in `block`, a block of the directory.
#[derive(Clone, Copy)]
struct Link {
    /// Odd if names with the even hash below it are in the leaf before, too.
    hash: u32,
    block: u64,
}

/// Where an index begins in the root and in a node, as the directory's reader has checked.
const ROOT_LIST: usize = 32;
const NODE_LIST: usize = 8;

impl<R: ReadAt> Filesystem<R> {
    /// Checks the index of a hashed directory whose blocks are well-formed one by one.
    pub(super) fn check_hash_tree(&self, inode: &Inode) -> Result<(), ReadError> {
        let data = self.data(inode)?;
        let bad = |expected: &str, found: String| -> ReadError {
            Problem::new(format!("directory {}, hash tree", inode.number), expected, found).into()
        };
        let root = self.directory_block(inode, &data, 0)?;
        let &[z0, z1, z2, z3, version, info_len, levels, _] =
            root[24..].first_chunk().unwrap_or(&[0; 8]);
        if [z0, z1, z2, z3, version, info_len] != [0, 0, 0, 0, HALF_MD4, 8] || levels > 1 {
            let found = format!("hash {version}, {info_len} bytes, {levels} levels");
            return Err(bad("half MD4, 8 bytes, at most 1 level", found));
        }
        let mut leaves = links(&root, ROOT_LIST, 0);
        let mut blocks = vec![0];
        if levels == 1 {
            let nodes = std::mem::take(&mut leaves);
            for node in nodes {
                blocks.push(node.block);
                let block = self.directory_block(inode, &data, node.block)?;
                if block[4..6] != [0, 0x10] {
                    return Err(bad("an index node", format!("names in block {}", node.block)));
                }
                leaves.extend(links(&block, NODE_LIST, node.hash));
                if leaves.len() as u64 > inode.size / BLOCK64 {
                    return Err(bad("each block once", "more entries than blocks".to_owned()));
                }
            }
        }
        blocks.extend(leaves.iter().map(|leaf| leaf.block));
        blocks.sort_unstable();
        if !blocks.iter().copied().eq(0..inode.size / BLOCK64) {
            return Err(bad("each block once", "a block missing or twice".to_owned()));
        }
        for (i, leaf) in leaves.iter().enumerate() {
            // The last hash that may be in this leaf: that of the next one only if it is shared.
            let last = match leaves.get(i + 1) {
                Some(next) if next.hash <= leaf.hash => {
                    return Err(bad("ascending hashes", format!("{:#x}", next.hash)));
                }
                Some(next) if next.hash & 1 == 0 => next.hash - 1,
                Some(next) => next.hash,
                None => u32::MAX,
            };
            let block = self.directory_block(inode, &data, leaf.block)?;
            let (names, _) = self.parse_directory_block(inode, leaf.block, &block)?;
            for entry in names {
                let hash = dirhash::hash(&entry.name, self.superblock.hash_seed);
                if !(leaf.hash & !1..=last).contains(&hash) {
                    let expected = format!("hashes {:#x} to {last:#x}", leaf.hash & !1);
                    return Err(bad(&expected, format!("{hash:#x} in block {}", leaf.block)));
                }
            }
        }
        Ok(())
    }

    fn directory_block(
        &self,
        inode: &Inode,
        data: &FileData,
        logical: u64,
    ) -> Result<Box<Block>, ReadError> {
        let place = || format!("directory {}, hash tree", inode.number);
        match data.find(logical) {
            Ok((block, _)) => self.block(block, place),
            Err(_) => {
                let expected = format!("a block below {}", inode.size / BLOCK64);
                Err(Problem::new(place(), expected, logical).into())
            }
        }
    }
}

/// The entries of an index; the first one's hash is its parent's, its place holds the count.
fn links(block: &Block, list: usize, first_hash: u32) -> Vec<Link> {
    let word =
        |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    let count = index(u64::from(word(list) >> 16)).min((BLOCK - list) / 8);
    (0..count)
        .map(|i| {
            let at = list + 8 * i;
            // The upper 4 bits of a block number are reserved (`dx_get_block`).
            let block = u64::from(word(at + 4) & 0x0fff_ffff);
            Link { hash: if i == 0 { first_hash } else { word(at) }, block }
        })
        .collect()
}
