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

/// Hash tables, slabs, page tables and per-processor areas of a system that has just booted, beside the
/// kernel's own image: so much, and one byte in so many of its RAM. An upper bound of what was seen on
/// machines of 0.6 to 4.6 GiB (`cargo xtask machines`).
const SYSTEM: u64 = 40 << 20;
const SYSTEM_SHARE: u64 = 40;

/// What a kernel with transparent huge pages keeps free in each of its zones, unless it is more than
/// a twentieth of RAM (`mm/khugepaged.c: set_recommended_min_free_kbytes()`, 11 page blocks of 2
/// MiB); programs get what lies above the high watermark, half as much again
/// (`mm/page_alloc.c: __setup_per_zone_wmarks()`).
const ZONE_FREE: u64 = 11 * (2 << 20);
const MOST_FREE: u64 = 20;

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
    /// What the kernel keeps free for itself.
    pub watermarks: u64,
}

impl Costs {
    /// In a memory map, that of the next kernel.
    pub(super) fn of(next: &NextKernel, kernel: &BzImage<'_>, map: &MemoryMap) -> Self {
        let memory = map.ram().union(&map.of_type(E820Type::Pram));
        let ram = map.ram().bytes();
        let is_high = memory.iter().last().is_some_and(|range| range.end() > FOUR_GIB);
        // DMA, DMA32, and above 4 GiB Normal.
        let zones = if is_high { 3 } else { 2 };
        Self {
            kernel: kernel.init_size() + SYSTEM + ram / SYSTEM_SHARE,
            initrd: next.initrd_unpacked(),
            struct_pages: memory.bytes() / PAGE_SIZE * STRUCT_PAGE,
            crashkernel: crashkernel(&next.cmdline, ram),
            swiotlb: if is_high { SWIOTLB } else { 0 },
            watermarks: (zones * ZONE_FREE).min(ram / MOST_FREE) * 3 / 2,
        }
    }

    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self { kernel, initrd, struct_pages, crashkernel, swiotlb, watermarks } = self;
        kernel + initrd + struct_pages + crashkernel + swiotlb + watermarks
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
    // What grows with the RAM that is left counts for that alone; with the watermarks at their most.
    let fixed = Costs::of(next, kernel, map).total() - ram / SYSTEM_SHARE;
    let programs = (PROGRAMS + ram / PROGRAMS_SHARE).max(next.initrd_len());
    let share = (fixed + programs) / (SYSTEM_SHARE - 1);
    (fixed + programs + share).min(ram / 2)
}
