//! The one unsafe corner: a file in memory, for its page frames to be looked up.

#![expect(unsafe_code, reason = "mmap has no safe form")]

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::ptr::{null_mut, read_volatile};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A shared, read-only mapping of a whole file.
pub(crate) struct Mapping {
    base: *mut c_void,
    length: usize,
}

impl Mapping {
    pub(crate) fn new(file: &File, length: usize) -> io::Result<Self> {
        // SAFETY: a null hint with no MAP_FIXED lets the kernel choose an address, so no existing
        // mapping is touched; `file` is open for the whole call.
        let base = unsafe { mmap(null_mut(), length, ProtFlags::READ, MapFlags::SHARED, file, 0) }?;
        Ok(Self { base, length })
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
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `base` and `length` are those of a successful mmap, unmapped nowhere else, and
        // no reference into the mapping is ever given out.
        let _ = unsafe { munmap(self.base, self.length) };
    }
}
