//! Marks: what tells a region that survived from one that was cleared, or used as RAM, in part.
//!
//! ```text
//! span  ├─ metadata ─────────┤·······│···········│···········│·······│
//!       head                         mark        mark        mark    mark in the last block
//!                                    at every 32 MiB, in the last block of them
//! ```
//!
//! Heads and metadata lie at the beginning and have checksums; file data have none, because whoever
//! maps them writes to them without asking. So reserved regions carry marks among the data, in
//! blocks that the bad-blocks inode owns. Each is known to the last byte: `block`. A range
//! of 32 MiB or more that was cleared or overwritten has hit one; a smaller one may have missed them
//! all, and then only the data themselves can tell.
//!
//! Each carries the generation, a number that grows by one with each arrival; the last one, written
//! last, is the one that counts, and says in which boot. A crash in between leaves marks of its
//! generation and of the next. The head cannot count: it shares its block with the superblock, and
//! the replay of a journal brings an older block back.

use crate::head::SpanHead;
use physmem::PAGE_SIZE;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use uuid::Uuid;

/// Distance of two marks in blocks: 32 MiB. A mark costs a file the 2 MiB page that it lies in, one
/// of sixteen; a firmware that clears memory, or a kernel that takes it for RAM, does so at large.
pub const DISTANCE: u64 = 8192;

/// Bytes of a mark: one block.
const BLOCK: usize = 4096;

/// The first bytes of a mark.
const MAGIC: [u8; 8] = *b"PKRAMMRK";

/// How often a region was made or arrived, as its last mark tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// How often.
    pub generation: u64,
    /// The boot (`/proc/sys/kernel/random/boot_id`) in which it was counted.
    pub boot: Uuid,
}

/// Which blocks of a region of `blocks` blocks carry marks, if metadata take those below `from`.
pub fn places(from: u64, blocks: u64) -> impl Iterator<Item = u64> {
    let last = blocks.checked_sub(1);
    let regular = from / DISTANCE..last.unwrap_or(0) / DISTANCE;
    let regular = regular.map(|i| i * DISTANCE + DISTANCE - 1);
    regular.chain(last).filter(move |&block| block >= from)
}

/// Marks that are not as they were written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{bad} of the {count} marks between its data are not as they were written, the first at \
     {address:#x}, where {found}; its memory was cleared or used for something else since, in part \
     or wholly"
)]
pub struct Faults {
    /// How many are wrong.
    pub bad: u64,
    /// How many there are.
    pub count: u64,
    /// Physical address of the first wrong one.
    pub address: u64,
    /// What is there.
    pub found: Found,
}

/// What lies where a mark should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Zeros.
    Zeros,
    /// A mark from another time: its generation, and the last mark's.
    Generation(u64, u64),
    /// Anything else.
    Others,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zeros => f.write_str("all bytes are zero"),
            Self::Generation(found, last) => {
                write!(f, "a mark of generation {found} lies; the last one has {last}")
            }
            Self::Others => f.write_str("other bytes lie"),
        }
    }
}

impl Count {
    /// The mark in `block` of `region`: magic, generation, block, boot; then the region's UUID to the
    /// end. All but the last have no boot.
    fn mark(&self, region: Uuid, block: u64) -> [u8; BLOCK] {
        let mut bytes = [0; BLOCK];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.generation.to_le_bytes());
        bytes[16..24].copy_from_slice(&block.to_le_bytes());
        bytes[24..40].copy_from_slice(self.boot.as_bytes());
        let (_, rest) = bytes.split_at_mut(48);
        rest.chunks_exact_mut(16).for_each(|chunk| chunk.copy_from_slice(region.as_bytes()));
        bytes
    }

    /// What the mark in `block` of `region` says, if `bytes` are one, to the last byte.
    fn parse(bytes: &[u8; BLOCK], region: Uuid, block: u64) -> Result<Self, Found> {
        let (_, rest) = bytes.split_at(8);
        let generation = rest.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        let boot = rest[16..].first_chunk().map_or(Uuid::nil(), |word| Uuid::from_bytes(*word));
        let count = Self { generation, boot };
        match () {
            () if *bytes == count.mark(region, block) => Ok(count),
            () if bytes.iter().all(|&b| b == 0) => Err(Found::Zeros),
            () => Err(Found::Others),
        }
    }

    /// Writes all marks of the region behind `file`, which `head` describes, the last one last.
    pub(crate) fn write(&self, file: &File, head: &SpanHead) -> io::Result<()> {
        let last = last(head);
        let among = Self { boot: Uuid::nil(), ..*self };
        for block in of(head).filter(|&block| block != last) {
            file.write_all_at(&among.mark(head.region, block), block * PAGE_SIZE)?;
        }
        file.sync_all()?;
        file.write_all_at(&self.mark(head.region, last), last * PAGE_SIZE)?;
        file.sync_all()
    }
}

/// The blocks with marks of the region that `head` describes.
fn of(head: &SpanHead) -> impl Iterator<Item = u64> {
    let blocks = if head.marks_from.is_some() { head.region_blocks } else { 0 };
    places(head.marks_from.unwrap_or(0), blocks)
}

fn last(head: &SpanHead) -> u64 {
    head.region_blocks.saturating_sub(1)
}

fn read(file: &File, block: u64) -> io::Result<[u8; BLOCK]> {
    let mut bytes = [0; BLOCK];
    file.read_exact_at(&mut bytes, block * PAGE_SIZE)?;
    Ok(bytes)
}

/// What the last mark of a region says, which nobody else has checked.
pub(crate) fn last_count(file: &File, head: &SpanHead) -> io::Result<Option<Count>> {
    let last = last(head);
    Ok(Count::parse(&read(file, last)?, head.region, last).ok())
}

/// Looks at every mark of a region that has them.
pub(crate) fn check(file: &File, head: &SpanHead) -> io::Result<Result<Count, Faults>> {
    let counted = last_count(file, head)?;
    let mut faults: Option<Faults> = None;
    let mut count = 0;
    for block in of(head) {
        count += 1;
        let found = match (Count::parse(&read(file, block)?, head.region, block), counted) {
            (Ok(mark), Some(Count { generation, .. }))
                if ![generation, generation.saturating_add(1)].contains(&mark.generation) =>
            {
                Found::Generation(mark.generation, generation)
            }
            (Ok(_), _) => continue,
            (Err(found), _) => found,
        };
        let address = head.range.start() + block * PAGE_SIZE;
        faults.get_or_insert(Faults { bad: 0, count: 0, address, found }).bad += 1;
    }
    Ok(match (faults, counted) {
        (None, Some(counted)) => Ok(counted),
        (faults, _) => {
            let address = head.range.start() + last(head) * PAGE_SIZE;
            let none = Faults { bad: 1, count, address, found: Found::Others };
            Err(faults.map_or(none, |f| Faults { count, ..f }))
        }
    })
}

/// Offset in `file`, of `len` bytes, of a mark that a region left.
pub(crate) fn remain(file: &File, len: u64) -> io::Result<Option<u64>> {
    for block in places(0, len / PAGE_SIZE) {
        let mut magic = [0; MAGIC.len()];
        file.read_exact_at(&mut magic, block * PAGE_SIZE)?;
        if magic == MAGIC {
            return Ok(Some(block * PAGE_SIZE));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use physmem::PhysRange;
    use proptest::prelude::*;

    #[test]
    fn lie_at_regular_places_and_at_the_end() {
        let at = |from, blocks| places(from, blocks).collect::<Vec<_>>();
        assert_eq!(at(0, 2 * DISTANCE), [DISTANCE - 1, 2 * DISTANCE - 1]);
        assert_eq!(at(0, 2 * DISTANCE + 1), [DISTANCE - 1, 2 * DISTANCE - 1, 2 * DISTANCE]);
        assert_eq!(at(DISTANCE, 2 * DISTANCE + 9), [2 * DISTANCE - 1, 2 * DISTANCE + 8]);
        assert_eq!(at(9, 10), [9]);
        assert_eq!(at(10, 10), [0; 0]);
        assert_eq!(at(0, 0), [0; 0]);
    }

    const COUNT: Count = Count { generation: 7, boot: Uuid::from_u128(0xb007) };

    /// A file with the marks of a region of 162 MiB.
    fn region() -> (tempfile::NamedTempFile, SpanHead) {
        let blocks = 5 * DISTANCE + 512;
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(blocks * PAGE_SIZE).unwrap();
        let head = SpanHead {
            region: Uuid::from_u128(0xabcd),
            index: 0,
            count: 1,
            range: PhysRange::from_len(0x4000_0000, blocks * PAGE_SIZE).unwrap(),
            first_block: 0,
            region_blocks: blocks,
            created: 1,
            marks_from: Some(700),
        };
        COUNT.write(file.as_file(), &head).unwrap();
        (file, head)
    }

    #[test]
    fn a_crash_while_counting_does_no_harm_and_an_old_mark_does() {
        let (file, head) = region();
        assert_eq!(check(file.as_file(), &head).unwrap(), Ok(COUNT));
        // Half of them counted, the last one not.
        let next = Count { generation: 8, ..COUNT };
        let half = SpanHead { region_blocks: 3 * DISTANCE, ..head };
        let among = Count { boot: Uuid::nil(), ..next };
        for block in of(&half) {
            file.as_file()
                .write_all_at(&among.mark(head.region, block), block * PAGE_SIZE)
                .unwrap();
        }
        assert_eq!(check(file.as_file(), &head).unwrap(), Ok(COUNT));
        // The last one counted, and some from before.
        let at = last(&head) * PAGE_SIZE;
        file.as_file().write_all_at(&next.mark(head.region, last(&head)), at).unwrap();
        let faults = check(file.as_file(), &head).unwrap().unwrap_err();
        assert_eq!((faults.bad, faults.count, faults.found), (2, 6, Found::Generation(7, 8)));
    }

    #[test]
    fn regions_without_marks_have_none() {
        let (_, head) = region();
        let saved = SpanHead { marks_from: None, ..head };
        assert_eq!(of(&saved).count(), 0);
        let file = tempfile::tempfile().unwrap();
        file.set_len(head.range.len()).unwrap();
        assert_eq!(remain(&file, head.range.len()).unwrap(), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn a_cleared_stretch_of_the_distance_is_always_found(at in 700..4 * DISTANCE + 512) {
            let (file, head) = region();
            let zeros = vec![0; usize::try_from(DISTANCE * PAGE_SIZE).unwrap()];
            file.as_file().write_all_at(&zeros, at * PAGE_SIZE).unwrap();
            let faults = check(file.as_file(), &head).unwrap().unwrap_err();
            prop_assert_eq!(faults.found, Found::Zeros);
            prop_assert!(faults.address >= head.range.start() + at * PAGE_SIZE);
            prop_assert!(faults.bad >= 1 && faults.bad < faults.count);
            prop_assert!(remain(file.as_file(), head.range.len()).unwrap().is_some());
        }

        #[test]
        fn every_flipped_bit_but_those_that_count_is_found(
            bit in 0..BLOCK * 8,
            mark in 0..6_usize,
        ) {
            let (file, head) = region();
            let at = of(&head).nth(mark).unwrap() * PAGE_SIZE + (bit / 8) as u64;
            let mut byte = [0];
            file.as_file().read_exact_at(&mut byte, at).unwrap();
            file.as_file().write_all_at(&[byte[0] ^ 1 << (bit % 8)], at).unwrap();
            // Which boot it was, and what generation the first five have, is nowhere said twice.
            let told = (8..16).contains(&(bit / 8)) || (24..40).contains(&(bit / 8));
            prop_assert!(told || check(file.as_file(), &head).unwrap().unwrap_err().bad == 1);
        }
    }
}
