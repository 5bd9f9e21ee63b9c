//! The structures of ext4, field by field. Bytes seen through one of these are alleged, no more.

use super::DESCRIPTOR;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

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
