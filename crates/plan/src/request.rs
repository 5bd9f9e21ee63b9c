//! What a plan is asked for.

use crate::{GIANT, GRANULE, PlanError};
use physmem::{FrameSet, MemoryMap, PAGE_SIZE, PhysRange, RangeSet};

/// First address that may be kept or used: real-mode trampoline, BIOS data and the decompressor's
/// 5-level switch live below (`arch/x86/boot/compressed/pgtable_64.c`).
pub const LOW_LIMIT: u64 = 1 << 20;

/// Where 32-bit addresses end: swiotlb, 32-bit DMA and `boot_params` must lie below.
pub const FOUR_GIB: u64 = 1 << 32;

/// More RAM than 4-level paging maps directly is refused (46 bits,
/// `Documentation/arch/x86/x86_64/mm.rst`).
pub(crate) const RAM_LIMIT: u64 = 1 << 46;

/// What the next kernel's image asks for; from its setup header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelNeeds {
    /// Bytes from the load address on that it uses before it knows the memory map (`init_size`).
    pub init_size: u64,
    /// What its load address must be a multiple of: a power of two (`kernel_alignment`).
    pub alignment: u64,
    /// The lowest load address (16 MiB on x86-64: `LOAD_PHYSICAL_ADDR`).
    pub min_addr: u64,
    /// Whether it may be loaded above 4 GiB (`XLF_CAN_BE_LOADED_ABOVE_4G`).
    pub can_be_above_4g: bool,
}

/// A NUMA node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its memory.
    pub memory: RangeSet,
    /// RAM that the next kernel is to have there, in bytes, where that can be.
    pub reserve_ram: u64,
}

/// How a region is to come back when it is copied out span by span, the last first, each given back
/// when that is done ([`Figures::copy_room`](crate::Figures::copy_room)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pieces {
    /// As is best otherwise.
    Any,
    /// With what RAM the next kernel has besides its own `needs` in bytes, where that can be.
    ToFit {
        /// What the next kernel and its programs take themselves.
        needs: u64,
    },
    /// With RAM for one part in so many of what is kept; for 1 nothing is cut.
    Parts(u64),
}

/// All that decides a plan. Lengths are in bytes and are rounded up to whole pages.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The map that the next kernel would get without us. Its `Pram` entries are regions of
    /// earlier generations: they stay as they are.
    pub map: &'a MemoryMap,
    /// The page frames to keep, all in RAM. Those below [`LOW_LIMIT`] always move.
    pub keep: &'a FrameSet,
    /// The part of `keep` that must not move.
    pub fixed: &'a FrameSet,
    /// Kept huge pages of 2 MiB, in whole units. A unit is moved as a whole, to a place of the same
    /// alignment, and four bytes of other pages are rather moved than one of these.
    pub huge: &'a RangeSet,
    /// Kept huge pages of 1 GiB, in whole units. They move, as a whole, only where there is no plan
    /// otherwise.
    pub giant: &'a RangeSet,
    /// Never used for anything new, e.g. poisoned pages.
    pub avoid: &'a RangeSet,
    /// NUMA nodes; none where there is but one. No span crosses from one to another.
    pub nodes: &'a [Node],
    /// The next kernel.
    pub kernel: KernelNeeds,
    /// Length of the initrd; 0 for none.
    pub initrd_bytes: u64,
    /// The highest address that a byte of the initrd may have.
    pub initrd_max_addr: u64,
    /// `boot_params`, command line and setup data together; placed below 4 GiB.
    pub boot_block_bytes: u64,
    /// Upper bound of the mover segment's length.
    pub mover_bytes: u64,
    /// Upper bound of the region filesystem's metadata, at the head of the first span.
    pub head_bytes: u64,
    /// Upper bound of what the caller will stage in pinned pages. As far as it lies in spans no
    /// page can be moved there, so room is left for it.
    pub staged_bytes: u64,
    /// RAM that the next kernel must have in total, its own image included.
    pub reserve_ram: u64,
    /// One run of RAM below 4 GiB that the next kernel must have besides its image and initrd:
    /// swiotlb takes 64 MiB in one piece (`kernel/dma/swiotlb.c: IO_TLB_DEFAULT_SIZE`). 0 where
    /// the machine has no such run to give.
    pub low_ram: u64,
    /// Bytes in a memory block, what can be handed back at a time: 128 MiB to 2 GiB.
    pub memory_block: u64,
    /// How many spans there may be.
    pub max_spans: usize,
    /// How many bytes more of waste are as bad as one span more.
    pub span_price: u64,
    /// How the region is to come back.
    pub pieces: Pieces,
    /// How many e820 entries the next kernel's map may have.
    pub max_entries: usize,
    /// How many bytes of spans are worth one byte that need not move; at least 1. `u64::MAX`:
    /// nothing moves while `reserve_ram` allows it.
    pub stay_price: u64,
    /// Picks the kernel's window among equally good ones.
    pub seed: u64,
}

impl Request<'_> {
    /// Refuses what makes no sense, so that all later arithmetic holds.
    pub(crate) fn check(&self) -> Result<(), PlanError> {
        let wrong = |field, value, wanted| Err(PlanError::Request { field, value, wanted });
        let k = &self.kernel;
        if !k.alignment.is_power_of_two() || !(PAGE_SIZE..=1 << 30).contains(&k.alignment) {
            return wrong("kernel.alignment", k.alignment, "a power of two, 4 KiB to 1 GiB");
        }
        if !self.memory_block.is_power_of_two() || !(GRANULE..=1 << 40).contains(&self.memory_block)
        {
            return wrong("memory_block", self.memory_block, "a power of two, 2 MiB to 1 TiB");
        }
        if self.stay_price == 0 {
            return wrong("stay_price", 0, "at least 1");
        }
        if self.pieces == Pieces::Parts(0) {
            return wrong("pieces", 0, "at least 1");
        }
        if self.max_spans == 0 {
            return wrong("max_spans", 0, "at least 1");
        }
        for (field, value, least) in [
            ("kernel.init_size", k.init_size, 1),
            ("boot_block_bytes", self.boot_block_bytes, 1),
            ("mover_bytes", self.mover_bytes, 1),
            ("head_bytes", self.head_bytes, 1),
            ("initrd_bytes", self.initrd_bytes, 0),
            ("staged_bytes", self.staged_bytes, 0),
            ("low_ram", self.low_ram, 0),
            ("reserve_ram", self.reserve_ram, 0),
            ("span_price", self.span_price, 0),
            ("kernel.min_addr", k.min_addr, 0),
        ] {
            if !(least..=RAM_LIMIT).contains(&value) {
                return wrong(field, value, "a length of RAM, where it is needed at least 1");
            }
        }
        let ram = self.map.ram();
        if ram.bytes() > RAM_LIMIT {
            return wrong("map", ram.bytes(), "at most 64 TiB of RAM");
        }
        if let Some(range) = ram.complement().iter().find_map(|gap| self.keep.first_overlap(gap)) {
            return Err(PlanError::NotRam { range });
        }
        if let Some(range) = self.fixed.iter().find(|&range| !self.keep.contains_range(range)) {
            return Err(PlanError::FixedNotKept { range });
        }
        for (units, size) in [(self.huge, GRANULE), (self.giant, GIANT)] {
            let whole = |r: PhysRange| r.is_aligned(size) && self.keep.contains_range(r);
            if let Some(range) = units.iter().find(|&range| !whole(range)) {
                return Err(PlanError::NoUnits { range, size });
            }
        }
        let mut all = RangeSet::new();
        for node in self.nodes {
            if let Some(range) = all.intersect(&node.memory).iter().next() {
                return Err(PlanError::TwoNodes { range });
            }
            all = all.union(&node.memory);
        }
        Ok(())
    }
}
