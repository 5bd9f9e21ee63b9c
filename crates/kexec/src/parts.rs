//! Parts of files, read as one: a section of a unified kernel image, or several initrds.
//!
//! ```text
//! file A [ part ]  ─► part, zeros to a multiple of 4, part, …
//! file B [ part ]
//! ```
//!
//! A `newc` archive begins at a multiple of 4, and zeros may stand between two of them
//! (`Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// What the start of a part is a multiple of, in bytes.
const ALIGN: u64 = 4;

/// Some bytes of a file, and where they are to be found in the whole.
#[derive(Debug)]
struct Part {
    file: File,
    range: Range<u64>,
    at: u64,
}

impl Part {
    const fn end(&self) -> u64 {
        self.at + (self.range.end - self.range.start)
    }
}

/// Parts of files in their order.
#[derive(Debug, Default)]
pub struct Parts(Vec<Part>);

impl Parts {
    /// Adds a part of `file`, bytes `range`.
    pub fn push(&mut self, file: File, range: Range<u64>) {
        let at = self.len().next_multiple_of(ALIGN);
        self.0.push(Part { file, range, at });
    }

    /// Adds a whole file.
    ///
    /// # Errors
    /// Its length cannot be told.
    pub fn push_whole(&mut self, file: File) -> io::Result<()> {
        let len = file.metadata()?.len();
        self.push(file, 0..len);
        Ok(())
    }

    /// How many bytes they are together.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.last().map_or(0, Part::end)
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads them from the start.
    #[must_use]
    pub const fn reader(&self) -> Reader<'_> {
        Reader { parts: self, at: 0 }
    }

    /// All as one file: the file itself where there is one that is whole, else a copy in memory.
    ///
    /// # Errors
    /// A file cannot be read, or memory is short.
    pub fn to_file(&self) -> io::Result<File> {
        if let [Part { file, range, .. }] = &self.0[..]
            && range.start == 0
            && range.end == file.metadata()?.len()
        {
            return file.try_clone();
        }
        let copy = rustix::fs::memfd_create("pkram-next", rustix::fs::MemfdFlags::CLOEXEC)?;
        let mut copy = File::from(copy);
        io::copy(&mut self.reader(), &mut copy)?;
        Ok(copy)
    }
}

/// Reads [`Parts`]. A file that has become shorter is an error.
#[derive(Debug)]
pub struct Reader<'a> {
    parts: &'a Parts,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(part) = self.parts.0.iter().find(|part| self.at < part.end()) else {
            return Ok(0);
        };
        let here = if self.at < part.at { part.at } else { part.end() } - self.at;
        let count = into.len().min(usize::try_from(here).unwrap_or(usize::MAX));
        let into = &mut into[..count];
        let read = if self.at < part.at {
            into.fill(0);
            count
        } else {
            part.file.read_at(into, part.range.start + (self.at - part.at))?
        };
        if read == 0 && count > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn parts_begin_at_multiples_of_four() {
        let mut parts = Parts::default();
        assert!(parts.is_empty());
        parts.push(file(b"0123456789"), 3..8);
        parts.push(file(b"nothing"), 2..2);
        parts.push_whole(file(b"abc")).unwrap();
        let mut read = Vec::new();
        parts.reader().read_to_end(&mut read).unwrap();
        assert_eq!(read, b"34567\0\0\0abc");
        assert_eq!(parts.len(), 11);
        let copy = parts.to_file().unwrap();
        let mut copied = [0; 11];
        copy.read_exact_at(&mut copied, 0).unwrap();
        assert_eq!(&copied[..], read);
        assert_eq!(copy.metadata().unwrap().len(), 11);
    }

    #[test]
    fn a_whole_file_is_not_copied() {
        use std::os::unix::fs::MetadataExt;
        let whole = file(b"whole");
        let inode = whole.metadata().unwrap().ino();
        let mut parts = Parts::default();
        parts.push_whole(whole).unwrap();
        assert_eq!(parts.to_file().unwrap().metadata().unwrap().ino(), inode);
    }

    #[test]
    fn a_file_that_shrinks_is_an_error() {
        let shrinks = file(b"0123456789");
        let mut parts = Parts::default();
        parts.push_whole(shrinks.try_clone().unwrap()).unwrap();
        shrinks.set_len(4).unwrap();
        let error = parts.reader().read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
