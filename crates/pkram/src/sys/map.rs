//! Shared file mappings.

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use std::ffi::c_void;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// What a mapping lets its owner do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read only: all that a write-sealed memfd and a program that runs allow.
    Read,
    /// Read and write, which pins need.
    Write,
}

/// A part of a file mapped shared, unmapped on drop.
#[derive(Debug)]
pub(crate) struct FileMap {
    start: NonNull<c_void>,
    len: usize,
    access: Access,
}

// SAFETY: the mapping is not tied to the thread that made it.
unsafe impl Send for FileMap {}

// SAFETY: through a shared reference only system calls and atomics reach the mapping, and `write`,
// whose bytes nothing in this process reads.
unsafe impl Sync for FileMap {}

impl FileMap {
    /// Maps `len` bytes of `file` from `offset` on; both are multiples of the file's page size.
    pub(crate) fn new(
        file: BorrowedFd<'_>,
        offset: u64,
        len: u64,
        access: Access,
    ) -> io::Result<Self> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let protection = match access {
            Access::Read => ProtFlags::READ,
            Access::Write => ProtFlags::READ | ProtFlags::WRITE,
        };
        // Without it hugetlbfs sets pages aside for holes, and keeps them so.
        let flags = MapFlags::SHARED | MapFlags::NORESERVE;
        // SAFETY: a null hint without MAP_FIXED replaces no existing mapping, so no memory that
        // Rust knows of changes.
        let start = unsafe { mmap(std::ptr::null_mut(), len, protection, flags, file, offset) }?;
        let start = NonNull::new(start).ok_or_else(|| io::Error::other("mmap returned null"))?;
        Ok(Self { start, len, access })
    }

    /// The address that `/proc/self/pagemap` is asked about.
    pub(crate) fn address(&self) -> u64 {
        self.start.addr().get() as u64
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len as u64
    }

    /// Whether it can be written to.
    pub(crate) fn access(&self) -> Access {
        self.access
    }

    /// Faults the pages of a part in for reading, without making them dirty.
    ///
    /// # Panics
    ///
    /// Where the part is not in the mapping.
    pub(crate) fn populate(&self, offset: u64, len: u64) -> io::Result<()> {
        let part = self.iovec(offset, len);
        // SAFETY: the range is part of one live mapping of ours (asserted in `iovec`), and
        // populating changes no content.
        unsafe { madvise(part.iov_base, part.iov_len, Advice::LinuxPopulateRead) }?;
        Ok(())
    }

    /// A part of the mapping, for system calls that take pages.
    ///
    /// # Panics
    ///
    /// Where the part is not in the mapping.
    pub(super) fn iovec(&self, offset: u64, len: u64) -> libc::iovec {
        let (start, len) = self.part(offset, len);
        libc::iovec { iov_base: start.as_ptr(), iov_len: len }
    }

    /// Reads from `file` at `at` into a part of the mapping. What is read past the end of the file
    /// stays as it was.
    ///
    /// # Panics
    ///
    /// Where the part is not in the mapping, or it is for reading only.
    pub(crate) fn read_from(
        &self,
        file: BorrowedFd<'_>,
        mut at: u64,
        mut offset: u64,
        mut len: u64,
    ) -> io::Result<()> {
        assert_eq!(self.access, Access::Write, "read into a mapping for reading");
        while len > 0 {
            let part = self.iovec(offset, len);
            let position = i64::try_from(at).map_err(io::Error::other)?;
            // SAFETY: the kernel writes at most `iov_len` bytes to the part, which is in the
            // mapping (asserted in `iovec`) and writable (asserted). No Rust reference but to
            // atomics exists to it.
            let got =
                unsafe { libc::pread(file.as_raw_fd(), part.iov_base, part.iov_len, position) };
            let got = u64::try_from(got).map_err(|_| io::Error::last_os_error())?;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            (at, offset, len) = (at + got, offset + got, len - got);
        }
        Ok(())
    }

    /// The whole mapping as words that others may change at any time.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        let words = self.start.cast::<AtomicU64>();
        // SAFETY: the mapping begins on a page, so it is aligned for u64, it is readable for
        // `len` bytes as long as self lives, and every bit pattern is a u64. Whatever others do to
        // the memory meanwhile, atomics allow; `write` is for mappings whose words nobody asks for.
        unsafe { std::slice::from_raw_parts(words.as_ptr(), self.len / size_of::<AtomicU64>()) }
    }

    /// Writes `bytes` at `offset`.
    ///
    /// # Panics
    ///
    /// Where the bytes do not fit into the mapping, or it is for reading only.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) {
        assert_eq!(self.access, Access::Write, "write to a mapping for reading");
        let (to, _) = self.part(offset, bytes.len() as u64);
        // SAFETY: `to` is valid for `bytes.len()` bytes (asserted in `part`) and writable
        // (asserted). No Rust reference but to atomics is ever made to a mapping, so there is no
        // aliasing `&` or `&mut`; the source is a Rust slice, which cannot lie in this mapping.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.cast().as_ptr(), bytes.len()) };
    }

    fn part(&self, offset: u64, len: u64) -> (NonNull<c_void>, usize) {
        let (offset, len) = (usize::try_from(offset), usize::try_from(len));
        let (Ok(offset), Ok(len)) = (offset, len) else { panic!("a part past any memory") };
        let end = offset.checked_add(len);
        assert!(end.is_some_and(|end| end <= self.len), "a part past the end of a mapping");
        // SAFETY: offset + len lies in the mapping (asserted), so the pointer stays inside one
        // allocation.
        (unsafe { self.start.byte_add(offset) }, len)
    }
}

impl Drop for FileMap {
    fn drop(&mut self) {
        // SAFETY: start and len are those of the mapping made in `new`, and nothing that borrows
        // from it outlives self.
        let gone = unsafe { munmap(self.start.as_ptr(), self.len) };
        debug_assert!(gone.is_ok());
    }
}
