//! Pins: pages registered as fixed buffers of an io_uring.

use super::map::FileMap;
use io_uring::IoUring;
use std::fmt;
use std::io;

/// Most buffers that one ring registers (`IORING_MAX_REG_BUFFERS`, `io_uring/rsrc.c`).
pub(crate) const BUFFERS_PER_RING: u32 = 1 << 14;

/// Most bytes that one buffer may have before Linux 7 (`SZ_1G` in `io_buffer_validate`,
/// `io_uring/rsrc.c`).
pub(crate) const BYTES_PER_BUFFER: u64 = 1 << 30;

/// Pins on page frames: a ring in whose buffer table they are registered. Dropping it unpins.
pub(crate) struct Pins {
    ring: IoUring,
    used: u32,
}

impl fmt::Debug for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pins({})", self.used)
    }
}

impl Pins {
    /// A ring with an empty buffer table.
    pub(crate) fn new() -> io::Result<Self> {
        let ring = IoUring::new(1)?;
        ring.submitter().register_buffers_sparse(BUFFERS_PER_RING)?;
        Ok(Self { ring, used: 0 })
    }

    /// How many more buffers there is room for.
    pub(crate) fn room(&self) -> u32 {
        BUFFERS_PER_RING - self.used
    }

    /// Pins every page of a part (offset, length) of `map`: long-term and for writing
    /// (`pin_user_pages(FOLL_WRITE | FOLL_LONGTERM)`, `io_uring/rsrc.c`), which faults swapped
    /// pages in, allocates holes, and first moves pages out of movable zones. The pins outlive
    /// the mapping.
    pub(crate) fn pin(&mut self, map: &FileMap, (offset, len): (u64, u64)) -> io::Result<()> {
        // One a call: of several, the kernel reports no error if the first went well.
        let buffers = [map.iovec(offset, len)];
        // SAFETY: the buffer is part of a live mapping of ours. The kernel keeps its own
        // references to the pages, so the mapping may go before the ring; no I/O is ever submitted
        // on it, so nothing is read from or written to the buffer.
        unsafe { self.ring.submitter().register_buffers_update(self.used, &buffers, None) }?;
        self.used += 1;
        Ok(())
    }
}
