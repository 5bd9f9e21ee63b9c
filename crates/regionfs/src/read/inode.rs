//! Inodes: attributes of a file, and which kind of file it is.

use super::{Filesystem, Problem, ReadAt, ReadError};
use crate::checksum::{self, Sum};
use crate::layout::{
    BLOCK64, EXTRA_ISIZE, INODE, LOGICAL_LIMIT, OLD_INODE, RawInode, flag, index, join16, join32,
    join48, mode,
};
use crate::time::{StoredTime, Timestamp};
use zerocopy::FromBytes;

/// What kind of file an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A FIFO.
    Fifo,
    /// A socket.
    Socket,
}

/// An inode with the right checksum and a known kind.
#[derive(Clone, Debug)]
pub struct Inode {
    /// Its number.
    pub number: u32,
    /// Its kind.
    pub kind: Kind,
    /// File type and permissions, as `st_mode`.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Names that lead here; 1 for a directory with too many to count.
    pub links: u16,
    /// Bytes that its blocks take, in units of 512.
    pub sectors: u64,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of data.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// Birth.
    pub crtime: Timestamp,
    pub(super) xattr_block: u64,
    /// When it was deleted; 0 in an inode in use.
    pub(super) dtime: u32,

    pub(super) flags: u32,
    pub(super) body: [u8; 60],
    /// All bytes after the fixed part.
    pub(super) rest: Vec<u8>,
    pub(super) seed: Sum,
}

/// `EXT4_ENCRYPT_FL`, `EXT4_EA_INODE_FL`, `EXT4_INLINE_DATA_FL`, `EXT4_CASEFOLD_FL`: features that
/// the superblock does not have.
const FOREIGN_FLAGS: u32 = 0x800 | 0x20_0000 | 0x1000_0000 | 0x4000_0000;

/// An inode's bytes after the first 128.
const EXTRA_MAX: u16 = 128;
const _: () = assert!(INODE - OLD_INODE == EXTRA_MAX as usize);

impl<R: ReadAt> Filesystem<R> {
    /// The inode of this number, which should be in use.
    ///
    /// # Errors
    /// A number that does not exist, a wrong checksum, an inode without a kind.
    pub fn inode(&self, number: u32) -> Result<Inode, ReadError> {
        let bytes = self.inode_bytes(number)?;
        self.check_inode(number, &bytes)
    }

    pub(super) fn inode_bytes(&self, number: u32) -> Result<[u8; INODE], ReadError> {
        let inodes = self.superblock.inodes;
        let Some(zero_based) = number.checked_sub(1).filter(|_| number <= inodes) else {
            let expected = format!("a number from 1 to {inodes}");
            return Err(Problem::new("an inode's number", expected, number).into());
        };
        let per_group = self.superblock.inodes_per_group;
        let group = self.group((zero_based / per_group).into())?;
        if !group.has_inodes {
            let found = format!("inode {number} in group {}, which has none", group.number);
            return Err(Problem::new("an inode's number", "an inode in use", found).into());
        }
        let offset = u64::from(zero_based % per_group) * INODE as u64;
        let mut bytes = [0; INODE];
        self.bytes(group.inode_table * BLOCK64 + offset, &mut bytes)?;
        Ok(bytes)
    }

    /// The one way from alleged bytes to a well-formed inode.
    pub(super) fn check_inode(&self, number: u32, bytes: &[u8; INODE]) -> Result<Inode, ReadError> {
        let (raw, seed) = self.check_inode_sum(number, bytes)?;
        Self::well_formed(number, &raw, seed, bytes)
    }

    /// As [`Self::check_inode`], for a `raw` whose checksum was right.
    pub(super) fn well_formed(
        number: u32,
        raw: &RawInode,
        seed: Sum,
        bytes: &[u8; INODE],
    ) -> Result<Inode, ReadError> {
        let place = || format!("inode {number}");
        let extra = raw.extra_isize.get();
        if !(EXTRA_ISIZE..=EXTRA_MAX).contains(&extra) || !extra.is_multiple_of(4) {
            return Err(Problem::new(place(), "32 to 128 extra bytes", extra).into());
        }
        let foreign = raw.flags.get() & FOREIGN_FLAGS;
        if foreign != 0 {
            let what = format!("flags {foreign:#x}");
            return Err(ReadError::Unsupported { place: place(), what });
        }
        let kind = kind(raw).ok_or_else(|| {
            let found = format!("mode {:#o}", raw.mode.get());
            Problem::new(place(), "a type of file", found)
        })?;
        let size = join32(raw.size_lo, raw.size_hi);
        if size > LOGICAL_LIMIT * BLOCK64 {
            let expected = format!("at most {} bytes", LOGICAL_LIMIT * BLOCK64);
            return Err(Problem::new(place(), expected, size).into());
        }
        if size > 0 && !matches!(kind, Kind::File | Kind::Directory | Kind::Symlink) {
            return Err(Problem::new(place(), "no size for a special file", size).into());
        }
        if kind != Kind::Directory && raw.flags.get() & flag::INDEX != 0 {
            return Err(Problem::new(place(), "no hash tree outside directories", "one").into());
        }
        if raw.fragment.get() != 0 {
            return Err(Problem::new(place(), "no fragment", raw.fragment.get()).into());
        }
        let time = |seconds, extra| StoredTime { seconds, extra }.decode();
        Ok(Inode {
            number,
            kind,
            mode: raw.mode.get(),
            uid: join16(raw.uid_lo, raw.uid_hi),
            gid: join16(raw.gid_lo, raw.gid_hi),
            size,
            links: raw.links.get(),
            sectors: join48(raw.blocks_lo, raw.blocks_hi),
            atime: time(raw.atime, raw.atime_extra),
            mtime: time(raw.mtime, raw.mtime_extra),
            ctime: time(raw.ctime, raw.ctime_extra),
            crtime: time(raw.crtime, raw.crtime_extra),
            xattr_block: join48(raw.xattr_block_lo, raw.xattr_block_hi),
            dtime: raw.dtime.get(),
            flags: raw.flags.get(),
            body: raw.body,
            rest: bytes[OLD_INODE + index(u64::from(extra))..].to_vec(),
            seed,
        })
    }

    pub(super) fn check_inode_sum(
        &self,
        number: u32,
        bytes: &[u8; INODE],
    ) -> Result<(RawInode, Sum), Problem> {
        let place = format!("inode {number}");
        let Ok((raw, _)) = RawInode::read_from_prefix(bytes) else {
            return Err(Problem::new(place, "256 bytes", "fewer"));
        };
        let seed = self.seed.of_inode(number, raw.generation.get());
        let sum = checksum::inode(seed, bytes);
        let found = join16(raw.checksum_lo, raw.checksum_hi);
        if sum != found {
            return Err(Problem::checksum(place, sum, found));
        }
        Ok((raw, seed))
    }
}

fn kind(raw: &RawInode) -> Option<Kind> {
    Some(match raw.mode.get() & mode::TYPE {
        mode::FILE => Kind::File,
        mode::DIRECTORY => Kind::Directory,
        mode::SYMLINK => Kind::Symlink,
        mode::CHAR_DEVICE => {
            let (major, minor) = device(&raw.body);
            Kind::CharDevice { major, minor }
        }
        mode::BLOCK_DEVICE => {
            let (major, minor) = device(&raw.body);
            Kind::BlockDevice { major, minor }
        }
        mode::FIFO => Kind::Fifo,
        mode::SOCKET => Kind::Socket,
        _ => return None,
    })
}

/// `include/linux/kdev_t.h` `old_decode_dev`, `new_decode_dev`.
fn device(body: &[u8; 60]) -> (u32, u32) {
    let (words, _) = body.as_chunks::<4>();
    match u32::from_le_bytes(words[0]) {
        0 => {
            let number = u32::from_le_bytes(words[1]);
            (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xf_ff00)
        }
        number => (number >> 8 & 0xff, number & 0xff),
    }
}

impl Inode {
    /// Whether it is a hashed directory.
    pub(super) const fn is_hashed(&self) -> bool {
        self.flags & flag::INDEX != 0
    }

    /// Whether its blocks are mapped by an extent tree.
    pub(super) const fn has_extents(&self) -> bool {
        self.flags & flag::EXTENTS != 0
    }

    pub(super) fn place(&self) -> String {
        format!("inode {}", self.number)
    }
}
