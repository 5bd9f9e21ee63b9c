//! From page frames to region blocks, after the moves.

use crate::census::FileCensus;
use physmem::PAGE_SIZE;
use plan::{Layout, MoveRun};
use regionfs::FileExtent;

/// Where preserved pages will lie once the mover is done.
pub(super) struct Places<'a> {
    layout: &'a Layout,
    /// By source address.
    moves: Vec<MoveRun>,
}

impl<'a> Places<'a> {
    pub(super) fn new(layout: &'a Layout, moves: &[MoveRun]) -> Self {
        let mut moves = moves.to_vec();
        moves.sort_unstable();
        Self { layout, moves }
    }

    /// The file's extents in region blocks. `None` if a page lies in no span, which the planner
    /// rules out.
    pub(super) fn extents(&self, file: &FileCensus) -> Option<Vec<FileExtent>> {
        let mut extents: Vec<FileExtent> = Vec::with_capacity(file.extents.len());
        for e in &file.extents {
            let (mut page, mut addr) = (e.page, e.pfn * PAGE_SIZE);
            let end = addr + e.len * PAGE_SIZE;
            while addr < end {
                let (to, until) = self.after(addr);
                let block = self.layout.region_block_of(to)?;
                // A run ends with its extent, its move, or its span.
                let span = self.layout.spans.iter().find(|s| s.contains(to))?;
                let len = until.min(end).min(addr + (span.end() - to)) - addr;
                push(&mut extents, FileExtent { logical: page, block, len: len / PAGE_SIZE });
                page += len / PAGE_SIZE;
                addr += len;
            }
        }
        Some(extents)
    }

    /// Where the byte at `addr` goes, and up to which address the same move (or none) holds.
    fn after(&self, addr: u64) -> (u64, u64) {
        let i = self.moves.partition_point(|m| m.from + m.len <= addr);
        match self.moves.get(i) {
            Some(m) if m.from <= addr => (m.to + (addr - m.from), m.from + m.len),
            Some(m) => (addr, m.from),
            None => (addr, u64::MAX),
        }
    }
}

fn push(extents: &mut Vec<FileExtent>, next: FileExtent) {
    match extents.last_mut() {
        Some(last)
            if last.logical + last.len == next.logical && last.block + last.len == next.block =>
        {
            last.len += next.len;
        }
        _ => extents.push(next),
    }
}
