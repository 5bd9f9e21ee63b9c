//! What of the next kernel's RAM is taken before any program runs.

use super::next::NextKernel;
use kexec::BzImage;
use kexec::cmdline::crashkernel;
use physmem::{E820Type, MemoryMap, PAGE_SIZE};
use plan::FOUR_GIB;
use serde::Serialize;

/// Bytes of a `struct page` (`include/linux/mm_types.h`; x86-64 without debugging options). Those of
/// a region lie in RAM as well (`memremap_pages()` without an `altmap`).
const STRUCT_PAGE: u64 = 64;

/// `IO_TLB_DEFAULT_SIZE` (`include/linux/swiotlb.h`), taken where there is memory above 4 GiB
/// (`arch/x86/kernel/pci-dma.c: pci_swiotlb_detect()`).
const SWIOTLB: u64 = 64 << 20;

/// Watermarks, per-processor areas, slabs and page tables of a system that has just booted, beside
/// the kernel's own image: so much, and one byte in so many. An upper bound of what was seen on
/// machines of 0.6 to 4.6 GiB (`cargo xtask machines`).
const SYSTEM: u64 = 24 << 20;
const SYSTEM_SHARE: u64 = 64;

/// What of the next kernel's RAM is taken before any program runs, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Costs {
    /// Text and data, and what it keeps for itself while it runs.
    pub kernel: u64,
    /// Packed and unpacked.
    pub initrd: u64,
    /// The `struct page`s of RAM and of all spans.
    pub struct_pages: u64,
    /// `crashkernel=`.
    pub crashkernel: u64,
    /// Bounce buffers.
    pub swiotlb: u64,
}

impl Costs {
    /// In a memory map, that of the next kernel.
    pub(super) fn of(next: &NextKernel, kernel: &BzImage<'_>, map: &MemoryMap) -> Self {
        let memory = map.ram().union(&map.of_type(E820Type::Pram));
        let (end, ram) = (memory.iter().last().map_or(0, |range| range.end()), map.ram().bytes());
        Self {
            kernel: kernel.init_size() + SYSTEM + ram / SYSTEM_SHARE,
            initrd: next.initrd_unpacked(),
            struct_pages: memory.bytes() / PAGE_SIZE * STRUCT_PAGE,
            crashkernel: crashkernel(&next.cmdline, ram),
            swiotlb: if end > FOUR_GIB { SWIOTLB } else { 0 },
        }
    }

    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self { kernel, initrd, struct_pages, crashkernel, swiotlb } = self;
        kernel + initrd + struct_pages + crashkernel + swiotlb
    }
}

/// What programs are to have when the user does not say, in bytes: what a small Debian system needs,
/// and one byte in so many of memory.
const PROGRAMS: u64 = 192 << 20;
const PROGRAMS_SHARE: u64 = 256;

/// RAM for the next kernel when the user does not say: what is taken before any program runs, and
/// what programs are to have, in which the packed initrd lies while it is unpacked; but at most half
/// of memory. `map` is the memory map that the next kernel would get if nothing were kept.
pub(super) fn default_reserve(next: &NextKernel, kernel: &BzImage<'_>, map: &MemoryMap) -> u64 {
    let ram = map.ram().bytes();
    let all = Costs::of(next, kernel, map);
    // What grows with the RAM that is left counts for that alone.
    let fixed = all.total() - ram / SYSTEM_SHARE;
    let programs = (PROGRAMS + ram / PROGRAMS_SHARE).max(next.initrd_len());
    let share = (fixed + programs) / (SYSTEM_SHARE - 1);
    (fixed + programs + share).min(ram / 2)
}
