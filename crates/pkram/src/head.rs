//! The head of a span: how a range of memory says that it is ours.
//!
//! ```text
//! span 0:  bytes 0..1024 of the region filesystem, which ext4 leaves to boot loaders
//! others:  the first block; the second block stays zero, because the kernel looks for NVDIMM
//!          info blocks at +4 KiB. Both blocks belong to the bad-blocks inode.
//! ```
//!
//! Three levels of trust: bytes are alleged; [`SpanHead::parse`] makes a head well-formed;
//! [`crate::region::discover`] compares it with where the device lies and makes it ours.
//!
//! Releasing changes the magic and nothing else, one aligned store: the head goes on saying which
//! memory this was, so that any later kernel's pkram knows it for its own, and free.

use physmem::{ADDRESS_LIMIT, PAGE_SIZE, PhysRange};
use uuid::Uuid;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The first bytes of every span.
pub const MAGIC: [u8; 8] = *b"PKRAMSPN";

/// The first bytes of a span that was released. The rest of the head stays as it was, the checksum
/// included.
pub const RELEASED: [u8; 8] = *b"PKRAMREL";

/// The first bytes of a span that was released alone, because what it carried was restored; the rest
/// of its region lives on.
pub const RESTORED: [u8; 8] = *b"PKRAMRST";

/// Version of this layout.
pub const VERSION: u32 = 1;

/// More spans than a memory map has entries (`E820_MAX_ENTRIES`, `arch/x86/include/asm/e820/types.h`).
const MOST_SPANS: u32 = 3200;

/// Blocks of 4 KiB at the start of every span but the first that carry no file data.
pub const LATER_HEAD_BLOCKS: u64 = 2;

/// Bytes of a head, all in the area that ext4 leaves unused.
pub const HEAD_BYTES: usize = 1024;

/// A head as it lies in memory; all numbers little-endian.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    magic: [u8; 8],
    version: U32,
    /// CRC-32C of all [`HEAD_BYTES`] bytes, this field zero.
    crc32c: U32,
    region: [u8; 16],
    index: U32,
    count: U32,
    start: U64,
    len: U64,
    first_block: U64,
    region_blocks: U64,
    created: U64,
    /// Zero in a region without marks.
    marks_from: U64,
    zero: [u8; HEAD_BYTES - 88],
}

/// What a head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanHead {
    /// The region that the span belongs to; also the filesystem's UUID.
    pub region: Uuid,
    /// Which of the region's spans this is, from 0.
    pub index: u32,
    /// How many spans the region has.
    pub count: u32,
    /// Where the span lies in physical memory.
    pub range: PhysRange,
    /// The region's block (4 KiB) at which the span begins.
    pub first_block: u64,
    /// How many blocks the region has in all spans.
    pub region_blocks: u64,
    /// When the region was made, in seconds since 1970.
    pub created: u64,
    /// In a reserved region the lowest block that may carry a mark ([`crate::marks`]).
    pub marks_from: Option<u64>,
}

/// Why bytes are no head.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Nothing there claims to be a head.
    #[error("no pkram span begins here (expected {MAGIC:02x?}, found {found:02x?})")]
    NotOurs {
        /// The bytes where the magic should be.
        found: [u8; 8],
    },
    /// A head that was whole until its region was released.
    #[error("the span of region {region} was released; its content is gone", region = .head.region)]
    Released {
        /// Whether the rest of its region lives on.
        alone: bool,
        /// What it said.
        head: SpanHead,
    },
    /// The version is from another time.
    #[error("the span's head has version {found}; this pkram reads version {VERSION}")]
    Version {
        /// What it says.
        found: u32,
    },
    /// Checksum mismatch.
    #[error("the span's head is damaged: CRC-32C is {found:#010x}, should be {expected:#010x}")]
    Damaged {
        /// Computed over the bytes.
        expected: u32,
        /// Stored in the head.
        found: u32,
    },
    /// The sum is right, the contents are not.
    #[error("the span's head contradicts itself: {what}")]
    Absurd {
        /// Where.
        what: String,
    },
}

impl SpanHead {
    /// The head as bytes.
    pub fn to_bytes(&self) -> [u8; HEAD_BYTES] {
        let mut layout = Layout {
            magic: MAGIC,
            version: VERSION.into(),
            crc32c: 0.into(),
            region: *self.region.as_bytes(),
            index: self.index.into(),
            count: self.count.into(),
            start: self.range.start().into(),
            len: self.range.len().into(),
            first_block: self.first_block.into(),
            region_blocks: self.region_blocks.into(),
            created: self.created.into(),
            marks_from: self.marks_from.unwrap_or(0).into(),
            zero: [0; HEAD_BYTES - 88],
        };
        layout.crc32c = crc32c::crc32c(layout.as_bytes()).into();
        zerocopy::transmute!(layout)
    }

    /// The head that `bytes` claim to be, if they are whole.
    pub fn parse(bytes: &[u8; HEAD_BYTES]) -> Result<Self, HeadError> {
        let mut layout = Layout::read_from_bytes(bytes).expect("the sizes are equal");
        let alone = layout.magic == RESTORED;
        let released = alone || layout.magic == RELEASED;
        if layout.magic != MAGIC && !released {
            return Err(HeadError::NotOurs { found: layout.magic });
        }
        layout.magic = MAGIC;
        let found = layout.crc32c.get();
        layout.crc32c = 0.into();
        let expected = crc32c::crc32c(layout.as_bytes());
        if found != expected {
            return Err(HeadError::Damaged { expected, found });
        }
        if layout.version != VERSION {
            return Err(HeadError::Version { found: layout.version.get() });
        }
        let absurd = |what: String| HeadError::Absurd { what };
        let range = PhysRange::from_len(layout.start.get(), layout.len.get())
            .map_err(|e| absurd(e.to_string()))?;
        let head = Self {
            region: Uuid::from_bytes(layout.region),
            index: layout.index.get(),
            count: layout.count.get(),
            range,
            first_block: layout.first_block.get(),
            region_blocks: layout.region_blocks.get(),
            created: layout.created.get(),
            marks_from: Some(layout.marks_from.get()).filter(|&from| from > 0),
        };
        if head.index >= head.count || head.count > MOST_SPANS {
            return Err(absurd(format!("span {} of {}", head.index, head.count)));
        }
        if head.region_blocks > ADDRESS_LIMIT / PAGE_SIZE {
            return Err(absurd(format!("a region of {} blocks", head.region_blocks)));
        }
        if head.marks_from.is_some_and(|from| {
            from >= head.region_blocks || head.count != 1 || head.region_blocks != range.pages()
        }) {
            return Err(absurd(format!(
                "a reserved region of {} blocks in {} spans, with marks from block {:?} on",
                head.region_blocks, head.count, head.marks_from
            )));
        }
        let end = head.first_block.checked_add(range.len() / PAGE_SIZE);
        if end.is_none_or(|end| end > head.region_blocks)
            || (head.index == 0) != (head.first_block == 0)
        {
            return Err(absurd(format!(
                "span {} has {} blocks from block {} on, the region has {}",
                head.index,
                range.len() / PAGE_SIZE,
                head.first_block,
                head.region_blocks
            )));
        }
        if released { Err(HeadError::Released { alone, head }) } else { Ok(head) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head() -> SpanHead {
        SpanHead {
            region: Uuid::from_u128(7),
            index: 1,
            count: 2,
            range: PhysRange::new(0x4000_0000, 0x5000_0000).unwrap(),
            first_block: 1024,
            region_blocks: 1024 + 0x10000,
            created: 1_700_000_000,
            marks_from: None,
        }
    }

    fn reserved() -> SpanHead {
        let range = PhysRange::new(0x4000_0000, 0x5000_0000).unwrap();
        let (index, count, first_block) = (0, 1, 0);
        let (region_blocks, marks_from) = (range.pages(), Some(99));
        SpanHead { index, count, range, first_block, region_blocks, marks_from, ..head() }
    }

    #[test]
    fn reads_what_it_writes() {
        assert_eq!(SpanHead::parse(&head().to_bytes()), Ok(head()));
        assert_eq!(SpanHead::parse(&reserved().to_bytes()), Ok(reserved()));
        assert!(matches!(SpanHead::parse(&[0; HEAD_BYTES]), Err(HeadError::NotOurs { .. })));
    }

    #[test]
    fn a_released_head_still_says_what_it_was() {
        let mut bytes = head().to_bytes();
        bytes[..8].copy_from_slice(&RELEASED);
        let released = |alone| Err(HeadError::Released { alone, head: head() });
        assert_eq!(SpanHead::parse(&bytes), released(false));
        bytes[..8].copy_from_slice(&RESTORED);
        assert_eq!(SpanHead::parse(&bytes), released(true));
        // Half of a mark is none, nor is a mark on something else.
        bytes[7] = MAGIC[7];
        assert!(matches!(SpanHead::parse(&bytes), Err(HeadError::NotOurs { .. })));
        bytes[..8].copy_from_slice(&RELEASED);
        bytes[40] ^= 1;
        assert!(matches!(SpanHead::parse(&bytes), Err(HeadError::Damaged { .. })));
    }

    #[test]
    fn refuses_contradictions() {
        for bad in [
            SpanHead { index: 2, ..head() },
            SpanHead { region_blocks: 2000, ..head() },
            SpanHead { first_block: u64::MAX, ..head() },
            SpanHead { index: 0, ..head() },
            SpanHead { count: u32::MAX, ..head() },
            SpanHead { region_blocks: 1 << 52, ..head() },
            SpanHead { marks_from: Some(99), ..head() },
            SpanHead { marks_from: Some(1 << 16), ..reserved() },
            SpanHead { region_blocks: 1 << 40, ..reserved() },
        ] {
            assert!(matches!(SpanHead::parse(&bad.to_bytes()), Err(HeadError::Absurd { .. })));
        }
    }

    proptest! {
        #[test]
        fn finds_every_flipped_bit(bit in 0..HEAD_BYTES * 8) {
            let mut bytes = head().to_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(SpanHead::parse(&bytes).is_err());
        }
    }
}
