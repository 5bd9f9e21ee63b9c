//! Filling staging: everything new that the mover brings to its place, and the list that says so.

use super::next::NextKernel;
use crate::head::{LATER_HEAD_BLOCKS, SpanHead};
use crate::staging::{Staged, Staging, StagingError};
use kexec::moves::{ListError, gather};
use kexec::{BootBlock, Moves};
use mover_abi::Move;
use physmem::{PAGE_BYTES, PAGE_SIZE, PhysRange, RangeSet};
use plan::{Layout, MoveRun};
use regionfs::RegionImage;
use std::collections::HashMap;
use std::io;

/// How many pages to stage at most: `content` pages, and the list that moves them and as many
/// preserved pages as `displaced`.
pub(super) fn pages_bound(content: u64, displaced: u64) -> u64 {
    content + (content + displaced).div_ceil(mover_abi::MOVES_PER_PAGE as u64) + 1
}

/// The staged image: what the mover does, and where its list begins.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) moves: Moves,
    pub(super) list_pages: RangeSet,
    pub(super) list: Option<u64>,
    boot_block: Staged,
}

/// Why staging failed.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// Too little memory.
    #[error(transparent)]
    Memory(#[from] StagingError),
    /// The list.
    #[error(transparent)]
    List(#[from] ListError),
    /// The initrd is not as it was when it was opened.
    #[error("cannot read the initrd: {0}")]
    Initrd(io::Error),
    /// Composing wrote nothing or too much.
    #[error("cannot write the region's metadata: {0}")]
    Metadata(io::Error),
}

/// What goes into staging.
pub(super) struct Parts<'a> {
    pub(super) layout: &'a Layout,
    pub(super) preserved: &'a [MoveRun],
    pub(super) image: &'a RegionImage,
    pub(super) heads: &'a [SpanHead],
    pub(super) next: &'a NextKernel,
    pub(super) payload: &'a [u8],
    pub(super) boot_block: &'a BootBlock,
}

impl Parts<'_> {
    /// Writes all of it into `staging` and makes the list of moves.
    pub(super) fn stage(&self, staging: &mut Staging) -> Result<Image, StageError> {
        let preserved =
            self.preserved.iter().map(|m| Move { from: m.from, to: m.to, len: m.len }).collect();
        let metadata = self.metadata(staging)?;
        let mut kernel = Vec::new();
        kernel.extend(into_place(&staging.put(self.payload)?, self.layout.window));
        if let Some(initrd) = self.layout.initrd {
            let count = usize::try_from(self.next.initrd_len()).unwrap_or(usize::MAX);
            let staged = staging.reserve(count.div_ceil(PAGE_BYTES))?;
            let mut page = |index, bytes: &[u8]| staging.write_page(&staged, index, bytes);
            self.next.read_initrd(&mut page).map_err(StageError::Initrd)?;
            kernel.extend(into_place(&staged, initrd));
        }
        let boot_block = staging.put(&self.boot_block.bytes)?;
        kernel.extend(into_place(&boot_block, self.boot_block.range));

        let moves = Moves { preserved, metadata, kernel };
        let pages = staging.reserve(moves.list_pages())?;
        let frames: Vec<_> = pages.pfns.iter().map(|pfn| pfn * PAGE_SIZE).collect();
        let list = moves.list(&frames)?;
        let place: HashMap<_, _> = frames.iter().zip(0..).collect();
        for (address, bytes) in &list {
            staging.write_page(&pages, place[address], bytes);
        }
        let list_pages =
            frames.iter().filter_map(|&f| PhysRange::from_len(f, PAGE_SIZE).ok()).collect();
        Ok(Image { moves, list_pages, list: list.first().map(|l| l.0), boot_block })
    }

    /// The filesystem's blocks at the head of the first span, and the heads of the later ones.
    fn metadata(&self, staging: &mut Staging) -> Result<Vec<Move>, StageError> {
        let blocks = self.image.head_blocks();
        let count =
            usize::try_from(blocks).map_err(|e| StageError::Metadata(io::Error::other(e)))?;
        let staged = staging.reserve(count)?;
        let mut sink = |block: u64, bytes: &[u8; 4096]| {
            let index = usize::try_from(block).map_err(io::Error::other)?;
            if index >= count {
                return Err(io::Error::other(format!("metadata block {block} behind the head")));
            }
            staging.write_page(&staged, index, bytes);
            Ok(())
        };
        self.image.write_metadata(&mut sink).map_err(StageError::Metadata)?;
        let mut moves = into_place(&staged, self.layout.head);
        for head in self.heads.iter().skip(1) {
            let mut bytes = head.to_bytes().to_vec();
            bytes.resize(usize::try_from(LATER_HEAD_BLOCKS * PAGE_SIZE).unwrap_or(0), 0);
            moves.extend(into_place(&staging.put(&bytes)?, head.range));
        }
        Ok(moves)
    }
}

impl Image {
    /// Overwrites bytes of the staged boot block.
    pub(super) fn patch_boot_block(&self, staging: &Staging, offset: u64, bytes: &[u8]) {
        // A patch may cross a page.
        for (i, byte) in bytes.iter().enumerate() {
            let at = offset + i as u64;
            let page = usize::try_from(at / PAGE_SIZE).unwrap_or(usize::MAX);
            staging.write_at(&self.boot_block, page, at % PAGE_SIZE, &[*byte]);
        }
    }
}

fn into_place(staged: &Staged, to: PhysRange) -> Vec<Move> {
    let frames: Vec<_> = staged.pfns.iter().map(|pfn| pfn * PAGE_SIZE).collect();
    gather(&frames, to.start())
}
