//! What the planner is asked for: prices, limits, and what may not be torn apart.

use super::costs::default_reserve;
use super::draw::Work;
use super::options::{Options, SaveError};
use crate::census::Census;
use crate::machine::{self, MachineError};
use crate::nodes::Save;
use kexec::e820::{IN_ZERO_PAGE, LIMIT};
use physmem::{ADDRESS_LIMIT, FrameSet, MemoryMap, PAGE_SIZE, RangeSet};
use plan::{GRANULE, KernelNeeds, Layout, Node, Pieces, Request, lay_out};

/// How much memory outside the next kernel's RAM it is worth to leave a page where it is: a copy
/// costs a tenth of a nanosecond a byte, once; memory in a span is missing until it is released.
const STAY_PRICE: u64 = 32;

/// How much of memory it is worth to have one span less: 1/2048, and at least half
/// of a memory block, which is what cannot be given back at an end of a span on average.
/// A span costs two entries of the memory map, and some milliseconds of every boot for its device.
/// A generation has at most 31 spans ([`max_spans`]), so that closing gaps for their sake wastes at
/// most 1.5 % of memory.
const SPAN_SHARE: u64 = 2048;

/// RAM below 4 GiB that the next kernel finds in one piece: swiotlb's 64 MiB and as much again for
/// 32-bit devices (`kernel/dma/swiotlb.c: IO_TLB_DEFAULT_SIZE`).
const LOW_RAM: u64 = 128 << 20;

/// The share of a node's RAM that the next kernel is to have there: the struct pages of the node's
/// spans (64 bytes of 4096, `include/linux/mm_types.h`), and some for itself.
const NODE_SHARE: u64 = 50;

/// The larger huge page of x86-64 (`PUD_SIZE`), in bytes.
const GIANT: u64 = 1 << 30;

/// What does not depend on how large the metadata is.
#[derive(Debug)]
pub(super) struct Terms {
    memory_block: u64,
    nodes: Vec<Node>,
    fixed: FrameSet,
    pieces: Option<u64>,
    huge: RangeSet,
    giant: RangeSet,
}

impl Terms {
    /// Pages of hugetlbfs stay where they are, unless they may move; what is to stay in place does
    /// in any case.
    pub(super) fn read(
        map: &MemoryMap,
        save: &Save,
        census: &Census,
        options: &Options,
    ) -> Result<Self, MachineError> {
        let memory_block = machine::memory_block()?;
        let ram = map.ram();
        let node = |memory: RangeSet| {
            let reserve_ram = memory.intersect(&ram).bytes() / NODE_SHARE;
            Node { memory, reserve_ram }
        };
        let nodes = machine::nodes(memory_block)?;
        let nodes = if nodes.len() < 2 { Vec::new() } else { nodes };
        let giant = census.pages_of(GIANT);
        let movable = census.pages_of(GRANULE).union(&giant);
        let mut fixed = census.frames_of(save.in_place());
        if !options.move_huge {
            fixed.extend(movable.iter());
        }
        Ok(Self {
            memory_block,
            nodes: nodes.into_iter().map(node).collect(),
            fixed,
            pieces: options.pieces,
            huge: census.huge_units(GRANULE).subtract(&giant),
            giant,
        })
    }
}

/// How many spans there may be in a memory map that has some entries and takes so many. A span
/// amid RAM takes two; and a generation takes no more than half of what is left, so that there are
/// some for later ones.
fn max_spans(entries: usize, max_entries: usize) -> usize {
    (max_entries.saturating_sub(entries) / 4).max(1)
}

impl Work<'_> {
    /// Plans within the entries that later kexecs by any program hand on, else with as many as the
    /// kernel takes: only pkram hands those on (`setup_e820_entries()`,
    /// `arch/x86/kernel/kexec-bzimage64.c`). Where the first span begins with pages that must stay,
    /// there may be no place before them for more than the metadata.
    pub(super) fn lay_out(&self, head_blocks: u64, staged_bytes: u64) -> Result<Layout, SaveError> {
        let head_bytes = head_blocks * PAGE_SIZE;
        let attempt = |slack, max_entries| {
            lay_out(&self.request(head_bytes + slack, staged_bytes, max_entries))
        };
        let plan = |slack| {
            attempt(slack, IN_ZERO_PAGE).or_else(|error| attempt(slack, LIMIT).map_err(|_| error))
        };
        Ok(plan(slack(self.keep.bytes())).or_else(|error| plan(0).map_err(|_| error))?)
    }

    fn request(&self, head_bytes: u64, staged_bytes: u64, max_entries: usize) -> Request<'_> {
        static NO_RANGES: RangeSet = RangeSet::new();
        let ram = self.map.ram().bytes();
        let reserve = || default_reserve(self.next, self.kernel, self.map);
        let to_fit = || Pieces::ToFit { needs: reserve() };
        Request {
            map: self.map,
            keep: self.keep,
            fixed: &self.terms.fixed,
            huge: &self.terms.huge,
            giant: &self.terms.giant,
            avoid: &NO_RANGES,
            nodes: &self.terms.nodes,
            kernel: KernelNeeds {
                init_size: self.kernel.init_size(),
                alignment: self.kernel.kernel_alignment(),
                min_addr: self.kernel.pref_address(),
                can_be_above_4g: true,
            },
            initrd_bytes: self.next.initrd_len(),
            initrd_max_addr: ADDRESS_LIMIT - 1,
            boot_block_bytes: self.boot.bound(),
            mover_bytes: self.mover_bytes,
            head_bytes,
            staged_bytes,
            reserve_ram: self.options.reserve_ram.unwrap_or_else(reserve),
            low_ram: LOW_RAM.min(ram / 8),
            memory_block: self.terms.memory_block,
            max_spans: max_spans(self.map.entries().len(), max_entries),
            max_entries,
            span_price: (ram / SPAN_SHARE).max(self.terms.memory_block / 2),
            pieces: self.terms.pieces.map_or_else(to_fit, Pieces::Parts),
            stay_price: STAY_PRICE,
            seed: self.seed,
        }
    }
}

/// Room behind the metadata, in bytes: free blocks, so that the mounted region can be written to.
fn slack(kept: u64) -> u64 {
    (4 << 20) + (kept / 100).next_multiple_of(PAGE_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_leaves_entries_to_later_ones() {
        assert_eq!(max_spans(4, IN_ZERO_PAGE), 31);
        assert_eq!(max_spans(4 + 62, IN_ZERO_PAGE), 15);
        assert_eq!(max_spans(200, IN_ZERO_PAGE), 1);
        assert_eq!(max_spans(200, LIMIT), 750);
    }
}
