//! Where everything goes in one kexec: spans, moves, kernel placement.
//!
//! Given the page frames to keep, the memory map and the next kernel's needs, [`lay_out`] decides,
//! in this order of importance, so that
//!
//! 1. the next kernel gets its window, initrd, parameters, and the RAM that it must have;
//! 2. as few bytes as possible are moved;
//! 3. there are at most as many spans as asked for;
//! 4. little of a span is waste.
//!
//! Then the caller stages what the mover will need in pages of its choice, and [`assign()`] gives
//! each page that must move a place that nothing else has.
//!
//! ```text
//! memory   |##  # |      | # #  |      |######|##  ##| #    |      |      |######|   #  kept
//!          |                                                                     |
//! lay_out  |[ span 0           ]        [ span 1    ]  ‖     window  ‖     [ s2 ]|   [ ] granule
//!           ▲head                                     displaced                      ‖ free RAM
//! assign      ◄────────────────────────────────────────┘
//! ```
//!
//! The mover works when all old memory but the kept and staged pages is dead, and puts the next
//! kernel into place last. So the window, the initrd and the head may lie on kept pages; those
//! then move out of the way first. Only the mover segment may not.
//!
//! # What costs what
//!
//! A span is made of whole 2 MiB [granules](GRANULE). Covering a granule keeps its pages in place
//! and takes it from the next kernel's RAM; two covered granules with a gap between them are two
//! spans, or one with the gap as waste.
//!
//! | to have | is worth | limited by |
//! |---|---|---|
//! | a byte in place | [`stay_price`](Request::stay_price) bytes of waste | the next kernel's RAM, of each node as far as can be |
//! | a byte of a huge page in place | [`HUGE_PRICE`] times as much | |
//! | one span less | [`span_price`](Request::span_price) bytes of waste | `max_spans`, `max_entries` |
//! | a byte that can be given back while running | a byte of waste | spare RAM |
//!
//! Huge pages move as a whole, to *berths* as aligned as they are (`units.rs`). No span crosses from
//! one NUMA node to another (`nodes.rs`). A region can be cut into pieces that come back one after the
//! other (`pieces.rs`, `blocks.rs`).
//!
//! Small machines are planned exactly: spans and parts together, equal to an exhaustive search
//! (`joint.rs`, `tests/oracle.rs`). Larger ones get their spans first (`cover.rs`, `runs.rs`) and
//! the parts one by one (`place.rs`), which moves about 2 % more where both ways were compared.
//!
//! Page frames are bits, and plans are made of granules: time and memory are near-linear in the
//! size of memory, however its pages are scattered (`cargo xtask bench plan`).

#![forbid(unsafe_code)]

mod assign;
mod blocks;
mod cover;
mod error;
mod ground;
mod joint;
mod lay_out;
mod layout;
mod nodes;
mod pieces;
mod place;
mod request;
mod rng;
mod runs;
mod stretch;
pub mod synthetic;
mod tidy;
mod units;
mod walk;
mod wish;

pub use assign::{MoveRun, assign};
pub use error::{Part, PlanError};
pub use lay_out::lay_out;
pub use layout::{Figures, Layout};
pub use request::{FOUR_GIB, KernelNeeds, LOW_LIMIT, Node, Pieces, Request};

/// What spans are made of: the alignment of a DAX namespace in bytes
/// (`memremap_compat_align()`, `drivers/nvdimm/namespace_devs.c`).
pub const GRANULE: u64 = 2 << 20;

/// How many other pages are rather moved than a page of a huge page: huge pages are what guests and
/// databases live on and devices reach, and a free place for one is hard to find.
pub const HUGE_PRICE: u64 = 4;

/// Bytes in the largest huge page.
pub(crate) const GIANT: u64 = 1 << 30;

/// Bytes at the start of every span but the first that belong to its own head (DESIGN §6).
pub const SPAN_HEAD_BYTES: u64 = 8 << 10;
