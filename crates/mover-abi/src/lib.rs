//! What the loader tells the mover, and what the mover leaves behind.
//!
//! The mover is one flat binary, loaded as the only kexec segment. Everything it needs is in
//! memory when it starts:
//!
//! ```text
//! mover segment (contiguous, chosen by the planner)      anywhere in pinned memory, ascending
//! +0        code, Params at PARAMS_OFFSET, stack         list page ──► list page ──► … ──► 0
//! +BLOB     identity page tables over all memory          each: next, crc, count, 170 moves
//!           that the mover touches
//! ```
//!
//! Moves are done in list order, in three phases: preserved pages to their new places, the region
//! filesystem's metadata, then the next kernel with its initrd and boot parameters. The loader
//! promises, and has checked, that no move writes what a later move still reads.
//!
//! | level of trust | type | how one gets it |
//! |---|---|---|
//! | alleged | `[u8; N]` | found in memory |
//! | well-formed | [`Params`], [`ListPage`] | `from_bytes`: magic, version, CRC-32C, count |
//! | ours | [`check::List`] | [`check::params`], then [`check::List::check`]: every address |
//!
//! The mover runs the same checks as the tests of this crate: there is one implementation. All
//! numbers are little-endian; all addresses are physical.

#![no_std]
#![forbid(unsafe_code)]

mod bytes;
pub mod check;
mod crc32c;
mod damage;
mod list;
mod params;
mod timeline;

pub use crc32c::crc32c;
pub use damage::{Damage, Fault, Place, hex};
pub use list::{ListPage, MOVES_PER_PAGE, Move, PageBytes};
pub use params::{MAGIC, PARAMS_OFFSET, Params, Phase, VERSION};
pub use timeline::Timeline;

/// Bytes in a page; every address and length in a [`Move`] is a multiple of it.
pub const PAGE: u64 = 4096;

/// One past the highest physical address that x86-64 can express: 52 bits (Intel SDM vol. 3A
/// §4.1.4, MAXPHYADDR at most 52).
pub const ADDRESS_LIMIT: u64 = 1 << 52;
