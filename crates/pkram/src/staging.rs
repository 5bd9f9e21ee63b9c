//! Staging: pinned pages that carry the next kernel, its initrd and all that is new over the jump.
//!
//! The mover copies staged pages to their final places, so a staged page must not lie in such a
//! place itself: like the kernel's own loader (`kimage_alloc_page`, `kernel/kexec_core.c`) staging
//! sets aside pages that do, keeping them allocated so that they are not handed out again.

use crate::pagemap::{Frame, Pagemap};
use crate::sys::{Access, FileMap, PageRefs};
use physmem::{FrameSet, PAGE_BYTES, PAGE_SIZE, PhysRange, RangeSet};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::io;
use std::os::fd::AsFd;

/// Memory is taken in pieces of this size, so that a little too much is little.
const PIECE: u64 = 8 << 20;

/// Pinned pages with known page frames, filled from the first on.
#[derive(Debug)]
pub(crate) struct Staging {
    pieces: Vec<(FileMap, PageRefs)>,
    /// Usable pages: piece, offset in it, page frame number.
    pages: Vec<Page>,
    used: usize,
}

#[derive(Clone, Copy, Debug)]
struct Page {
    piece: usize,
    offset: u64,
    pfn: u64,
}

/// Why memory could not be staged.
#[derive(Debug, thiserror::Error)]
pub enum StagingError {
    /// Not enough free memory now.
    #[error(
        "cannot stage {need} bytes (kernel, initrd and region metadata) in this system's free \
         memory: {source}"
    )]
    Memory {
        /// Bytes to stage.
        need: u64,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Staged bytes, page by page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Staged {
    /// Page frame numbers, in the order of the bytes.
    pub(crate) pfns: Vec<u64>,
    first: usize,
}

impl Staging {
    /// Takes `bytes` of memory, none of it in `forbidden`.
    pub(crate) fn new(bytes: u64, forbidden: &RangeSet) -> Result<Self, StagingError> {
        let mut staging = Self { pieces: Vec::new(), pages: Vec::new(), used: 0 };
        let error = |source| StagingError::Memory { need: bytes, source };
        while (staging.pages.len() as u64) < bytes.div_ceil(PAGE_SIZE) {
            let missing = bytes - staging.pages.len() as u64 * PAGE_SIZE;
            let piece = missing.next_multiple_of(PAGE_SIZE).min(PIECE);
            staging.grow(piece, forbidden).map_err(error)?;
        }
        Ok(staging)
    }

    /// The page frames that staged bytes lie in or may come to lie in.
    pub(crate) fn frames(&self) -> FrameSet {
        self.pages.iter().filter_map(|p| PhysRange::from_pfn(p.pfn, 1).ok()).collect()
    }

    /// Stages `bytes`, the last page filled up with zeros.
    ///
    /// # Errors
    ///
    /// Where less memory was taken than is now asked for.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<Staged, StagingError> {
        let staged = self.reserve(bytes.len().div_ceil(PAGE_BYTES))?;
        for (i, page) in bytes.chunks(PAGE_BYTES).enumerate() {
            self.write_page(&staged, i, page);
        }
        Ok(staged)
    }

    /// Takes the next `count` pages, to be filled with [`Staging::write_page`].
    pub(crate) fn reserve(&mut self, count: usize) -> Result<Staged, StagingError> {
        let pages = self.used.checked_add(count).and_then(|end| self.pages.get(self.used..end));
        let pages = pages.ok_or_else(|| StagingError::Memory {
            need: (self.used as u64 + count as u64) * PAGE_SIZE,
            source: io::Error::other("more is to be staged than was planned"),
        })?;
        let staged = Staged { pfns: pages.iter().map(|p| p.pfn).collect(), first: self.used };
        self.used += count;
        Ok(staged)
    }

    /// Writes `bytes`, at most a page, at the start of page `index` of `staged`.
    pub(crate) fn write_page(&self, staged: &Staged, index: usize, bytes: &[u8]) {
        self.write_at(staged, index, 0, bytes);
    }

    /// Writes `bytes` at `offset` in page `index` of `staged`, within the page.
    pub(crate) fn write_at(&self, staged: &Staged, index: usize, offset: u64, bytes: &[u8]) {
        assert!(offset + bytes.len() as u64 <= PAGE_SIZE, "write past the end of a staged page");
        let page = self.pages[staged.first + index];
        self.pieces[page.piece].0.write(page.offset + offset, bytes);
    }

    fn grow(&mut self, bytes: u64, forbidden: &RangeSet) -> io::Result<()> {
        let file = memfd_create("pkram-staging", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, bytes)?;
        let map = FileMap::new(file.as_fd(), 0, bytes, Access::Write)?;
        map.populate(0, bytes)?;
        let mut refs = PageRefs::default();
        refs.hold(&map, 0, bytes)?;
        let (piece, mut offset) = (self.pieces.len(), 0);
        let mut lost = false;
        Pagemap::open()?.read(map.address(), map.len(), PAGE_SIZE, |frame| {
            match frame {
                Frame::Present(pfn) if !forbidden.contains(pfn * PAGE_SIZE) => {
                    self.pages.push(Page { piece, offset, pfn });
                }
                Frame::Present(_) => {}
                Frame::Absent => lost = true,
            }
            offset += PAGE_SIZE;
        })?;
        if lost {
            return Err(io::Error::other("a page that is held is not mapped"));
        }
        self.pieces.push((map, refs));
        Ok(())
    }
}
