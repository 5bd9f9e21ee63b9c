//! Extended attributes: as many as fit in the inode, the rest in one block.
//!
//! ```text
//! inode   magic u32 │ entry, name │ … │ 0 u32 │ free │ … values      96 bytes, offsets from +4
//! block   header, 32 bytes │ entry, name │ … │ 0 u32 │ free │ … values     4096, offsets from 0
//! entry   name length u8, namespace u8, value offset u16, 0 u32, value length u32, hash u32
//! ```
//!
//! Names and values are padded to 4 bytes; in a block, entries are sorted by namespace, then
//! length of name, then name. Source: `fs/ext4/xattr.h`, `fs/ext4/xattr.c`.

use crate::acl;
use crate::layout::{BLOCK, INODE_XATTRS, hi32, lo16, lo32};

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Xattr {
    /// The full name, such as `user.colour`.
    pub name: Vec<u8>,
    /// The value; of an ACL in the form that `getxattr(2)` gives.
    pub value: Vec<u8>,
}

/// Why an extended attribute cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XattrError {
    /// Unknown namespace, or a name that is empty or too long.
    #[error(
        "extended attribute {0:?}: expected a name of 1 to 255 bytes in user, trusted, security, \
         or a POSIX ACL"
    )]
    BadName(String),
    /// The same name again.
    #[error("extended attribute {0:?} is there twice")]
    Duplicate(String),
    /// An ACL that is none.
    #[error("extended attribute {0:?} is no POSIX ACL of version 2")]
    BadAcl(String),
    /// No room.
    #[error(
        "extended attribute {name:?} of {size} bytes does not fit: one inode's attributes share \
         96 bytes in it and one block of 4096 bytes"
    )]
    NoRoom {
        /// Its name.
        name: String,
        /// Length of its value.
        size: usize,
    },
}

/// Namespaces by their numbers on disk. The ACLs have a number and no name of their own.
const NAMESPACES: [(u8, &[u8]); 5] = [
    (1, b"user."),
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (4, b"trusted."),
    (6, b"security."),
];
pub(crate) const fn is_acl(namespace: u8) -> bool {
    matches!(namespace, 2 | 3)
}

pub(crate) const MAGIC: u32 = 0xea02_0000;
/// Bytes of an entry before its name.
pub(crate) const ENTRY: usize = 16;
/// Bytes of a block's header.
pub(crate) const BLOCK_HEADER: usize = 32;
/// Bytes of the magic number that begins an inode's attributes.
pub(crate) const INODE_HEADER: usize = 4;
const END: usize = 4;

/// All attributes of one inode as they stand on disk, but for the block's checksum.
#[derive(Clone, Debug)]
pub(crate) struct StoredXattrs {
    pub(crate) inode: Option<Box<[u8; INODE_XATTRS]>>,
    pub(crate) block: Option<Box<[u8; BLOCK]>>,
}

struct Encoded<'a> {
    namespace: u8,
    name: &'a [u8],
    value: Vec<u8>,
}

impl Encoded<'_> {
    fn size(&self) -> usize {
        ENTRY + self.name.len().next_multiple_of(4) + self.value.len().next_multiple_of(4)
    }

    /// `ext4_xattr_hash_entry`: the kernel checks nothing by it, `e2fsck` does.
    fn hash(&self) -> u32 {
        let hash =
            self.name.iter().fold(0_u32, |hash, &byte| hash.rotate_left(5) ^ u32::from(byte));
        self.value.chunks(4).fold(hash, |hash, chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            hash.rotate_left(16) ^ u32::from_le_bytes(word)
        })
    }
}

impl StoredXattrs {
    /// `None` if there are no attributes.
    pub(crate) fn encode(xattrs: &[Xattr]) -> Result<Option<Self>, XattrError> {
        if xattrs.is_empty() {
            return Ok(None);
        }
        let mut encoded = xattrs.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
        encoded.sort_by(|a, b| {
            let key = |x: &Encoded<'_>| (x.namespace, x.name.len());
            key(a).cmp(&key(b)).then_with(|| a.name.cmp(b.name))
        });
        for pair in encoded.windows(2) {
            if pair[0].namespace == pair[1].namespace && pair[0].name == pair[1].name {
                return Err(XattrError::Duplicate(shown(&pair[0])));
            }
        }
        let (mut inode_room, mut block_room) =
            (INODE_XATTRS - INODE_HEADER - END, BLOCK - BLOCK_HEADER - END);
        let (mut inode, mut block) = (Vec::new(), Vec::new());
        for xattr in encoded {
            if xattr.size() <= inode_room {
                inode_room -= xattr.size();
                inode.push(xattr);
            } else if xattr.size() <= block_room {
                block_room -= xattr.size();
                block.push(xattr);
            } else {
                return Err(XattrError::NoRoom { name: shown(&xattr), size: xattr.value.len() });
            }
        }
        Ok(Some(Self { inode: in_inode(&inode), block: in_block(&block) }))
    }
}

fn encode(xattr: &Xattr) -> Result<Encoded<'_>, XattrError> {
    let lossy = || String::from_utf8_lossy(&xattr.name).into_owned();
    for (namespace, prefix) in NAMESPACES {
        let Some(name) = xattr.name.strip_prefix(prefix) else { continue };
        if is_acl(namespace) && name.is_empty() {
            let value = acl::to_disk(&xattr.value).ok_or_else(|| XattrError::BadAcl(lossy()))?;
            return Ok(Encoded { namespace, name, value });
        }
        if !is_acl(namespace) && (1..=255).contains(&name.len()) && !name.contains(&0) {
            return Ok(Encoded { namespace, name, value: xattr.value.clone() });
        }
    }
    Err(XattrError::BadName(lossy()))
}

fn shown(xattr: &Encoded<'_>) -> String {
    String::from_utf8_lossy(&full_name(xattr.namespace, xattr.name).unwrap_or_default())
        .into_owned()
}

fn in_inode(xattrs: &[Encoded<'_>]) -> Option<Box<[u8; INODE_XATTRS]>> {
    if xattrs.is_empty() {
        return None;
    }
    let mut area = Box::new([0; INODE_XATTRS]);
    area[..INODE_HEADER].copy_from_slice(&MAGIC.to_le_bytes());
    // Hashes in an inode are zero, as the kernel writes them (`ext4_xattr_set_entry`).
    fill(&mut area[INODE_HEADER..], 0, xattrs, |_| 0);
    Some(area)
}

fn in_block(xattrs: &[Encoded<'_>]) -> Option<Box<[u8; BLOCK]>> {
    if xattrs.is_empty() {
        return None;
    }
    let mut block = Box::new([0; BLOCK]);
    let hashes = xattrs.iter().map(Encoded::hash);
    // `ext4_xattr_rehash`: an entry without a hash makes the block unfit for sharing.
    let hash = hashes.clone().fold(0_u32, |hash, entry| hash.rotate_left(16) ^ entry);
    let hash = if hashes.clone().any(|entry| entry == 0) { 0 } else { hash };
    let (references, blocks) = (1_u32, 1_u32);
    for (field, value) in block.chunks_exact_mut(4).zip([MAGIC, references, blocks, hash]) {
        field.copy_from_slice(&value.to_le_bytes());
    }
    fill(&mut block[..], BLOCK_HEADER, xattrs, |xattr| xattr.hash());
    Some(block)
}

/// Writes entries from `at` on and their values from the end down; offsets count from the start
/// of `area`, which has room for them.
fn fill(
    area: &mut [u8],
    mut at: usize,
    xattrs: &[Encoded<'_>],
    hash: impl Fn(&Encoded<'_>) -> u32,
) {
    let mut values = area.len();
    for xattr in xattrs {
        let offset = if xattr.value.is_empty() {
            0
        } else {
            values -= xattr.value.len().next_multiple_of(4);
            area[values..][..xattr.value.len()].copy_from_slice(&xattr.value);
            values
        };
        // A name has at most 255 bytes and an area at most a block.
        area[at] = lo32(xattr.name.len() as u64).get().to_le_bytes()[0];
        area[at + 1] = xattr.namespace;
        area[at + 2..at + 4].copy_from_slice(&lo16(lo32(offset as u64).get()).to_bytes());
        area[at + 8..at + 12].copy_from_slice(&lo32(xattr.value.len() as u64).to_bytes());
        area[at + 12..at + 16].copy_from_slice(&hash(xattr).to_le_bytes());
        area[at + ENTRY..][..xattr.name.len()].copy_from_slice(xattr.name);
        at += ENTRY + xattr.name.len().next_multiple_of(4);
    }
    debug_assert!(at + END <= values && hi32(at as u64).get() == 0);
}

/// The full name of an attribute, or `None` for a namespace that we do not know.
pub(crate) fn full_name(namespace: u8, name: &[u8]) -> Option<Vec<u8>> {
    let (_, prefix) = NAMESPACES.iter().find(|(number, _)| *number == namespace)?;
    if is_acl(namespace) && !name.is_empty() {
        return None;
    }
    Some([prefix, name].concat())
}
