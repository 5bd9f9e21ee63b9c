//! POSIX ACLs: the form that system calls speak, and the shorter one that ext4 stores.
//!
//! ```text
//! system call   version 2 (u32) │ tag u16, permissions u16, id u32 │ …
//! on disk       version 1 (u32) │ tag u16, permissions u16[, id u32 if the tag is a user or group] │ …
//! ```
//!
//! Sources: `include/uapi/linux/posix_acl_xattr.h`, `fs/ext4/acl.h`.

const USER: u16 = 0x02;
const GROUP: u16 = 0x08;
const TAGS: [u16; 6] = [0x01, USER, 0x04, GROUP, 0x10, 0x20];
const NO_ID: [u8; 4] = [0xff; 4];

/// The stored form of an ACL, or `None` if `xattr` is none.
pub(crate) fn to_disk(xattr: &[u8]) -> Option<Vec<u8>> {
    let entries = xattr.strip_prefix(&2_u32.to_le_bytes())?;
    let mut disk = 1_u32.to_le_bytes().to_vec();
    let (entries, []) = entries.as_chunks::<8>() else { return None };
    for entry in entries {
        disk.extend_from_slice(&entry[..4]);
        if has_id(entry)? {
            disk.extend_from_slice(&entry[4..]);
        }
    }
    Some(disk)
}

/// The system call's form of a stored ACL, or `None` if `disk` is none.
pub(crate) fn from_disk(disk: &[u8]) -> Option<Vec<u8>> {
    let mut rest = disk.strip_prefix(&1_u32.to_le_bytes())?;
    let mut xattr = 2_u32.to_le_bytes().to_vec();
    while let Some((entry, after)) = rest.split_first_chunk::<4>() {
        xattr.extend_from_slice(entry);
        rest = after;
        if has_id(entry)? {
            let (id, after) = rest.split_first_chunk::<4>()?;
            xattr.extend_from_slice(id);
            rest = after;
        } else {
            xattr.extend_from_slice(&NO_ID);
        }
    }
    rest.is_empty().then_some(xattr)
}

fn has_id(entry: &[u8]) -> Option<bool> {
    let tag = u16::from_le_bytes([entry[0], entry[1]]);
    TAGS.contains(&tag).then_some(tag == USER || tag == GROUP)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `getfacl`: user::rw-, user:1000:r--, group::r--, mask::r--, other::---.
    const XATTR: &[u8] = &[
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 0xe8, 3, 0, 0, 4, 0, 4, 0, 255,
        255, 255, 255, 0x10, 0, 4, 0, 255, 255, 255, 255, 0x20, 0, 0, 0, 255, 255, 255, 255,
    ];

    #[test]
    fn shortens_and_restores() {
        let disk = to_disk(XATTR).unwrap();
        assert_eq!(disk.len(), 4 + 4 * 4 + 8);
        assert_eq!(from_disk(&disk).unwrap(), XATTR);
    }

    #[test]
    fn refuses_what_is_no_acl() {
        assert_eq!(to_disk(&XATTR[..11]), None);
        assert_eq!(to_disk(&[1, 0, 0, 0]), None);
        assert_eq!(to_disk(&[2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(from_disk(&[1, 0, 0, 0, 2, 0, 4, 0, 1]), None);
    }
}
