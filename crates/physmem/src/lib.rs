//! Page frames, physical ranges, sets of both, and the e820 memory map.
//!
//! Everything here is plain values and pure functions: no I/O, no unsafe code. All arithmetic on
//! physical addresses is checked once, where a [`PhysRange`] is made; after that a range is known
//! to be non-empty and to lie below [`ADDRESS_LIMIT`].

#![forbid(unsafe_code)]

mod e820;
mod firmware;
mod frames;
mod iomem;
mod range;
mod set;

pub use e820::{E820Entry, E820Type, MemoryMap};
pub use firmware::FirmwareError;
pub use frames::{Cursor, FrameSet};
pub use iomem::{IomemError, IomemResource, parse_iomem};
pub use range::{
    ADDRESS_LIMIT, PAGE_BYTES, PAGE_SHIFT, PAGE_SIZE, PhysRange, RangeError, page_align_up,
};
pub use set::RangeSet;
