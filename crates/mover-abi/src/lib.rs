//! What the loader tells the mover, and what the mover leaves behind.
//!
//! The mover is one flat binary, loaded as the only kexec segment. Everything it needs is in
//! memory when it starts:
//!
//! ```text
//! mover segment (contiguous, chosen by the planner)      anywhere in pinned memory
//! +0        code, Params at PARAMS_OFFSET, stack         list page ──► list page ──► … ──► 0
//! +BLOB     identity page tables over all memory          each: next, crc, count, 170 moves
//!           that the moves touch
//! ```
//!
//! Moves are done in list order, in three phases: preserved pages to their new places, the region
//! filesystem's metadata, then the next kernel with its initrd and boot parameters. The loader
//! promises, and has checked, that no move writes what a later move still reads, nor any list
//! page, nor the mover segment.
//!
//! All numbers are little-endian; all addresses are physical and multiples of [`PAGE`].

#![no_std]
#![forbid(unsafe_code)]

use core::mem::{offset_of, size_of};

/// Bytes in a page; every address and length in a [`Move`] is a multiple of it.
pub const PAGE: u64 = 4096;

/// The first bytes of [`Params`].
pub const MAGIC: [u8; 8] = *b"PKRAMMOV";

/// The version of this interface. Loader and mover come from one build, so a difference means
/// damage, not age.
pub const VERSION: u32 = 1;

/// Where [`Params`] lies in the mover segment, in bytes.
pub const PARAMS_OFFSET: usize = 0x40;

/// Moves in one [`ListPage`].
pub const MOVES_PER_PAGE: usize = 170;

/// One copy: `len` bytes from physical address `from` to `to`; the two may not overlap.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Move {
    /// Where the bytes are.
    pub from: u64,
    /// Where they go.
    pub to: u64,
    /// How many.
    pub len: u64,
}

/// One page of the move list.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListPage {
    /// Physical address of the next list page, 0 in the last one.
    pub next: u64,
    /// CRC-32C of this page, computed with this field zero.
    pub crc32c: u32,
    /// How many of `moves` are used, at least 1.
    pub count: u32,
    /// The moves; those past `count` are zero.
    pub moves: [Move; MOVES_PER_PAGE],
}

/// The parameter block, at [`PARAMS_OFFSET`] in the mover segment.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: u32,
    /// CRC-32C of this block, computed with this field zero.
    pub crc32c: u32,
    /// First address of the mover segment.
    pub segment_start: u64,
    /// First address after it.
    pub segment_end: u64,
    /// The page table root to switch to: identity tables over all memory that is touched, with
    /// as many levels as the CPU uses now (5 if CR4.LA57 is set).
    pub page_table: u64,
    /// Where to go at the end: the next kernel's 64-bit entry point.
    pub entry: u64,
    /// What RSI holds then: the `boot_params` page.
    pub boot_params: u64,
    /// Where to leave the [`Timeline`] after all moves; 0 for nowhere. Not page-aligned.
    pub timeline: u64,
    /// The first list page, 0 where there are no moves.
    pub list: u64,
    /// How many list pages there are.
    pub list_pages: u64,
    /// How many moves belong to each phase, see [`Phase`].
    pub phase_moves: [u64; 3],
    /// I/O port of a 16550 UART for messages, 0 for none.
    pub serial_port: u64,
}

/// The order of the moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Phase {
    /// Preserved pages go to their new places.
    Preserved = 0,
    /// The region filesystem's metadata goes to the head of the region.
    Metadata = 1,
    /// The next kernel, its initrd and boot parameters go into place.
    Kernel = 2,
}

/// When things happened, in TSC ticks, as the mover leaves it for the next kernel.
///
/// The loader fills in `jump` by user space's clock; the mover the rest.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// The mover's first instruction.
    pub entered: u64,
    /// Parameters and list were found whole.
    pub checked: u64,
    /// Preserved pages are in their new places.
    pub moved: u64,
    /// The metadata is in its place.
    pub composed: u64,
    /// The next kernel is in its place; the jump into it follows.
    pub placed: u64,
}

const _: () = assert!(size_of::<ListPage>() == 4096);
const _: () = assert!(size_of::<Params>() == 112);
const _: () = assert!(offset_of!(Params, crc32c) == 12);
const _: () = assert!(offset_of!(ListPage, crc32c) == 8);
