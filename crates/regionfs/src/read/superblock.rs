//! The superblock: which filesystem this is, and how large its parts are.

use super::{Problem, ReadAt, ReadError};
use crate::checksum;
use crate::layout::{
    BLOCKS_PER_GROUP, DESCRIPTOR, DESCRIPTORS_PER_BLOCK, EXTRA_ISIZE, FIRST_INODE, INODE,
    INODES_PER_BLOCK, JOURNAL_INODE, MAX_INODES_PER_GROUP, RawSuperblock, STATE_CLEAN,
    STATE_ERRORS, SUPER_MAGIC, SUPERBLOCK_AT, feature, join32, zeroed,
};
use std::fmt;
use uuid::Uuid;
use zerocopy::IntoBytes;

/// A superblock with the right checksum, features that a region filesystem has, and sizes that
/// fit together and into the region.
#[derive(Clone, Debug)]
pub struct Superblock {
    /// The filesystem's UUID.
    pub uuid: Uuid,
    /// The volume label, `pkram` for a region filesystem.
    pub label: Vec<u8>,
    /// Blocks of [`BLOCK`](crate::BLOCK) bytes.
    pub blocks: u64,
    /// Blocks that nobody owns. Linux updates this only now and then while mounted.
    pub free_blocks: u64,
    /// Inodes, used or not; the first is number 1.
    pub inodes: u32,
    /// Inodes that nobody owns. Linux updates this only now and then while mounted.
    pub free_inodes: u32,
    /// Unmounted cleanly: neither mounted now nor when the machine stopped.
    pub clean: bool,
    /// The journal holds changes that are not in their places yet: mounting brings them there.
    pub needs_replay: bool,
    /// Linux met errors in it.
    pub errors_seen: bool,
    pub(crate) has_journal: bool,
    pub(crate) inodes_per_group: u32,
    pub(crate) groups: u64,
    pub(crate) hash_seed: [u32; 4],
    /// Names are hashed by unsigned bytes, as composing does.
    pub(crate) unsigned_hashes: bool,
}

const PLACE: &str = "the superblock";

impl Superblock {
    pub(super) fn read(reader: &impl ReadAt, region: u64) -> Result<Self, ReadError> {
        let mut raw: RawSuperblock = zeroed();
        let offset = SUPERBLOCK_AT as u64;
        reader
            .read_at(offset, raw.as_mut_bytes())
            .map_err(|source| ReadError::Io { offset, source })?;
        Self::check(&raw, region)
    }

    /// The one way from an alleged superblock to a well-formed one.
    fn check(raw: &RawSuperblock, region: u64) -> Result<Self, ReadError> {
        expect("magic number", SUPER_MAGIC, raw.magic.get())?;
        let sum = checksum::superblock(raw);
        if sum != raw.checksum.get() {
            return Err(Problem::checksum(PLACE, sum, raw.checksum.get()).into());
        }
        check_features(raw)?;
        expect("log2 of the block size − 10", 2, raw.log_block_size.get())?;
        expect("log2 of the cluster size − 10", 2, raw.log_cluster_size.get())?;
        expect("blocks in a group", BLOCKS_PER_GROUP, raw.blocks_per_group.get().into())?;
        expect("clusters in a group", BLOCKS_PER_GROUP, raw.clusters_per_group.get().into())?;
        expect("inode size", INODE, raw.inode_size.get().into())?;
        expect("descriptor size", DESCRIPTOR, raw.descriptor_size.get().into())?;
        expect("first block", 0, raw.first_data_block.get())?;
        expect("checksum type", 1, raw.checksum_type)?;
        expect("extra inode size", EXTRA_ISIZE, raw.want_extra_isize.get())?;

        expect("revision", 1, raw.revision.get())?;
        expect("creator, Linux being 0", 0, raw.creator_os.get())?;
        expect("first inode", FIRST_INODE, raw.first_inode.get())?;
        expect("journal UUID", Uuid::nil(), Uuid::from_bytes(raw.journal_uuid))?;
        let has_journal = raw.compat.get() & feature::COMPAT_HAS_JOURNAL != 0;
        let journal_inode = if has_journal { JOURNAL_INODE } else { 0 };
        expect("journal inode", journal_inode, raw.journal[0].get())?;
        expect("journal device", 0, raw.journal[1].get())?;
        expect("blocks for more descriptors", 0, raw.reserved_descriptor_blocks.get())?;

        if raw.log_groups_per_flex > 31 {
            let place = format!("{PLACE}, log2 of the groups in a flex group");
            return Err(Problem::new(place, "at most 31", raw.log_groups_per_flex).into());
        }

        let blocks = join32(raw.blocks_lo, raw.blocks_hi);
        let reserved = join32(raw.reserved_blocks_lo, raw.reserved_blocks_hi);
        if reserved > blocks {
            let place = format!("{PLACE}, reserved blocks");
            return Err(Problem::new(place, format!("at most {blocks}"), reserved).into());
        }
        if blocks == 0 || blocks > region {
            let expected = format!("1 to {region} blocks, as the region has");
            return Err(Problem::new(PLACE, expected, blocks).into());
        }
        let groups = blocks.div_ceil(BLOCKS_PER_GROUP);
        let descriptors = groups.div_ceil(DESCRIPTORS_PER_BLOCK);
        if descriptors >= blocks.min(BLOCKS_PER_GROUP) {
            let expected = "group descriptors that fit in the first group";
            return Err(Problem::new(PLACE, expected, format!("{descriptors} blocks")).into());
        }
        let inodes_per_group = raw.inodes_per_group.get();
        let per_group = u64::from(inodes_per_group);
        if per_group == 0 || per_group % INODES_PER_BLOCK != 0 || per_group > MAX_INODES_PER_GROUP {
            let expected = "a multiple of 16 inodes in a group, at most 32768";
            return Err(Problem::new(PLACE, expected, per_group).into());
        }
        expect("inodes", groups * per_group, raw.inodes.get().into())?;
        let label = raw.label.iter().copied().take_while(|&b| b != 0).collect();
        Ok(Self {
            uuid: Uuid::from_bytes(raw.uuid),
            label,
            blocks,
            free_blocks: join32(raw.free_blocks_lo, raw.free_blocks_hi),
            inodes: raw.inodes.get(),
            free_inodes: raw.free_inodes.get(),
            clean: raw.state.get() & STATE_CLEAN != 0,
            needs_replay: raw.incompat.get() & feature::INCOMPAT_RECOVER != 0,
            has_journal,
            errors_seen: raw.state.get() & STATE_ERRORS != 0 || raw.error_count.get() > 0,
            inodes_per_group,
            groups,
            hash_seed: raw.hash_seed.map(|word| word.get()),
            unsigned_hashes: raw.flags.get() & 2 != 0,
        })
    }

    /// For messages about block numbers.
    pub(super) fn below_end(&self) -> String {
        format!("a block below {}", self.blocks)
    }
}

fn check_features(raw: &RawSuperblock) -> Result<(), ReadError> {
    // Compatible features that we do not know do no harm to a reader.
    let needed = feature::INCOMPAT & !raw.incompat.get();
    if needed != 0 {
        return Err(unsupported(format!("no incompatible features {needed:#x}")));
    }
    let has_journal = raw.compat.get() & feature::COMPAT_HAS_JOURNAL != 0;
    let replay = if has_journal { feature::INCOMPAT_RECOVER } else { 0 };
    let unknown = raw.incompat.get() & !feature::INCOMPAT & !replay;
    if unknown != 0 {
        return Err(unsupported(format!("incompatible features {unknown:#x}")));
    }
    let unknown = raw.ro_compat.get() & !feature::RO;
    if unknown != 0 {
        return Err(unsupported(format!("read-only compatible features {unknown:#x}")));
    }
    if raw.ro_compat.get() & feature::RO_METADATA_CSUM == 0 {
        return Err(unsupported("no metadata checksums".to_owned()));
    }
    Ok(())
}

fn unsupported(what: String) -> ReadError {
    ReadError::Unsupported { place: PLACE.to_owned(), what }
}

fn expect<T: PartialEq + fmt::Display>(what: &str, expected: T, found: T) -> Result<(), Problem> {
    if expected == found {
        return Ok(());
    }
    Err(Problem::new(format!("{PLACE}, {what}"), expected, found))
}
