//! How ext4 lies on disk: every constant and limit that composing and reading share; the
//! structures are in `raw`.
//!
//! ```text
//! block 0            1 ..          ..                                        .. head_blocks
//! ┌──────┬──────────┬─────────────┬───────┬───────┬────────┬────────────────────────┬───────
//! │ boot │ super-   │ group       │ block │ inode │ inode  │ xattr blocks, new      │ data
//! │ area │ block    │ descriptors │ bitmaps       │ tables │ contents, extent trees │ in place
//! └──────┴──────────┴─────────────┴───────┴───────┴────────┴────────────────────────┴───────
//!  0      1024       4096 bytes     one block a group each
//! ```
//!
//! Sources, by the names used below: *super* `fs/ext4/ext4.h` `struct ext4_super_block`, *group*
//! `struct ext4_group_desc`, *inode* `struct ext4_inode`, *dir* `struct ext4_dir_entry_2`,
//! *extents* `fs/ext4/ext4_extents.h`, *xattr* `fs/ext4/xattr.h`, *dx* `fs/ext4/namei.c`.
//! All numbers are little-endian.

mod raw;

pub(crate) use raw::{
    RawDescriptor, RawExtent, RawExtentHeader, RawIndex, RawInode, RawSuperblock,
};

use zerocopy::FromZeros;
use zerocopy::little_endian::{U16, U32};

/// Bytes in a block of a region filesystem: one page, so that DAX can map it.
pub const BLOCK: usize = 4096;
/// [`BLOCK`] for arithmetic on positions.
pub(crate) const BLOCK64: u64 = BLOCK as u64;
/// One block's bytes.
pub(crate) type Block = [u8; BLOCK];

/// Blocks that one block bitmap covers: 8 × [`BLOCK`].
pub(crate) const BLOCKS_PER_GROUP: u64 = 32768;
/// Inodes that one inode bitmap can cover: 8 × [`BLOCK`].
pub(crate) const MAX_INODES_PER_GROUP: u64 = 32768;
/// Bytes in an inode, the part that ext2 had and the fixed part that ext4 added.
pub(crate) const INODE: usize = 256;
pub(crate) const INODES_PER_BLOCK: u64 = (BLOCK / INODE) as u64;
/// Bytes in a group descriptor with the `64bit` feature.
pub(crate) const DESCRIPTOR: usize = 64;
pub(crate) const DESCRIPTORS_PER_BLOCK: u64 = (BLOCK / DESCRIPTOR) as u64;
/// A physical block number has 48 bits (*extents*, `ee_start_hi` is 16 bits wide).
pub(crate) const PHYSICAL_LIMIT: u64 = 1 << 48;
/// A file block number has 32 bits, and the last one is the end mark (*extents*
/// `EXT_MAX_BLOCKS`), so that the largest file is 16 TiB less one block.
pub(crate) const LOGICAL_LIMIT: u64 = (1 << 32) - 1;

/// Byte offset of the superblock in block 0, and its length.
pub(crate) const SUPERBLOCK_AT: usize = 1024;
pub(crate) const SUPER_MAGIC: u16 = 0xef53;

pub(crate) const BAD_BLOCKS_INODE: u32 = 1;
pub(crate) const ROOT_INODE: u32 = 2;
/// `EXT4_JOURNAL_INO`.
pub(crate) const JOURNAL_INODE: u32 = 8;
/// First inode that is not reserved; lost+found by custom.
pub(crate) const FIRST_INODE: u32 = 11;
/// `EXT4_LINK_MAX`: most names of a file; a directory with more has the count 1 (`dir_nlink`).
pub(crate) const LINK_MAX: u32 = 65000;
/// Longest name in a directory, in bytes.
pub(crate) const NAME_MAX: usize = 255;

/// `s_state`: cleanly unmounted; errors were seen.
pub(crate) const STATE_CLEAN: u16 = 1;
pub(crate) const STATE_ERRORS: u16 = 2;

/// Feature bits (*super*, `EXT4_FEATURE_*`).
pub(crate) mod feature {
    pub(crate) const COMPAT_HAS_JOURNAL: u32 = 0x4;
    pub(crate) const COMPAT_EXT_ATTR: u32 = 0x8;
    pub(crate) const COMPAT_DIR_INDEX: u32 = 0x20;
    pub(crate) const COMPAT_SPARSE_SUPER2: u32 = 0x200;

    pub(crate) const INCOMPAT_FILETYPE: u32 = 0x2;
    /// The journal holds changes that are not in their places yet.
    pub(crate) const INCOMPAT_RECOVER: u32 = 0x4;
    pub(crate) const INCOMPAT_EXTENTS: u32 = 0x40;
    pub(crate) const INCOMPAT_64BIT: u32 = 0x80;
    pub(crate) const INCOMPAT_FLEX_BG: u32 = 0x200;

    pub(crate) const RO_SPARSE_SUPER: u32 = 0x1;
    pub(crate) const RO_LARGE_FILE: u32 = 0x2;
    pub(crate) const RO_HUGE_FILE: u32 = 0x8;
    pub(crate) const RO_DIR_NLINK: u32 = 0x20;
    pub(crate) const RO_EXTRA_ISIZE: u32 = 0x40;
    pub(crate) const RO_METADATA_CSUM: u32 = 0x400;

    /// What composing sets.
    pub(crate) const COMPAT: u32 = COMPAT_EXT_ATTR | COMPAT_DIR_INDEX | COMPAT_SPARSE_SUPER2;
    pub(crate) const INCOMPAT: u32 =
        INCOMPAT_FILETYPE | INCOMPAT_EXTENTS | INCOMPAT_64BIT | INCOMPAT_FLEX_BG;
    pub(crate) const RO: u32 = RO_SPARSE_SUPER
        | RO_LARGE_FILE
        | RO_HUGE_FILE
        | RO_DIR_NLINK
        | RO_EXTRA_ISIZE
        | RO_METADATA_CSUM;
}

/// Inode flags (*inode*, `i_flags`).
pub(crate) mod flag {
    /// Hashed directory (`EXT4_INDEX_FL`).
    pub(crate) const INDEX: u32 = 0x1000;
    /// `i_block` holds an extent tree (`EXT4_EXTENTS_FL`).
    pub(crate) const EXTENTS: u32 = 0x8_0000;
}

/// File types in `i_mode` (`include/uapi/linux/stat.h`).
pub(crate) mod mode {
    pub(crate) const TYPE: u16 = 0o170_000;
    pub(crate) const SOCKET: u16 = 0o140_000;
    pub(crate) const SYMLINK: u16 = 0o120_000;
    pub(crate) const FILE: u16 = 0o100_000;
    pub(crate) const BLOCK_DEVICE: u16 = 0o060_000;
    pub(crate) const DIRECTORY: u16 = 0o040_000;
    pub(crate) const CHAR_DEVICE: u16 = 0o020_000;
    pub(crate) const FIFO: u16 = 0o010_000;
    /// Permissions, set-user-id, set-group-id and sticky.
    pub(crate) const PERMISSIONS: u16 = 0o7777;
}

/// The file type byte of a directory entry (*dir*, `EXT4_FT_*`) for a file of mode `mode`.
pub(crate) const fn dirent_type(mode: u16) -> u8 {
    match mode & mode::TYPE {
        mode::FILE => 1,
        mode::DIRECTORY => 2,
        mode::CHAR_DEVICE => 3,
        mode::BLOCK_DEVICE => 4,
        mode::FIFO => 5,
        mode::SOCKET => 6,
        mode::SYMLINK => 7,
        _ => 0,
    }
}

/// *group*, `bg_flags`.
pub(crate) mod group_flag {
    /// The inode table holds nothing and its bitmap was never written.
    pub(crate) const INODE_UNINIT: u16 = 1;
    /// The block bitmap was never written: nothing but the group's own metadata is in use.
    pub(crate) const BLOCK_UNINIT: u16 = 2;
    /// The inode table's unused rest is zero, the kernel need not write it.
    pub(crate) const TABLE_ZEROED: u16 = 4;
}

/// `EXT4_GOOD_OLD_INODE_SIZE` and the part of [`RawInode`] after it.
pub(crate) const OLD_INODE: usize = 128;
pub(crate) const EXTRA_ISIZE: u16 = 32;
/// Bytes in an inode for extended attributes, their header included.
pub(crate) const INODE_XATTRS: usize = INODE - OLD_INODE - EXTRA_ISIZE as usize;

/// *extents*: magic, most levels, entries in `i_block`, entries in a block, blocks in an extent
/// with data (`EXT_INIT_MAX_LEN`), place of the block's checksum.
pub(crate) const EXTENT_MAGIC: u16 = 0xf30a;
pub(crate) const EXTENT_DEPTH_MAX: u16 = 5;
pub(crate) const ROOT_EXTENTS: usize = 4;
pub(crate) const BLOCK_EXTENTS: usize = 340;
pub(crate) const EXTENT_LEN_MAX: u64 = 32768;
pub(crate) const EXTENT_TAIL: usize = 12 + 12 * BLOCK_EXTENTS;

/// *dir*: bytes before a name, and bytes of the checksum record that ends each block.
pub(crate) const DIRENT_HEADER: usize = 8;
pub(crate) const DIRENT_TAIL: usize = 12;
/// *dir*, `EXT4_FT_DIR_CSUM`.
pub(crate) const DIRENT_TAIL_TYPE: u8 = 0xde;

/// Bytes that an entry with a name of `name` bytes takes.
pub(crate) const fn dirent_len(name: usize) -> usize {
    (DIRENT_HEADER + name).next_multiple_of(4)
}

/// A zeroed structure.
pub(crate) fn zeroed<T: FromZeros>() -> T {
    T::new_zeroed()
}

/// Low and high halves, as ext4 splits numbers.
pub(crate) const fn lo32(v: u64) -> U32 {
    U32::new((v & 0xffff_ffff) as u32)
}
pub(crate) const fn hi32(v: u64) -> U32 {
    U32::new((v >> 32) as u32)
}
pub(crate) const fn lo16(v: u32) -> U16 {
    U16::new((v & 0xffff) as u16)
}
pub(crate) const fn hi16(v: u32) -> U16 {
    U16::new((v >> 16) as u16)
}
pub(crate) fn join32(lo: U32, hi: U32) -> u64 {
    u64::from(lo.get()) | u64::from(hi.get()) << 32
}
pub(crate) fn join16(lo: U16, hi: U16) -> u32 {
    u32::from(lo.get()) | u32::from(hi.get()) << 16
}
pub(crate) fn join48(lo: U32, hi: U16) -> u64 {
    u64::from(lo.get()) | u64::from(hi.get()) << 32
}

/// A number as an index in memory.
pub(crate) const fn index(v: u64) -> usize {
    const { assert!(usize::BITS == 64) };
    #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits, asserted above")]
    let v = v as usize;
    v
}
