//! An empty region: a filesystem for use, with a journal, marks between its data, and a head.

use crate::head::{HEAD_BYTES, SpanHead};
use crate::marks::{Count, places};
use physmem::{PAGE_SIZE, PhysRange};
use regionfs::{
    Attributes, BLOCK, ComposeError, Geometry, RegionImage, Timestamp, Tree, TreeError, compose,
};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// Blocks for each inode: 64 KiB.
const BLOCKS_PER_INODE: u64 = 16;

/// The journal takes 1/64 of the blocks within these bounds: `JBD2_MIN_JOURNAL_BLOCKS`
/// (`include/linux/jbd2.h`), and what `mke2fs` gives to 16 GiB.
const JOURNAL_SHARE: u64 = 64;
const JOURNAL_BLOCKS: std::ops::RangeInclusive<u64> = 1024..=16384;

/// Why no region can be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The tree.
    #[error("an empty tree: {0}")]
    Tree(#[from] TreeError),
    /// The filesystem.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// The device.
    #[error("writing the region: {0}")]
    Io(#[from] io::Error),
}

/// A region that is composed and not yet written.
#[derive(Debug)]
pub(super) struct Empty {
    pub(super) head: SpanHead,
    count: Count,
    image: RegionImage,
}

impl Empty {
    pub(super) fn compose(range: PhysRange, boot: Uuid) -> Result<Self, MakeError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let created = Timestamp { secs: now.as_secs().cast_signed(), nanos: now.subsec_nanos() };
        let (region, blocks) = (Uuid::new_v4(), range.pages());
        let mut geometry = Geometry {
            blocks,
            uuid: region,
            created,
            bad: bad(0, blocks),
            journal_blocks: (blocks / JOURNAL_SHARE)
                .clamp(*JOURNAL_BLOCKS.start(), *JOURNAL_BLOCKS.end()),
            free_inodes: blocks / BLOCKS_PER_INODE,
            boot_area: [0; HEAD_BYTES],
        };
        // Marks that the metadata would cover are left out, which makes these no longer.
        let from = regionfs::head_blocks(&tree(created)?, &geometry, |_, extents| extents)?;
        geometry.bad = bad(from, blocks);
        let head = SpanHead {
            region,
            index: 0,
            count: 1,
            range,
            first_block: 0,
            region_blocks: blocks,
            created: now.as_secs(),
            marks_from: Some(from),
        };
        geometry.boot_area = head.to_bytes();
        let image = compose(tree(created)?, geometry)?;
        Ok(Self { head, count: Count { generation: 1, boot }, image })
    }

    /// Writes everything, and the block with head and superblock last: before that there is no
    /// region.
    pub(super) fn write(&self, file: &File) -> Result<(), MakeError> {
        self.count.write(file, &self.head)?;
        let mut first = [0; BLOCK];
        self.image.write_metadata(&mut |block, bytes| match block {
            0 => {
                first = *bytes;
                Ok(())
            }
            _ => file.write_all_at(bytes, block * PAGE_SIZE),
        })?;
        file.sync_all()?;
        file.write_all_at(&first, 0)?;
        Ok(file.sync_all()?)
    }
}

fn bad(from: u64, blocks: u64) -> Vec<std::ops::Range<u64>> {
    places(from, blocks).map(|block| block..block + 1).collect()
}

fn tree(now: Timestamp) -> Result<Tree, TreeError> {
    Tree::new(Attributes {
        mode: 0o755,
        atime: now,
        mtime: now,
        ctime: now,
        crtime: now,
        ..Attributes::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marks;
    use regionfs::read::Filesystem;
    use std::process::Command;

    #[test]
    fn is_what_e2fsck_calls_clean_and_has_room() {
        for (mib, journal_mib) in [(34_u64, 4), (514, 8), (3_000, 46)] {
            let range = PhysRange::from_len(0x1_7e00_0000, mib << 20).unwrap();
            let empty = Empty::compose(range, Uuid::from_u128(3)).unwrap();
            let file = tempfile::NamedTempFile::new_in("/dev/shm")
                .or_else(|_| tempfile::NamedTempFile::new())
                .unwrap();
            file.as_file().set_len(range.len()).unwrap();
            empty.write(file.as_file()).unwrap();

            let mut head = [0; HEAD_BYTES];
            file.as_file().read_exact_at(&mut head, 0).unwrap();
            let head = SpanHead::parse(&head).unwrap();
            assert_eq!(head, empty.head);
            assert_eq!(marks::check(file.as_file(), &head).unwrap(), Ok(empty.count));
            let read = |at, buf: &mut [u8]| file.as_file().read_exact_at(buf, at);
            let fs = Filesystem::open(read, range.pages()).unwrap();
            assert_eq!(fs.verify().unwrap(), []);
            let free = fs.superblock().free_blocks * PAGE_SIZE;
            assert!(free > (mib - journal_mib - 2 - mib / 64) << 20, "{mib}: {free}");
            assert!(u64::from(fs.superblock().free_inodes) >= mib * 16);

            match Command::new("e2fsck").arg("-fn").arg(file.path()).output() {
                Ok(said) => {
                    let text = String::from_utf8_lossy(&said.stdout);
                    assert!(said.status.success() && text.lines().count() == 6, "{text}");
                }
                Err(e) => {
                    let required = std::env::var_os("PKRAM_TEST_REQUIRE").is_some_and(|v| v == "1");
                    assert!(!required, "e2fsck: {e} (apt-get install e2fsprogs)");
                    eprintln!("skipped in part: e2fsck: {e} (apt-get install e2fsprogs)");
                }
            }
        }
    }
}
