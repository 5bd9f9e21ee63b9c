//! The blocks of a directory: one block with a list of names, or a hash tree over many.
//!
//! ```text
//! list    block 0: "." ".." name … │ sum
//! hashed  block 0: "." ".." hash ─► block, …       up to 507 entries
//!                              └──► [hash ─► block, …   up to 510 entries] ─► name … │ sum
//! ```
//!
//! Leaves hold names in the order of their hashes and are packed; the index stands behind them.
//! Source: `fs/ext4/namei.c`.

use crate::checksum::{self, Sum};
use crate::dirhash::{self, HALF_MD4};
use crate::layout::{
    BLOCK, Block, DIRENT_HEADER, DIRENT_TAIL, DIRENT_TAIL_TYPE, dirent_len, dirent_type, index,
    lo16, lo32, mode,
};
use crate::tree::{Entry, NodeId, Tree};
use std::ops::Range;

/// Bytes for names in a block.
const ROOM: usize = BLOCK - DIRENT_TAIL;
/// Bytes of "." and "..".
const DOTS: usize = dirent_len(1) + dirent_len(2);
/// Where the index begins in the root and in a node below it, and how many entries each holds
/// (`dx_root_limit`, `dx_node_limit`; one fewer for the checksum).
const ROOT_LIST: usize = DOTS + 8;
const NODE_LIST: usize = DIRENT_HEADER;
const ROOT_LIMIT: usize = (BLOCK - ROOT_LIST) / 8 - 1;
const NODE_LIMIT: usize = (BLOCK - NODE_LIST) / 8 - 1;

/// A directory whose entries are in the order in which they are written.
pub(crate) struct Directory<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) id: NodeId,
    /// Numbers of [`crate::names::Names::entries`].
    pub(crate) entries: &'a [u32],
    pub(crate) hash_seed: [u32; 4],
}

/// Brings the entries of a directory into the order in which they are written.
pub(crate) fn arrange(tree: &Tree, entries: &mut [u32], hash_seed: [u32; 4]) {
    let names = &tree.names;
    if is_hashed(tree, entries) {
        entries.sort_by_cached_key(|&e| {
            dirhash::hash(names.name(&names.entries[index(e.into())]), hash_seed)
        });
    }
}

/// Whether the names need more than one block.
fn is_hashed(tree: &Tree, entries: &[u32]) -> bool {
    let mut size = DOTS;
    !entries.iter().all(|&e| {
        size += dirent_len(tree.names.name(&tree.names.entries[index(e.into())]).len());
        size <= ROOM
    })
}

impl Directory<'_> {
    pub(crate) fn is_hashed(&self) -> bool {
        is_hashed(self.tree, self.entries)
    }

    /// How many blocks it takes, or `None` if a hash tree of two levels cannot hold it.
    pub(crate) fn blocks(&self) -> Option<u64> {
        if !self.is_hashed() {
            return Some(1);
        }
        let leaves = self.leaves().count();
        let nodes = if leaves > ROOT_LIMIT { leaves.div_ceil(NODE_LIMIT) } else { 0 };
        (nodes <= ROOT_LIMIT).then_some((1 + leaves + nodes) as u64)
    }

    /// Hands all blocks to `sink`, in order.
    pub(crate) fn write<E>(
        &self,
        seed: Sum,
        sink: &mut impl FnMut(&Block) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.is_hashed() {
            let mut list = List::new();
            self.dots(&mut list);
            self.fill(&mut list, self.entries);
            return sink(&list.finish(seed));
        }
        let index = self.index();
        let (root, nodes) = plan(&index);
        sink(&self.root(seed, root, nodes.len()))?;
        for leaf in self.leaves() {
            let mut list = List::new();
            self.fill(&mut list, &self.entries[leaf]);
            sink(&list.finish(seed))?;
        }
        for node in nodes {
            sink(&node_block(seed, node))?;
        }
        Ok(())
    }

    fn entry(&self, place: usize) -> &Entry {
        &self.tree.names.entries[index(self.entries[place].into())]
    }

    fn hash(&self, place: usize) -> u32 {
        dirhash::hash(self.tree.names.name(self.entry(place)), self.hash_seed)
    }

    fn dots(&self, list: &mut List) {
        let parent = self.tree.nodes[self.id.index()].parent;
        list.push(b".", self.id.inode(), mode::DIRECTORY);
        list.push(b"..", parent.inode(), mode::DIRECTORY);
    }

    fn fill(&self, list: &mut List, entries: &[u32]) {
        for &e in entries {
            let entry = &self.tree.names.entries[index(e.into())];
            let child = &self.tree.nodes[entry.child.index()];
            list.push(self.tree.names.name(entry), entry.child.inode(), child.mode);
        }
    }

    /// The entries of each leaf.
    fn leaves(&self) -> impl Iterator<Item = Range<usize>> {
        let mut start = 0;
        std::iter::from_fn(move || {
            let mut size = 0;
            let mut end = start;
            while end < self.entries.len() {
                size += dirent_len(self.tree.names.name(self.entry(end)).len());
                if size > ROOM {
                    break;
                }
                end += 1;
            }
            let leaf = start..end;
            start = end;
            (!leaf.is_empty()).then_some(leaf)
        })
    }

    /// The lowest hash of each leaf, odd if the leaf before it has names of the same hash.
    fn index(&self) -> Vec<Link> {
        let mut links = Vec::new();
        for (leaf, block) in self.leaves().zip(1..) {
            let hash = match leaf.start {
                0 => 0,
                start => self.hash(start) | u32::from(self.hash(start - 1) == self.hash(start)),
            };
            links.push(Link { hash, block });
        }
        links
    }

    fn root(&self, seed: Sum, links: Vec<Link>, nodes: usize) -> Block {
        let mut list = List::new();
        self.dots(&mut list);
        let mut block = list.block;
        set_record_len(&mut block, dirent_len(1), BLOCK - dirent_len(1));
        // `struct dx_root_info`: zero u32, hash, length of this structure, levels of nodes, 0.
        block[DOTS + 4..DOTS + 7].copy_from_slice(&[HALF_MD4, 8, u8::from(nodes > 0)]);
        write_links(&mut block, ROOT_LIST, ROOT_LIMIT, &links, seed);
        block
    }
}

/// An index entry (`struct dx_entry`): where names with this hash and above are.
#[derive(Clone, Copy)]
struct Link {
    hash: u32,
    block: u32,
}

/// What stands in the root, and in each node below it.
fn plan(leaves: &[Link]) -> (Vec<Link>, Vec<&[Link]>) {
    if leaves.len() <= ROOT_LIMIT {
        return (leaves.to_vec(), Vec::new());
    }
    let nodes: Vec<_> = leaves.chunks(NODE_LIMIT).collect();
    let first = 1 + lo32(leaves.len() as u64).get();
    let root = nodes.iter().zip(first..).map(|(n, block)| Link { hash: n[0].hash, block });
    (root.collect(), nodes)
}

fn node_block(seed: Sum, links: &[Link]) -> Block {
    let mut block = [0; BLOCK];
    set_record_len(&mut block, 0, BLOCK);
    write_links(&mut block, NODE_LIST, NODE_LIMIT, links, seed);
    block
}

/// Writes `struct dx_countlimit` (over the first entry's hash, which counts as 0), the entries
/// and the checksum.
fn write_links(block: &mut Block, list: usize, limit: usize, links: &[Link], seed: Sum) {
    for (slot, link) in block[list..].chunks_exact_mut(8).zip(links) {
        slot[..4].copy_from_slice(&link.hash.to_le_bytes());
        slot[4..].copy_from_slice(&link.block.to_le_bytes());
    }
    block[list..list + 2].copy_from_slice(&lo16(lo32(limit as u64).get()).to_bytes());
    block[list + 2..list + 4].copy_from_slice(&lo16(lo32(links.len() as u64).get()).to_bytes());
    let sum = checksum::hash_tree_block(seed, block, list, links.len(), limit);
    block[list + 8 * limit + 4..][..4].copy_from_slice(&sum.to_le_bytes());
}

fn set_record_len(block: &mut Block, entry: usize, len: usize) {
    block[entry + 4..entry + 6].copy_from_slice(&lo16(lo32(len as u64).get()).to_bytes());
}

/// A block of names.
struct List {
    block: Block,
    /// The last entry, and where the next one goes.
    last: usize,
    next: usize,
}

impl List {
    const fn new() -> Self {
        Self { block: [0; BLOCK], last: 0, next: 0 }
    }

    fn push(&mut self, name: &[u8], inode: u32, mode: u16) {
        let len = dirent_len(name.len());
        let entry = &mut self.block[self.next..self.next + len];
        entry[..4].copy_from_slice(&inode.to_le_bytes());
        entry[6] = lo32(name.len() as u64).get().to_le_bytes()[0];
        entry[7] = dirent_type(mode);
        entry[DIRENT_HEADER..][..name.len()].copy_from_slice(name);
        set_record_len(&mut self.block, self.next, len);
        (self.last, self.next) = (self.next, self.next + len);
    }

    /// Stretches the last entry over the free space and adds the checksum.
    fn finish(mut self, seed: Sum) -> Block {
        set_record_len(&mut self.block, self.last, ROOM - self.last);
        set_record_len(&mut self.block, ROOM, DIRENT_TAIL);
        self.block[ROOM + 7] = DIRENT_TAIL_TYPE;
        let sum = checksum::directory_block(seed, &self.block);
        self.block[ROOM + 8..].copy_from_slice(&sum.to_le_bytes());
        self.block
    }
}
