//! Huge pages in a census.

use super::Census;
use physmem::{FrameSet, PAGE_SIZE, PhysRange, RangeSet};

impl Census {
    /// The page frames of these files.
    pub(crate) fn frames_of(&self, files: impl Iterator<Item = usize>) -> FrameSet {
        let extents = files.filter_map(|i| self.files.get(i)).flat_map(|file| &file.extents);
        extents.filter_map(|e| PhysRange::from_pfn(e.pfn, e.len).ok()).collect()
    }

    /// The memory of files whose pages have so many bytes.
    pub(crate) fn pages_of(&self, size: u64) -> RangeSet {
        let files = self.files.iter().filter(|file| file.page == size);
        let extents = files.flat_map(|file| &file.extents);
        extents.filter_map(|e| PhysRange::from_pfn(e.pfn, e.len).ok()).collect()
    }

    /// The units of `size` bytes that lie in one piece and as aligned in memory as in their file:
    /// there DAX maps huge pages, whatever the file consisted of.
    pub(crate) fn huge_units(&self, size: u64) -> RangeSet {
        let extents = self.files.iter().flat_map(|file| &file.extents);
        let aligned = extents.filter(|e| (e.page ^ e.pfn).is_multiple_of(size / PAGE_SIZE));
        let memory = aligned.filter_map(|e| PhysRange::from_pfn(e.pfn, e.len).ok());
        memory.filter_map(|range| range.align_inward(size)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FileCensus, PageExtent};
    use super::*;

    const HUGE: u64 = 2 << 20;

    #[test]
    fn huge_units_are_aligned_in_memory_as_in_the_file() {
        let file = |page, extents: &[(u64, u64, u64)]| {
            let extents = extents.iter().map(|&(page, pfn, len)| PageExtent { page, pfn, len });
            FileCensus { page, extents: extents.collect(), ..FileCensus::default() }
        };
        let small = file(4096, &[(512, 5120, 1500), (3000, 9217, 1024), (7, 512 * 40 + 7, 600)]);
        let census = Census { files: vec![small, file(HUGE, &[(0, 512 * 60, 512)])] };
        let range = |pfn, pages| PhysRange::from_pfn(pfn, pages).unwrap();
        let units = [range(5120, 1024), range(512 * 60, 512)];
        assert_eq!(census.huge_units(HUGE), units.into_iter().collect());
        assert_eq!(census.pages_of(HUGE), RangeSet::from(range(512 * 60, 512)));
    }
}
