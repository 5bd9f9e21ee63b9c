//! The bytes of files and the targets of symbolic links.

use super::{Filesystem, Inode, Kind, MappedExtent, Problem, ReadAt, ReadError};
use crate::layout::{BLOCK64, index};

/// A file with its extents at hand, ready to be read anywhere.
#[derive(Clone, Debug)]
pub struct FileData {
    size: u64,
    extents: Vec<MappedExtent>,
}

impl FileData {
    /// Bytes in the file.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Its extents, ascending.
    #[must_use]
    pub fn extents(&self) -> &[MappedExtent] {
        &self.extents
    }

    /// Where file block `logical` has its data, or else up to which file block there is a hole.
    pub(super) fn find(&self, logical: u64) -> Result<(u64, u64), u64> {
        let at = self.extents.partition_point(|m| m.extent.logical + m.extent.len <= logical);
        match self.extents.get(at) {
            None => Err(u64::MAX),
            Some(m) if logical < m.extent.logical => Err(m.extent.logical),
            Some(m) if !m.written => Err(m.extent.logical + m.extent.len),
            Some(m) => {
                let skipped = logical - m.extent.logical;
                Ok((m.extent.block + skipped, m.extent.len - skipped))
            }
        }
    }
}

impl<R: ReadAt> Filesystem<R> {
    /// Reads the extents of a regular file.
    ///
    /// # Errors
    /// A damaged extent tree; an inode that is no file.
    pub fn file(&self, inode: &Inode) -> Result<FileData, ReadError> {
        if inode.kind != Kind::File {
            return Err(ReadError::WrongKind { inode: inode.number, kind: "file" });
        }
        self.data(inode)
    }

    pub(super) fn data(&self, inode: &Inode) -> Result<FileData, ReadError> {
        Ok(FileData { size: inode.size, extents: self.extents(inode)? })
    }

    /// Fills `buf` with the file's bytes from `offset` on, holes as zeros. Answers how many bytes
    /// there were; fewer than asked for only at the file's end.
    ///
    /// # Errors
    /// The region cannot be read.
    pub fn read_file(
        &self,
        file: &FileData,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<usize, ReadError> {
        let there = file.size.saturating_sub(offset).min(buf.len() as u64);
        let mut done = 0;
        while done < there {
            let at = offset + done;
            let (logical, within) = (at / BLOCK64, at % BLOCK64);
            let run = file.find(logical);
            // Runs are shorter than 2^48 blocks, but a hole may go on for ever.
            let blocks = match run {
                Ok((_, len)) => len,
                Err(hole_end) => (hole_end - logical).min(1 << 48),
            };
            let len = (blocks * BLOCK64 - within).min(there - done);
            let part = &mut buf[index(done)..index(done + len)];
            match run {
                Ok((block, _)) => self.bytes(block * BLOCK64 + within, part)?,
                Err(_) => part.fill(0),
            }
            done += len;
        }
        Ok(index(there))
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// A target that is empty, longer than a block, or damaged; an inode that is no link.
    pub fn symlink_target(&self, inode: &Inode) -> Result<Vec<u8>, ReadError> {
        if inode.kind != Kind::Symlink {
            return Err(ReadError::WrongKind { inode: inode.number, kind: "symbolic link" });
        }
        let size = index(inode.size.min(BLOCK64));
        if size == 0 || inode.size >= BLOCK64 {
            let place = format!("symbolic link {}", inode.number);
            return Err(Problem::new(place, "a target of 1 to 4095 bytes", inode.size).into());
        }
        let target = if inode.has_extents() {
            let mut target = vec![0; size];
            self.read_file(&self.data(inode)?, 0, &mut target)?;
            target
        } else {
            inode.body.get(..size).unwrap_or_default().to_vec()
        };
        if target.is_empty() || target.contains(&0) {
            let place = format!("symbolic link {}", inode.number);
            return Err(Problem::new(place, format!("{size} bytes without a NUL"), "less").into());
        }
        Ok(target)
    }
}
