//! The one unsafe corner: memory that is looked at and filled from outside of Rust's rules.

#![expect(unsafe_code, reason = "mmap and SysV memory have no safe form")]

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::ptr::{copy_nonoverlapping, null, null_mut, read_volatile};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A shared mapping of a whole file.
pub(crate) struct Mapping {
    base: *mut c_void,
    length: usize,
    writable: bool,
}

impl Mapping {
    /// A mapping to look at.
    pub(crate) fn new(file: &File, length: usize) -> io::Result<Self> {
        Self::with(file, length, false)
    }

    /// A mapping to fill.
    pub(crate) fn writable(file: &File, length: usize) -> io::Result<Self> {
        Self::with(file, length, true)
    }

    fn with(file: &File, length: usize, writable: bool) -> io::Result<Self> {
        let write = if writable { ProtFlags::WRITE } else { ProtFlags::empty() };
        let protection = ProtFlags::READ | write;
        // SAFETY: a null hint with no MAP_FIXED lets the kernel choose an address, so no existing
        // mapping is touched; `file` is open for the whole call.
        let base = unsafe { mmap(null_mut(), length, protection, MapFlags::SHARED, file, 0) }?;
        Ok(Self { base, length, writable })
    }

    pub(crate) fn address(&self) -> usize {
        self.base.addr()
    }

    /// Makes the page that holds this byte present.
    pub(crate) fn touch(&self, offset: usize) {
        assert!(offset < self.length, "{offset} is beyond the mapping's {} bytes", self.length);
        // SAFETY: inside the one allocated object that the mapping is, by the assertion.
        let byte = unsafe { self.base.cast::<u8>().add(offset) };
        // SAFETY: the mapping is readable and lives as long as `self`; a `u8` has no alignment and
        // no invalid value. The value is dropped, so it does not matter who else writes to it. A
        // file truncated meanwhile gives SIGBUS, which ends this test tool and harms nothing.
        unsafe { read_volatile(byte) };
    }

    /// Puts bytes there.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(self.writable && offset + bytes.len() <= self.length, "beyond the mapping");
        // SAFETY: inside the one allocated object that the mapping is, by the assertion.
        let to = unsafe { self.base.cast::<u8>().add(offset) };
        // SAFETY: `to` is valid and writable for these bytes by the assertion, and no reference
        // into the mapping is ever given out, so `bytes` lies elsewhere.
        unsafe { copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }
}

/// Makes a SysV segment, fills it and returns its identifier.
pub(crate) fn make_segment(key: i32, bytes: &[u8], huge: bool) -> io::Result<i32> {
    let flags = libc::IPC_CREAT | libc::IPC_EXCL | 0o640;
    let flags = if huge { flags | libc::SHM_HUGETLB } else { flags };
    // SAFETY: takes integers only.
    let id = unsafe { libc::shmget(key, bytes.len(), flags) };
    if id < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a null hint without SHM_REMAP replaces no existing mapping.
    let base = unsafe { libc::shmat(id, null(), 0) };
    if base.addr() == usize::MAX {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the segment was just attached, writable and at least as long as `bytes`, which lie
    // in Rust's own memory.
    unsafe { copy_nonoverlapping(bytes.as_ptr(), base.cast(), bytes.len()) };
    // SAFETY: the address is that of the attachment; nothing points into it any more.
    unsafe { libc::shmdt(base) };
    Ok(id)
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `base` and `length` are those of a successful mmap, unmapped nowhere else, and
        // no reference into the mapping is ever given out.
        let _ = unsafe { munmap(self.base, self.length) };
    }
}
