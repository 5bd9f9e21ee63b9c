//! Why there is no plan.

use physmem::{PhysRange, RangeSet};
use std::fmt;

/// Something that needs a place of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `[load, load + init_size)` of the next kernel.
    Window,
    /// The initrd.
    Initrd,
    /// `boot_params`, command line, setup data.
    BootBlock,
    /// The mover segment.
    Mover,
    /// The RAM below 4 GiB for swiotlb and 32-bit DMA.
    LowRam,
    /// The region filesystem's metadata.
    Head,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Window => "the next kernel",
            Self::Initrd => "the initrd",
            Self::BootBlock => "the boot parameters",
            Self::Mover => "the mover",
            Self::LowRam => "the next kernel's RAM below 4 GiB",
            Self::Head => "the region's metadata",
        })
    }
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A number in the request is out of bounds.
    #[error("plan request: {field} is {value:#x}, expected {wanted}")]
    Request {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: u64,
        /// What it may hold.
        wanted: &'static str,
    },
    /// Only RAM can be kept.
    #[error("{range} is to be kept, but is not RAM in the memory map")]
    NotRam {
        /// Pages that RAM has not all of.
        range: PhysRange,
    },
    /// The in-place pages are a part of the kept ones.
    #[error("{range} must not move, but is not among the pages to keep")]
    FixedNotKept {
        /// The part that is not kept.
        range: PhysRange,
    },
    /// Huge pages are kept whole.
    #[error("{range} is to be kept as huge pages of {size} bytes, but is not made of whole ones")]
    NoUnits {
        /// The range.
        range: PhysRange,
        /// Bytes in a huge page.
        size: u64,
    },
    /// A node's memory is its own.
    #[error("{range} is said to be memory of two NUMA nodes")]
    TwoNodes {
        /// The part that both have.
        range: PhysRange,
    },
    /// In-place pages lie where no span can be, or where the next kernel must be.
    #[error(
        "in-place memory would have to move: {} bytes in {} ranges, the first is {}",
        ranges.bytes(), ranges.count(),
        ranges.iter().next().map_or_else(String::new, |r| r.to_string())
    )]
    FixedMustMove {
        /// The pages.
        ranges: RangeSet,
    },
    /// Kept pages, heads and the next kernel's RAM are more than there is.
    #[error(
        "too little memory: kept pages and what belongs to them need {needed} bytes in spans, \
         {available} can be had beside the next kernel's RAM; {} bytes are missing", needed.saturating_sub(*available)
    )]
    TooLittleRam {
        /// Bytes that spans must have.
        needed: u64,
        /// Bytes that spans can have.
        available: u64,
    },
    /// A part fits nowhere.
    #[error(
        "no place for {part}: {len} bytes in one piece are needed below {below:#x}, \
         the largest piece that may be used has {largest}"
    )]
    NoPlace {
        /// What.
        part: Part,
        /// Its length in bytes.
        len: u64,
        /// Where it must end.
        below: u64,
        /// The largest piece in bytes.
        largest: u64,
    },
    /// In-place pages lie too far apart.
    #[error("at least {needed} spans are needed, at most {max} are allowed")]
    TooManySpans {
        /// Spans needed.
        needed: usize,
        /// Spans allowed.
        max: usize,
    },
    /// The region does not come back in small enough pieces.
    #[error(
        "however the region is cut, {least} bytes of RAM are needed to copy it out and give it back \
         piece by piece, not {room}: only whole memory blocks of {block} bytes come back"
    )]
    NoPieces {
        /// The least that was found.
        least: u64,
        /// What was asked for.
        room: u64,
        /// Bytes in a memory block.
        block: u64,
    },
    /// There is no free place that a huge page could move to.
    #[error(
        "huge pages would have to move, but {missing} bytes of them find no free place of their \
         alignment"
    )]
    NoBerth {
        /// Bytes without a place.
        missing: u64,
    },
    /// The memory map would be too long.
    #[error("the next kernel's memory map would have {needed} entries, at most {max} fit")]
    TooManyEntries {
        /// Entries needed.
        needed: usize,
        /// Entries allowed.
        max: usize,
    },
    /// More is staged in spans than the request said.
    #[error("{missing} bytes find no free page in the spans: too much is staged there")]
    NoDestination {
        /// Bytes without a destination.
        missing: u64,
    },
}

impl PlanError {
    /// What would make a plan possible, where that is known.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::FixedMustMove { .. } => {
                Some("let it move (--move-huge for hugetlbfs), or lower --reserve-ram")
            }
            Self::TooLittleRam { .. } | Self::NoBerth { .. } => {
                Some("keep less, or lower --reserve-ram")
            }
            Self::NoPlace { .. } => Some("keep less below 4 GiB, or free some memory"),
            Self::TooManySpans { .. } | Self::TooManyEntries { .. } => {
                Some("release regions that are no longer needed (`pkram list`), or lower --pieces")
            }
            Self::NoPieces { .. } => Some("lower --pieces, keep less, or lower --reserve-ram"),
            Self::NotRam { .. }
            | Self::Request { .. }
            | Self::FixedNotKept { .. }
            | Self::NoUnits { .. }
            | Self::TwoNodes { .. }
            | Self::NoDestination { .. } => None,
        }
    }
}
