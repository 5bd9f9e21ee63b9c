//! Extended attributes, from the inode and from its block.

use super::{Filesystem, Inode, Problem, ReadAt, ReadError};
use crate::acl;
use crate::checksum;
use crate::layout::{Block, index};
use crate::xattr::{BLOCK_HEADER, ENTRY, INODE_HEADER, MAGIC, Xattr, full_name, is_acl};

impl<R: ReadAt> Filesystem<R> {
    /// All extended attributes of an inode, sorted by name; ACLs as `getxattr(2)` gives them.
    ///
    /// # Errors
    /// Damaged attributes, or such of an unknown namespace.
    pub fn xattrs(&self, inode: &Inode) -> Result<Vec<Xattr>, ReadError> {
        let mut xattrs = Vec::new();
        if inode.rest.starts_with(&MAGIC.to_le_bytes()) {
            let place = format!("{}, extended attributes", inode.place());
            parse(&inode.rest[INODE_HEADER..], 0, &place, &mut xattrs)?;
        }
        if inode.xattr_block != 0 {
            let block = self.xattr_block(inode)?;
            parse(&block[..], BLOCK_HEADER, &block_place(inode.xattr_block), &mut xattrs)?;
        }
        xattrs.sort();
        Ok(xattrs)
    }

    fn xattr_block(&self, inode: &Inode) -> Result<Box<Block>, ReadError> {
        let number = inode.xattr_block;
        let block = self.block(number, || format!("{}, extended attributes", inode.place()))?;
        let sum = checksum::xattr_block(self.seed, number, &block);
        let found = word(&block[..], 0x10);
        if sum != found {
            return Err(Problem::checksum(block_place(number), sum, found).into());
        }
        let (magic, blocks) = (word(&block[..], 0), word(&block[..], 8));
        if magic != MAGIC || blocks != 1 {
            let found = format!("{magic:#x}, {blocks}");
            let expected = format!("magic {MAGIC:#x}, 1 block");
            return Err(Problem::new(block_place(number), expected, found).into());
        }
        Ok(block)
    }

    /// How many inodes say that they have this inode's attribute block.
    pub(super) fn xattr_block_references(&self, inode: &Inode) -> Result<u32, ReadError> {
        Ok(word(&self.xattr_block(inode)?[..], 4))
    }
}

pub(super) fn block_place(number: u64) -> String {
    format!("extended attribute block {number}")
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk::<4>);
    bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// Reads the entries from `at` on, whose offsets count from the start of `area`.
fn parse(
    area: &[u8],
    mut at: usize,
    place: &str,
    xattrs: &mut Vec<Xattr>,
) -> Result<(), ReadError> {
    let bad = |expected: &str, found: String| Problem::new(place, expected, found);
    loop {
        // Four zero bytes end the list; at the area's very end they may be missing.
        if word(area, at) == 0 {
            return Ok(());
        }
        let Some((head, rest)) = area[at..].split_first_chunk::<ENTRY>() else {
            return Err(bad("an entry or the end", format!("an entry cut at byte {at}")).into());
        };
        let (name_len, namespace) = (usize::from(head[0]), head[1]);
        let offset = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let (value_inode, len) = (word(head, 4), index(word(head, 8).into()));
        let name = rest
            .get(..name_len)
            .and_then(|name| full_name(namespace, name))
            .ok_or_else(|| bad("a name in a known namespace", format!("namespace {namespace}")))?;
        let value = match len {
            0 => Some(&[][..]),
            _ => offset.checked_add(len).and_then(|end| area.get(offset..end)),
        };
        let value = value.filter(|_| value_inode == 0).ok_or_else(|| {
            bad("a value within the area", format!("{len} bytes at {offset}, inode {value_inode}"))
        })?;
        let value = if is_acl(namespace) {
            acl::from_disk(value).ok_or_else(|| bad("an ACL of version 1", format!("{value:?}")))?
        } else {
            value.to_vec()
        };
        xattrs.push(Xattr { name, value });
        at += ENTRY + name_len.next_multiple_of(4);
    }
}
