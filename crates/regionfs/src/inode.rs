//! The inodes of a composed filesystem.
//!
//! ```text
//! 1 bad blocks │ 2 root │ 8 journal, if any │ others to 10 reserved, empty │ 11 lost+found │ 12 … the tree's, without a gap
//! ```

use crate::checksum::{self, Sum};
use crate::compose::{FAST_SYMLINK, RegionImage, new_blocks};
use crate::extents::{ExtentTree, FileExtent, Run, tree_blocks};
use crate::layout::{
    BAD_BLOCKS_INODE, BLOCK64, EXTRA_ISIZE, FIRST_INODE, INODE, INODE_XATTRS, JOURNAL_INODE,
    LINK_MAX, ROOT_INODE, RawInode, flag, hi16, hi32, lo16, lo32, mode, zeroed,
};
use crate::tree::{Body, Node, NodeId};
use std::borrow::Cow;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

/// Where the blocks of one inode are.
pub(crate) struct Places<'a> {
    pub(crate) xattrs: Option<u64>,
    pub(crate) runs: Cow<'a, [Run]>,
    /// Where the extent tree's blocks begin.
    pub(crate) tree: u64,
}

impl Places<'_> {
    pub(crate) fn extent_tree(&self) -> ExtentTree<'_> {
        ExtentTree { runs: &self.runs, base: self.tree }
    }

    /// All blocks that belong to the inode.
    fn blocks(&self) -> u64 {
        u64::from(self.xattrs.is_some())
            + tree_blocks(self.runs.len() as u64)
            + self.runs.iter().map(|run| u64::from(run.len)).sum::<u64>()
    }
}

impl RegionImage {
    pub(crate) fn places(&self, id: NodeId) -> Places<'_> {
        let node = self.node(id);
        let own = self.own[id.index()];
        let has_block = self.tree.stored_xattrs(node).is_some_and(|x| x.block.is_some());
        let content = own + u64::from(has_block);
        let seed = crate::compose::hash_seed(&self.geometry);
        // Laying out has refused directories without a size.
        let blocks = new_blocks(&self.tree, &self.by_directory, id, seed).unwrap_or_default();
        let runs = if let Body::File { .. } = node.body {
            Cow::Borrowed(self.tree.file_runs(node))
        } else {
            let mut runs = Vec::new();
            Run::push(&mut runs, 0, FileExtent { logical: 0, block: content, len: blocks });
            Cow::Owned(runs)
        };
        Places { xattrs: has_block.then_some(own), runs, tree: content + blocks }
    }

    pub(crate) fn bad_blocks_tree(&self) -> ExtentTree<'_> {
        ExtentTree { runs: &self.bad, base: self.map.end() }
    }

    /// The bytes of inode `number`, zero if it is not in use.
    pub(crate) fn inode(&self, filesystem: Sum, number: u64) -> [u8; INODE] {
        let Ok(number) = u32::try_from(number) else { return [0; INODE] };
        let (mut raw, xattrs) = match number {
            BAD_BLOCKS_INODE => (self.bad_blocks_inode(), None),
            ROOT_INODE => self.tree_inode(NodeId::of_inode(number)),
            JOURNAL_INODE if self.geometry.journal_blocks > 0 => (self.journal_inode(), None),
            FIRST_INODE.. if u64::from(number) <= self.map.used_inodes => {
                self.tree_inode(NodeId::of_inode(number))
            }
            _ => return [0; INODE],
        };
        raw.extra_isize = U16::new(EXTRA_ISIZE);
        let mut bytes = [0; INODE];
        let (fixed, rest) = bytes.split_at_mut(size_of::<RawInode>());
        if let Some(xattrs) = xattrs {
            rest.copy_from_slice(xattrs);
        }
        fixed.copy_from_slice(raw.as_bytes());
        let sum = checksum::inode(filesystem.of_inode(number, 0), &bytes);
        raw.checksum_lo = lo16(sum);
        raw.checksum_hi = hi16(sum);
        bytes[..size_of::<RawInode>()].copy_from_slice(raw.as_bytes());
        bytes
    }

    /// No mode, no links: only the blocks (`e2fsck` clears the inode if it finds more).
    fn bad_blocks_inode(&self) -> RawInode {
        let mut raw = self.own_inode();
        let blocks: u64 = self.bad.iter().map(|run| u64::from(run.len)).sum();
        set_size(&mut raw, blocks * BLOCK64);
        set_blocks(&mut raw, blocks + tree_blocks(self.bad.len() as u64));
        raw.flags = U32::new(flag::EXTENTS);
        raw.body = self.bad_blocks_tree().root();
        raw
    }

    /// As `mke2fs` makes it: a file of root's that has one link, but no name.
    fn journal_inode(&self) -> RawInode {
        let mut raw = self.own_inode();
        let (runs, blocks) = (self.journal(), self.geometry.journal_blocks);
        raw.mode = U16::new(mode::FILE | 0o600);
        raw.links = U16::new(1);
        set_size(&mut raw, blocks * BLOCK64);
        set_blocks(&mut raw, blocks + tree_blocks(runs.len() as u64));
        raw.flags = U32::new(flag::EXTENTS);
        raw.body = self.journal_tree(&runs).root();
        raw
    }

    /// An inode of the filesystem's own, as old as the filesystem.
    fn own_inode(&self) -> RawInode {
        let mut raw: RawInode = zeroed();
        let time = self.geometry.created.encode();
        (raw.atime, raw.mtime, raw.ctime) = (time.seconds, time.seconds, time.seconds);
        (raw.atime_extra, raw.mtime_extra, raw.ctime_extra) = (time.extra, time.extra, time.extra);
        raw
    }

    fn tree_inode(&self, id: NodeId) -> (RawInode, Option<&[u8; INODE_XATTRS]>) {
        let node = self.node(id);
        let places = self.places(id);
        let mut raw: RawInode = zeroed();
        set_attributes(&mut raw, node);
        set_blocks(&mut raw, places.blocks());
        if let Some(block) = places.xattrs {
            (raw.xattr_block_lo, raw.xattr_block_hi) = (lo32(block), lo16(hi32(block).get()));
        }
        let mapped: u64 = places.runs.iter().map(|run| u64::from(run.len)).sum();
        match node.body {
            Body::Device { major, minor } => set_device(&mut raw, major, minor),
            Body::Empty => {}
            Body::Symlink { start, len } if len <= FAST_SYMLINK => {
                set_size(&mut raw, len as u64);
                raw.body[..len].copy_from_slice(&self.tree.bytes[start..start + len]);
            }
            Body::File { size, .. } => set_mapped(&mut raw, size, &places),
            Body::Bytes { len, .. } | Body::Symlink { len, .. } => {
                set_mapped(&mut raw, len as u64, &places);
            }
            Body::Directory => {
                set_mapped(&mut raw, mapped * BLOCK64, &places);
                if self.directory(id).is_hashed() {
                    raw.flags = U32::new(raw.flags.get() | flag::INDEX);
                }
            }
        }
        let xattrs = self.tree.stored_xattrs(node).and_then(|stored| stored.inode.as_deref());
        (raw, xattrs)
    }
}

fn set_attributes(raw: &mut RawInode, node: &Node) {
    raw.mode = U16::new(node.mode);
    (raw.uid_lo, raw.uid_hi) = (lo16(node.uid), hi16(node.uid));
    (raw.gid_lo, raw.gid_hi) = (lo16(node.gid), hi16(node.gid));
    (raw.atime, raw.atime_extra) = (node.atime.seconds, node.atime.extra);
    (raw.mtime, raw.mtime_extra) = (node.mtime.seconds, node.mtime.extra);
    (raw.ctime, raw.ctime_extra) = (node.ctime.seconds, node.ctime.extra);
    (raw.crtime, raw.crtime_extra) = (node.crtime.seconds, node.crtime.extra);
    let links = if node.is_directory() { 2 + node.subdirectories } else { node.links };
    // `dir_nlink`: a directory with too many subdirectories stops counting.
    raw.links = if links > LINK_MAX { U16::new(1) } else { lo16(links) };
}

/// A size and the root of the extent tree that maps it.
fn set_mapped(raw: &mut RawInode, size: u64, places: &Places<'_>) {
    set_size(raw, size);
    raw.flags = U32::new(flag::EXTENTS);
    raw.body = places.extent_tree().root();
}

fn set_size(raw: &mut RawInode, size: u64) {
    (raw.size_lo, raw.size_hi) = (lo32(size), hi32(size));
}

/// In units of 512 bytes, 48 bits of them: a file's 2^32 blocks are 2^35 units.
fn set_blocks(raw: &mut RawInode, blocks: u64) {
    let units = blocks * (BLOCK64 / 512);
    (raw.blocks_lo, raw.blocks_hi) = (lo32(units), lo16(hi32(units).get()));
}

/// `include/linux/kdev_t.h` `old_encode_dev`, `new_encode_dev`.
fn set_device(raw: &mut RawInode, major: u32, minor: u32) {
    if major < 256 && minor < 256 {
        raw.body[..4].copy_from_slice(&(major << 8 | minor).to_le_bytes());
    } else {
        let number = minor & 0xff | major << 8 | (minor & !0xff) << 12;
        raw.body[4..8].copy_from_slice(&number.to_le_bytes());
    }
}
