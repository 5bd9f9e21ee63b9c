//! A plan's outcome: where everything goes.

use crate::MoveRun;
use physmem::{E820Type, FrameSet, MemoryMap, PAGE_SIZE, PhysRange, RangeSet};

/// Where everything goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The region's spans, ascending, both ends at 2 MiB. Two touch where one NUMA node begins behind
    /// another, and where the region is cut, 2 MiB before a memory block.
    pub spans: Vec<PhysRange>,
    /// Room for the region filesystem's metadata, at the start of the first span.
    pub head: PhysRange,
    /// `[load, load + init_size)` of the next kernel.
    pub window: PhysRange,
    /// The initrd.
    pub initrd: Option<PhysRange>,
    /// `boot_params`, command line and setup data.
    pub boot_block: PhysRange,
    /// The kexec segment. No kept page lies in it; it may lie in a span.
    pub mover: PhysRange,
    /// The run of RAM below 4 GiB that stays free for swiotlb and 32-bit DMA.
    pub low_ram: Option<PhysRange>,
    /// What came of it.
    pub figures: Figures,
    /// The addresses at which kept pages stay.
    pub(crate) stays: RangeSet,
    /// Where the huge pages go that must move, ascending by source.
    pub(crate) berths: Vec<MoveRun>,
    /// Region block number of each span's first block.
    pub(crate) first_blocks: Vec<u64>,
    /// Pages that no move may write, as the request had them.
    pub(crate) avoid: RangeSet,
}

/// What came of a plan, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Kept.
    pub kept: u64,
    /// Kept, but to be moved.
    pub displaced: u64,
    /// Neither kept nor head, and yet in spans: free blocks of the region filesystem.
    pub waste: u64,
    /// RAM that the next kernel gets.
    pub ram: u64,
    /// Of it below 4 GiB.
    pub low_ram: u64,
    /// RAM above the last span. With none, a kernel without SRAT cannot hand the last span back
    /// (`max_pfn` bounds node 0, `arch/x86/mm/numa.c: dummy_numa_init`).
    pub ram_above: u64,
    /// Whole memory blocks in spans, behind each span's first 2 MiB: what `release` hands back.
    pub returnable: u64,
    /// RAM that it takes at most, besides the spans, to copy all out span by span, the last first, and
    /// to give each back when it is copied.
    pub copy_room: u64,
}

impl Layout {
    /// The kept pages that stay where they are.
    pub fn in_place(&self, keep: &FrameSet) -> FrameSet {
        keep.intersect(&self.stays)
    }

    /// The kept pages that must move.
    pub fn displaced(&self, keep: &FrameSet) -> FrameSet {
        keep.intersect(&self.stays.complement())
    }

    /// Where huge pages move to. Nothing may be staged there.
    pub fn berths(&self) -> RangeSet {
        self.berths.iter().filter_map(|m| PhysRange::from_len(m.to, m.len).ok()).collect()
    }

    /// The next kernel's memory map: each span an entry of its own in what was RAM.
    #[must_use]
    pub fn next_map(&self, map: &MemoryMap) -> MemoryMap {
        let mut next = map.clone();
        next.overlay_all(&self.spans, E820Type::Pram);
        next
    }

    /// The region block that lies at this address: spans are concatenated, ascending.
    pub fn region_block_of(&self, phys: u64) -> Option<u64> {
        let i = self.spans.partition_point(|s| s.end() <= phys);
        let span = self.spans.get(i).filter(|s| s.contains(phys))?;
        Some(self.first_blocks.get(i)? + (phys - span.start()) / PAGE_SIZE)
    }

    /// The address of a region block.
    pub fn phys_of_block(&self, block: u64) -> Option<u64> {
        let i = self.first_blocks.partition_point(|&first| first <= block).checked_sub(1)?;
        let span = self.spans.get(i)?;
        let phys = span.start() + (block - self.first_blocks.get(i)?).checked_mul(PAGE_SIZE)?;
        span.contains(phys).then_some(phys)
    }

    /// Blocks of the region.
    pub fn region_blocks(&self) -> u64 {
        self.spans.iter().map(|s| s.pages()).sum()
    }
}

/// Region block number of each span's first block.
pub(crate) fn first_blocks(spans: &[PhysRange]) -> Vec<u64> {
    let next = |sum: &mut u64, s: &PhysRange| {
        let first = *sum;
        *sum += s.pages();
        Some(first)
    };
    spans.iter().scan(0, next).collect()
}
