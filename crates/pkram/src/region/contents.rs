//! What a region carries, read without mounting it.

use super::device::open_fresh;
use super::discover::Region;
use crate::manifest::Manifest;
use physmem::PAGE_SIZE;
use regionfs::read::{Filesystem, Problem, ReadAt, ReadError};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A manifest longer than this is none.
const MANIFEST_MAX: u64 = 64 << 20;

/// Why contents cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// A device or image cannot be opened.
    #[error("{path}: {source}", path = .path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The filesystem.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The manifest is there, but cannot be understood.
    #[error(".pkram/manifest.json: {0}")]
    Manifest(#[from] serde_json::Error),
    /// Too long to be one.
    #[error(".pkram/manifest.json has {0} bytes, expected at most {MANIFEST_MAX}")]
    ManifestSize(u64),
}

/// The spans of a region, or an image, one after the other.
#[derive(Debug)]
pub struct Bytes {
    /// Each with the offset at which it ends.
    parts: Vec<(u64, File)>,
    /// The end of what was read furthest behind.
    furthest: AtomicU64,
}

impl Bytes {
    fn new(parts: Vec<(u64, File)>) -> Self {
        Self { parts, furthest: AtomicU64::new(0) }
    }

    /// The end of what was read furthest behind, in bytes from the region's start.
    pub(crate) fn furthest(&self) -> u64 {
        self.furthest.load(Relaxed)
    }
}

impl ReadAt for Bytes {
    fn read_at(&self, mut offset: u64, mut buf: &mut [u8]) -> io::Result<()> {
        self.furthest.fetch_max(offset + buf.len() as u64, Relaxed);
        while !buf.is_empty() {
            let i = self.parts.partition_point(|(end, _)| *end <= offset);
            let (end, file) = self.parts.get(i).ok_or(io::ErrorKind::UnexpectedEof)?;
            let start = i.checked_sub(1).map_or(0, |before| self.parts[before].0);
            let here = usize::try_from(end - offset).unwrap_or(usize::MAX).min(buf.len());
            let (now, later) = buf.split_at_mut(here);
            file.read_exact_at(now, offset - start)?;
            offset += here as u64;
            buf = later;
        }
        Ok(())
    }
}

/// The filesystem of a region whose spans are all there.
pub fn open(region: &Region) -> Result<Filesystem<Bytes>, ContentsError> {
    let mut parts = Vec::new();
    let mut end = 0;
    for span in &region.spans {
        end += span.head.range.len();
        let path = span.device.block.clone().unwrap_or_default();
        parts.push((end, open_file(&path)?));
    }
    Ok(Filesystem::open(Bytes::new(parts), end / PAGE_SIZE)?)
}

/// The filesystem of a region whose last spans were given back already: reading there fails.
pub(crate) fn open_rest(region: &Region) -> Result<Filesystem<Bytes>, ContentsError> {
    let mut parts = Vec::new();
    let (mut end, mut blocks) = (0, 0);
    for span in &region.spans {
        end += span.head.range.len();
        blocks = span.head.region_blocks;
        parts.push((end, open_file(&span.device.block.clone().unwrap_or_default())?));
    }
    Ok(Filesystem::open(Bytes::new(parts), blocks)?)
}

/// The filesystem in an image or on a device of `bytes` bytes.
pub fn open_image(path: &Path, bytes: u64) -> Result<Filesystem<Bytes>, ContentsError> {
    let parts = vec![(bytes, open_file(path)?)];
    Ok(Filesystem::open(Bytes::new(parts), bytes / PAGE_SIZE)?)
}

/// The region's manifest, if it has one.
pub fn manifest(fs: &Filesystem<Bytes>) -> Result<Option<Manifest>, ContentsError> {
    let inode = match fs.lookup(b".pkram/manifest.json") {
        Err(ReadError::NotFound { .. }) => return Ok(None),
        other => other?,
    };
    if inode.size > MANIFEST_MAX {
        return Err(ContentsError::ManifestSize(inode.size));
    }
    let file = fs.file(&inode)?;
    let mut json = vec![0; usize::try_from(file.size()).unwrap_or(usize::MAX)];
    fs.read_file(&file, 0, &mut json)?;
    Ok(Some(serde_json::from_slice(&json)?))
}

/// Everything that is wrong with a region's metadata; empty if it is whole.
pub fn verify(region: &Region) -> Result<Vec<Problem>, ContentsError> {
    let fs = match open(region) {
        Err(ContentsError::Read(ReadError::Damaged(problem))) => return Ok(vec![problem]),
        other => other?,
    };
    let mut problems = fs.verify()?;
    let (found, blocks) = (fs.superblock(), region.bytes() / PAGE_SIZE);
    if found.uuid != region.uuid || found.blocks != blocks {
        problems.push(Problem {
            place: "the superblock".to_owned(),
            expected: format!("region {} with {blocks} blocks, as the heads say", region.uuid),
            found: format!("{} with {} blocks", found.uuid, found.blocks),
        });
    }
    Ok(problems)
}

fn open_file(path: &Path) -> Result<File, ContentsError> {
    open_fresh(path).map_err(|source| ContentsError::Open { path: path.to_owned(), source })
}
