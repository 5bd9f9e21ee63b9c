//! The only unsafe code of this crate: shared file mappings, their pins, and the time stamp counter.

use io_uring::IoUring;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use std::ffi::c_void;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

/// Most buffers that one ring registers (`IORING_MAX_REG_BUFFERS`, `io_uring/rsrc.c`).
pub(crate) const BUFFERS_PER_RING: usize = 1 << 14;

/// Most bytes that one buffer may have before Linux 7 (`SZ_1G` in `io_buffer_validate`,
/// `io_uring/rsrc.c`).
pub(crate) const BYTES_PER_BUFFER: u64 = 1 << 30;

/// A part of a file mapped shared and writable, unmapped on drop.
#[derive(Debug)]
pub(crate) struct FileMap {
    start: NonNull<c_void>,
    len: usize,
}

impl FileMap {
    /// Maps `len` bytes of `file` from `offset` on; both are multiples of the page size.
    pub(crate) fn new(file: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<Self> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        // SAFETY: a null hint without MAP_FIXED replaces no existing mapping, so no memory that
        // Rust knows of changes.
        let start = unsafe {
            mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                file,
                offset,
            )
        }?;
        let start = NonNull::new(start).ok_or_else(|| io::Error::other("mmap returned null"))?;
        Ok(Self { start, len })
    }

    /// The address that `/proc/self/pagemap` is asked about.
    pub(crate) fn address(&self) -> u64 {
        self.start.addr().get() as u64
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len as u64
    }

    /// Faults every page in for reading, without making it dirty.
    pub(crate) fn populate(&self) -> io::Result<()> {
        // SAFETY: the range is one live mapping of ours, and populating changes no content.
        unsafe { madvise(self.start.as_ptr(), self.len, Advice::LinuxPopulateRead) }?;
        Ok(())
    }

    /// Writes `bytes` at `offset`.
    ///
    /// # Panics
    ///
    /// Where the bytes do not fit into the mapping.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) {
        let offset = usize::try_from(offset).expect("an offset into memory is a usize");
        let end = offset.checked_add(bytes.len());
        assert!(end.is_some_and(|end| end <= self.len), "write past the end of a mapping");
        // SAFETY: offset + len lies in the mapping (asserted), so the pointer stays inside one
        // allocation.
        let to = unsafe { self.start.cast::<u8>().add(offset) };
        // SAFETY: `to` is valid for `bytes.len()` bytes (asserted) and writable (PROT_WRITE). No
        // Rust reference to the mapping is ever made, so there is no aliasing `&` or `&mut`; the
        // source is a Rust slice, which cannot lie in this mapping.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.as_ptr(), bytes.len()) };
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

/// Pins on page frames: a ring in whose buffer table they are registered. Dropping it unpins.
pub(crate) struct Pins {
    _ring: IoUring,
}

impl std::fmt::Debug for Pins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pins")
    }
}

impl Pins {
    /// Pins every page of `maps`: long-term and for writing
    /// (`pin_user_pages(FOLL_WRITE | FOLL_LONGTERM)`, `io_uring/rsrc.c`), which faults swapped
    /// pages in, allocates holes, and first moves pages out of movable zones. The pins outlive
    /// the mappings.
    pub(crate) fn new(maps: &[FileMap]) -> io::Result<Self> {
        let ring = IoUring::new(1)?;
        let buffers: Vec<_> = maps
            .iter()
            .map(|m| libc::iovec { iov_base: m.start.as_ptr(), iov_len: m.len })
            .collect();
        // SAFETY: each buffer is a live mapping of ours. The kernel keeps its own references to
        // the pages, so the mappings may go before the ring; no I/O is ever submitted on it, so
        // nothing is read from or written to the buffers.
        unsafe { ring.submitter().register_buffers(&buffers) }?;
        Ok(Self { _ring: ring })
    }
}

/// The time stamp counter, which keeps counting across kexec.
pub fn tsc() -> u64 {
    // SAFETY: RDTSC is part of every x86-64 CPU, and Linux leaves CR4.TSD clear unless the process
    // asked for it with prctl(PR_SET_TSC).
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// One device-mapper ioctl (`include/uapi/linux/dm-ioctl.h`): `buffer` begins with a `struct
/// dm_ioctl` whose `data_size` is the buffer's length.
pub(crate) fn dm_ioctl(control: BorrowedFd<'_>, command: u8, buffer: &mut [u8]) -> io::Result<()> {
    const STRUCT_DM_IOCTL: u64 = 312;
    /// Where `data_size` lies in the struct.
    const DATA_SIZE: std::ops::Range<usize> = 12..16;
    let claimed = buffer.get(DATA_SIZE).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    let fits = claimed.is_some_and(|size| size as usize == buffer.len());
    assert!(fits && buffer.len() as u64 >= STRUCT_DM_IOCTL, "no struct dm_ioctl");
    // _IOWR(0xfd, command, struct dm_ioctl), `include/uapi/asm-generic/ioctl.h`.
    let request = 3 << 30 | STRUCT_DM_IOCTL << 16 | 0xfd << 8 | u64::from(command);
    // SAFETY: the kernel reads and writes at most `data_size` bytes at the pointer, which is the
    // length of the exclusively borrowed buffer (asserted above).
    let done = unsafe {
        libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&control), request, buffer.as_mut_ptr())
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
