//! Data: from the spans' devices into the files that were made, on all processors.

use super::error::io_at;
use super::tree::{Place, Trees};
use super::{Fs, RestoreError, pages, segment};
use crate::filesystem::kind_of;
use crate::nodes::memory::file_at;
use crate::progress::Progress;
use crate::region::Region;
use crate::sys::{Access, Attached, FileMap};
use crate::workers::{each, processors};
use physmem::PAGE_SIZE;
use rustix::fs::{Mode, OFlags, open};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// What one thread copies at a time, in bytes: a multiple of the huge page size.
const PIECE: u64 = 8 << 20;

/// A part of a file that lies in one piece in one span.
#[derive(Clone, Copy, Debug)]
struct Piece {
    file: usize,
    /// Where in the file, in bytes.
    offset: u64,
    /// Where in the span, in bytes.
    at: u64,
    /// Bytes, a multiple of the page size.
    len: u64,
}

/// All data of a restore, by span.
pub(super) struct Copying<'a> {
    trees: &'a Trees,
    progress: &'a dyn Progress,
    devices: Vec<PathBuf>,
    spans: Vec<Vec<Piece>>,
    sizes: Vec<u64>,
}

impl<'a> Copying<'a> {
    pub(super) fn new(
        region: &Region,
        fs: &Fs,
        trees: &'a Trees,
        progress: &'a dyn Progress,
    ) -> Result<Self, RestoreError> {
        let mut spans = vec![Vec::new(); region.spans.len()];
        let mut sizes = Vec::with_capacity(trees.files.len());
        for (file, restored) in trees.files.iter().enumerate() {
            let inode = fs.inode(restored.inode)?;
            sizes.push(inode.size);
            for mapped in fs.extents(&inode)?.into_iter().filter(|m| m.written) {
                let extent = mapped.extent;
                // Blocks past the end of the file are room, not data.
                let end = (extent.logical + extent.len).min(pages(inode.size));
                let (mut page, mut block) = (extent.logical, extent.block);
                while page < end {
                    let i = region.spans.partition_point(|s| s.head.first_block <= block);
                    let Some(i) = i.checked_sub(1) else { break };
                    let head = &region.spans[i].head;
                    let inside = block - head.first_block;
                    let Some(room) = head.range.pages().checked_sub(inside).filter(|r| *r > 0)
                    else {
                        // In a span that was copied and given back.
                        break;
                    };
                    let offset = page * PAGE_SIZE;
                    let most = (PIECE - offset % PIECE) / PAGE_SIZE;
                    let len = (end - page).min(room).min(most);
                    let (at, bytes) = (inside * PAGE_SIZE, len * PAGE_SIZE);
                    spans[i].push(Piece { file, offset, at, len: bytes });
                    (page, block) = (page + len, block + len);
                }
            }
        }
        let device = |s: &crate::region::Span| s.device.block.clone().unwrap_or_default();
        let devices = region.spans.iter().map(device).collect();
        progress.begin("restore", spans.iter().flatten().map(|p: &Piece| p.len).sum());
        Ok(Self { trees, progress, devices, spans, sizes })
    }

    /// How much there is to copy in one span.
    pub(super) fn bytes_in(&self, index: usize) -> u64 {
        self.spans[index].iter().map(|p| p.len).sum()
    }

    /// How much memory an earlier run's copies have already.
    pub(super) fn bytes_there(&self) -> Result<u64, RestoreError> {
        let (mut blocks, mut segments) = (0, Vec::new());
        for file in &self.trees.files {
            match &file.place {
                Place::Path(path) => blocks += rustix::fs::stat(path).map_or(0, |s| s.st_blocks),
                Place::Segment(id) => segments.push(*id),
            }
        }
        Ok(u64::try_from(blocks).unwrap_or(0) * 512 + segment::bytes_there(&segments)?)
    }

    /// Copies what lies in one span; returns how much that was.
    pub(super) fn span(&self, index: usize) -> Result<u64, RestoreError> {
        let pieces = &self.spans[index];
        let path = &self.devices[index];
        // Past the page cache, which would be a third copy.
        let flags = OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC;
        let device = open(path, flags, Mode::empty()).map_err(|e| io_at(path)(e.into()))?;
        let none = || Ok::<Option<Opened>, RestoreError>(None);
        each(pieces.len(), processors(), none, |last, i| {
            let piece = pieces[i];
            let opened = match last.take().filter(|o| o.number == piece.file) {
                Some(opened) => opened,
                None => self.open(piece.file)?,
            };
            self.copy(&device, last.insert(opened), piece)?;
            self.progress.advance(piece.len);
            Ok(())
        })?;
        // Copies on a disk must be there before the span goes; others lose no time by this.
        rustix::fs::sync();
        Ok(self.bytes_in(index))
    }

    fn copy(&self, device: &OwnedFd, to: &Opened, piece: Piece) -> Result<(), RestoreError> {
        let full = |source| RestoreError::Full {
            path: self.path(piece.file),
            offset: piece.offset,
            bytes: piece.len,
            source,
        };
        // Mappings of huge pages begin and end on them.
        let start = piece.offset / to.page * to.page;
        let end = (piece.offset + piece.len).next_multiple_of(to.page);
        let map = FileMap::new(to.file.as_fd(), start, end - start, Access::Write).map_err(full)?;
        let inside = piece.offset - start;
        map.read_from(device.as_fd(), piece.at, inside, piece.len).map_err(full)?;
        // What lies behind the end of the file in its last page is nobody's.
        let size = self.sizes[piece.file];
        if let Some(behind) = (piece.offset + piece.len).checked_sub(size).filter(|b| *b > 0) {
            let zeros = vec![0; usize::try_from(behind).unwrap_or(0)];
            map.write(size - start, &zeros);
        }
        Ok(())
    }

    fn open(&self, number: usize) -> Result<Opened, RestoreError> {
        let path = self.path(number);
        let opened = match &self.trees.files[number].place {
            Place::Path(path) => {
                let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = open(path, flags, Mode::empty()).map_err(io::Error::from);
                file.and_then(|file| Ok((kind_of(&file)?.page(), file)))
            }
            Place::Segment(id) => Attached::new(*id, Access::Write).and_then(|attached| {
                let (file, page) = file_at(attached.address()).map_err(io::Error::other)?;
                Ok((page, file))
            }),
        };
        let (page, file) = opened.map_err(io_at(&path))?;
        Ok(Opened { number, file, page })
    }

    fn path(&self, number: usize) -> PathBuf {
        match &self.trees.files[number].place {
            Place::Path(path) => path.clone(),
            Place::Segment(id) => PathBuf::from(format!("sysv:{id}")),
        }
    }
}

/// A file that is being filled.
struct Opened {
    number: usize,
    file: OwnedFd,
    page: u64,
}
