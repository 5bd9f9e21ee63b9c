//! How ext4 lies on disk: every structure, constant and limit that composing and reading share.
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

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

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
    pub(crate) const COMPAT_EXT_ATTR: u32 = 0x8;
    pub(crate) const COMPAT_DIR_INDEX: u32 = 0x20;
    pub(crate) const COMPAT_SPARSE_SUPER2: u32 = 0x200;

    pub(crate) const INCOMPAT_FILETYPE: u32 = 0x2;
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

/// *super*, 1024 bytes.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawSuperblock {
    pub(crate) inodes: U32,
    pub(crate) blocks_lo: U32,
    pub(crate) reserved_blocks_lo: U32,
    pub(crate) free_blocks_lo: U32,
    pub(crate) free_inodes: U32,
    pub(crate) first_data_block: U32,
    /// log2(block size) − 10.
    pub(crate) log_block_size: U32,
    pub(crate) log_cluster_size: U32,
    pub(crate) blocks_per_group: U32,
    pub(crate) clusters_per_group: U32,
    pub(crate) inodes_per_group: U32,
    pub(crate) mount_time: U32,
    pub(crate) write_time: U32,
    pub(crate) mounts: U16,
    /// Mounts between checks; all ones for never.
    pub(crate) max_mounts: U16,
    pub(crate) magic: U16,
    pub(crate) state: U16,
    /// What the kernel does on errors: 1 go on, 2 remount read-only, 3 panic.
    pub(crate) on_errors: U16,
    pub(crate) minor_revision: U16,
    pub(crate) last_check: U32,
    pub(crate) check_interval: U32,
    pub(crate) creator_os: U32,
    pub(crate) revision: U32,
    pub(crate) reserved_uid: U16,
    pub(crate) reserved_gid: U16,
    pub(crate) first_inode: U32,
    pub(crate) inode_size: U16,
    pub(crate) group: U16,
    pub(crate) compat: U32,
    pub(crate) incompat: U32,
    pub(crate) ro_compat: U32,
    pub(crate) uuid: [u8; 16],
    pub(crate) label: [u8; 16],
    pub(crate) last_mounted: [u8; 64],
    pub(crate) algorithms: U32,
    pub(crate) prealloc: [u8; 2],
    pub(crate) reserved_descriptor_blocks: U16,
    pub(crate) journal_uuid: [u8; 16],
    pub(crate) journal: [U32; 2],
    /// First inode of the list of files to delete or truncate at the next mount.
    pub(crate) last_orphan: U32,
    pub(crate) hash_seed: [U32; 4],
    pub(crate) hash_version: u8,
    pub(crate) journal_backup_type: u8,
    pub(crate) descriptor_size: U16,
    pub(crate) mount_options: U32,
    pub(crate) first_meta_group: U32,
    pub(crate) made_time: U32,
    pub(crate) journal_blocks: [U32; 17],
    pub(crate) blocks_hi: U32,
    pub(crate) reserved_blocks_hi: U32,
    pub(crate) free_blocks_hi: U32,
    pub(crate) min_extra_isize: U16,
    pub(crate) want_extra_isize: U16,
    /// 1: hashes of names take bytes as signed, 2: as unsigned.
    pub(crate) flags: U32,
    pub(crate) raid_and_mmp: [u8; 16],
    pub(crate) log_groups_per_flex: u8,
    /// 1: CRC-32C.
    pub(crate) checksum_type: u8,
    pub(crate) encryption_level: [u8; 2],
    pub(crate) kilobytes_written: U64,
    pub(crate) snapshots: [u8; 20],
    pub(crate) error_count: U32,
    pub(crate) errors_and_options: [u8; 168],
    pub(crate) quota_inodes: [U32; 2],
    /// Blocks of superblock, descriptors, bitmaps and inode tables; `statfs` subtracts them.
    pub(crate) overhead: U32,
    /// With `sparse_super2`: the two groups with a backup superblock, 0 for none.
    pub(crate) backup_groups: [U32; 2],
    pub(crate) encryption: [u8; 20],
    pub(crate) lost_found_inode: U32,
    pub(crate) project_quota_inode: U32,
    pub(crate) checksum_seed: U32,
    pub(crate) times_hi: [u8; 8],
    pub(crate) tail: [U32; 96],
    pub(crate) checksum: U32,
}
const _: () = assert!(size_of::<RawSuperblock>() == 1024);
const _: () = assert!(core::mem::offset_of!(RawSuperblock, hash_seed) == 0xec);
const _: () = assert!(core::mem::offset_of!(RawSuperblock, error_count) == 0x194);
const _: () = assert!(core::mem::offset_of!(RawSuperblock, times_hi) == 0x274);

/// *group*, 64 bytes.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawDescriptor {
    pub(crate) block_bitmap_lo: U32,
    pub(crate) inode_bitmap_lo: U32,
    pub(crate) inode_table_lo: U32,
    pub(crate) free_blocks_lo: U16,
    pub(crate) free_inodes_lo: U16,
    pub(crate) directories_lo: U16,
    pub(crate) flags: U16,
    pub(crate) exclude_lo: U32,
    pub(crate) block_bitmap_sum_lo: U16,
    pub(crate) inode_bitmap_sum_lo: U16,
    /// Inodes at the end of the table that were never used.
    pub(crate) unused_inodes_lo: U16,
    pub(crate) checksum: U16,
    pub(crate) block_bitmap_hi: U32,
    pub(crate) inode_bitmap_hi: U32,
    pub(crate) inode_table_hi: U32,
    pub(crate) free_blocks_hi: U16,
    pub(crate) free_inodes_hi: U16,
    pub(crate) directories_hi: U16,
    pub(crate) unused_inodes_hi: U16,
    pub(crate) exclude_hi: U32,
    pub(crate) block_bitmap_sum_hi: U16,
    pub(crate) inode_bitmap_sum_hi: U16,
    pub(crate) reserved: U32,
}
const _: () = assert!(size_of::<RawDescriptor>() == DESCRIPTOR);

/// *group*, `bg_flags`.
pub(crate) mod group_flag {
    /// The inode table holds nothing and its bitmap was never written.
    pub(crate) const INODE_UNINIT: u16 = 1;
    /// The block bitmap was never written: nothing but the group's own metadata is in use.
    pub(crate) const BLOCK_UNINIT: u16 = 2;
    /// The inode table's unused rest is zero, the kernel need not write it.
    pub(crate) const TABLE_ZEROED: u16 = 4;
}

/// *inode*, 160 bytes; the rest of [`INODE`] holds extended attributes.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawInode {
    pub(crate) mode: U16,
    pub(crate) uid_lo: U16,
    pub(crate) size_lo: U32,
    pub(crate) atime: U32,
    pub(crate) ctime: U32,
    pub(crate) mtime: U32,
    pub(crate) dtime: U32,
    pub(crate) gid_lo: U16,
    pub(crate) links: U16,
    /// In units of 512 bytes.
    pub(crate) blocks_lo: U32,
    pub(crate) flags: U32,
    pub(crate) version_lo: U32,
    /// Root of the extent tree, or a short symlink's target, or a device's numbers.
    pub(crate) body: [u8; 60],
    pub(crate) generation: U32,
    pub(crate) xattr_block_lo: U32,
    pub(crate) size_hi: U32,
    pub(crate) fragment: U32,
    pub(crate) blocks_hi: U16,
    pub(crate) xattr_block_hi: U16,
    pub(crate) uid_hi: U16,
    pub(crate) gid_hi: U16,
    pub(crate) checksum_lo: U16,
    pub(crate) reserved: U16,
    /// Bytes of this structure after the first 128.
    pub(crate) extra_isize: U16,
    pub(crate) checksum_hi: U16,
    pub(crate) ctime_extra: U32,
    pub(crate) mtime_extra: U32,
    pub(crate) atime_extra: U32,
    pub(crate) crtime: U32,
    pub(crate) crtime_extra: U32,
    pub(crate) version_hi: U32,
    pub(crate) project: U32,
}
const _: () = assert!(size_of::<RawInode>() == 160);

/// `EXT4_GOOD_OLD_INODE_SIZE` and the part of [`RawInode`] after it.
pub(crate) const OLD_INODE: usize = 128;
pub(crate) const EXTRA_ISIZE: u16 = 32;
/// Bytes in an inode for extended attributes, their header included.
pub(crate) const INODE_XATTRS: usize = INODE - OLD_INODE - EXTRA_ISIZE as usize;

/// *extents*, `struct ext4_extent_header`.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawExtentHeader {
    pub(crate) magic: U16,
    pub(crate) entries: U16,
    pub(crate) max: U16,
    /// Levels below this node; 0 for a leaf.
    pub(crate) depth: U16,
    pub(crate) generation: U32,
}

/// *extents*, `struct ext4_extent` and, with other names, `struct ext4_extent_idx`.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawExtent {
    pub(crate) logical: U32,
    pub(crate) len: U16,
    pub(crate) block_hi: U16,
    pub(crate) block_lo: U32,
}

/// *extents*, `struct ext4_extent_idx`.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawIndex {
    pub(crate) logical: U32,
    pub(crate) block_lo: U32,
    pub(crate) block_hi: U16,
    pub(crate) unused: U16,
}

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
