//! Page frame numbers of mapped pages, from `/proc/self/pagemap`.
//!
//! One little-endian u64 a page: bits 0-54 the page frame number, bit 63 present
//! (`Documentation/admin-guide/mm/pagemap.rst`). Without CAP_SYS_ADMIN the numbers read as zero.

use physmem::PAGE_SIZE;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const PRESENT: u64 = 1 << 63;
const PFN_MASK: u64 = (1 << 55) - 1;

/// Entries read at once: 64 KiB of them, 32 MiB of memory.
const BATCH: usize = 8192;

/// An open `/proc/self/pagemap`.
#[derive(Debug)]
pub(crate) struct Pagemap {
    file: File,
    buffer: Vec<u8>,
}

/// What the page table says of one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// In this page frame.
    Present(u64),
    /// Not mapped right now.
    Absent,
}

impl Pagemap {
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { file: File::open("/proc/self/pagemap")?, buffer: vec![0; BATCH * 8] })
    }

    /// Hands the frame of each page of `page` bytes in `[address, address + len)` to `each`, in
    /// order.
    pub(crate) fn read(
        &mut self,
        address: u64,
        len: u64,
        page: u64,
        mut each: impl FnMut(Frame),
    ) -> io::Result<()> {
        let (mut number, end) = (address / PAGE_SIZE, (address + len).div_ceil(PAGE_SIZE));
        let step = page / PAGE_SIZE;
        while number < end {
            // Of a huge page the first entry says it all.
            let want = if step > 1 { 1 } else { end - number };
            let bytes = usize::try_from(want * 8).unwrap_or(usize::MAX).min(self.buffer.len());
            let buffer = &mut self.buffer[..bytes];
            self.file.read_exact_at(buffer, number * 8)?;
            for entry in buffer.as_chunks().0 {
                let entry = u64::from_le_bytes(*entry);
                each(match entry & PRESENT {
                    0 => Frame::Absent,
                    _ if entry & PFN_MASK == 0 => return Err(hidden()),
                    _ => Frame::Present(entry & PFN_MASK),
                });
            }
            number += step.max(bytes as u64 / 8);
        }
        Ok(())
    }
}

fn hidden() -> io::Error {
    let why =
        "/proc/self/pagemap shows no page frame numbers: CAP_SYS_ADMIN is needed (run as root)";
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}
