//! Memory that can be kept: a shared mapping of a file.

use crate::sys::{Access, FileMap};
use rustix::fs::{MemfdFlags, OFlags, fcntl_getfl, fstat, ftruncate, memfd_create};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU64;

/// A shared mapping of a whole file: a new memfd's, which a [`Save`](crate::nodes::Save)
/// takes in place, or that of a [loaded](crate::loaded) object.
#[derive(Debug)]
pub struct Memory {
    map: FileMap,
    file: File,
}

impl Memory {
    /// New memory of zeros: a memfd of this name and so many bytes.
    ///
    /// # Errors
    /// What `memfd_create(2)`, `ftruncate(2)` and `mmap(2)` say.
    pub fn new(name: &str, bytes: u64) -> io::Result<Self> {
        let file = memfd_create(name, MemfdFlags::CLOEXEC)?;
        ftruncate(&file, bytes)?;
        Self::of(File::from(file))
    }

    /// Maps all of an open file, for reading only if that is how it was opened.
    ///
    /// # Errors
    /// What `mmap(2)` says; an empty file cannot be mapped.
    pub fn of(file: File) -> io::Result<Self> {
        let bytes = u64::try_from(fstat(&file)?.st_size).map_err(io::Error::other)?;
        let access = match fcntl_getfl(&file)? & OFlags::ACCMODE == OFlags::RDONLY {
            true => Access::Read,
            false => Access::Write,
        };
        Ok(Self { map: FileMap::new(file.as_fd(), 0, bytes, access)?, file })
    }

    /// Whether it may only be read: a store to its words would end the process with SIGSEGV.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.map.access() == Access::Read
    }

    /// Its content as words, which whoever else has the file may change at any time. What does not
    /// fill a last word is not among them.
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        self.map.words()
    }

    /// The file.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Where it is mapped.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.map.address()
    }

    /// Bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.map.len()
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
