//! Which pages of a mapped hugetlbfs file exist, found without making any.
//!
//! hugetlbfs has no `SEEK_HOLE`, and touching a hole fills it. `UFFDIO_CONTINUE` maps a page only if
//! the page cache has it, and says so if not (`hugetlb_mfill_atomic_pte`, `mm/hugetlb.c`).

use super::map::FileMap;
use rustix::mm::{UserfaultfdFlags, userfaultfd};
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};

/// `struct uffdio_api`, `include/uapi/linux/userfaultfd.h`.
#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

/// `struct uffdio_register`.
#[repr(C)]
struct Register {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}

/// `struct uffdio_continue`.
#[repr(C)]
struct Continue {
    start: u64,
    len: u64,
    mode: u64,
    mapped: i64,
}

const UFFD_API: u64 = 0xaa;
const UFFD_FEATURE_MINOR_HUGETLBFS: u64 = 1 << 9;
const UFFDIO_REGISTER_MODE_MINOR: u64 = 1 << 2;

/// `_IOWR(UFFDIO, number, T)`, `include/uapi/asm-generic/ioctl.h`.
const fn iowr<T>(number: u64) -> u64 {
    3 << 30 | (size_of::<T>() as u64) << 16 | UFFD_API << 8 | number
}

/// The parts (offsets in the mapping) that exist, ascending, in whole pages of `page` bytes.
pub(crate) fn resident(map: &FileMap, page: u64) -> io::Result<Vec<Range<u64>>> {
    // SAFETY: the descriptor is new, and faults of the mapping registered below are never waited
    // for: it is closed before anything touches the mapping.
    let fd = unsafe { userfaultfd(UserfaultfdFlags::CLOEXEC | UserfaultfdFlags::NONBLOCK) }?;
    let mut api = Api { api: UFFD_API, features: UFFD_FEATURE_MINOR_HUGETLBFS, ioctls: 0 };
    call(&fd, iowr::<Api>(0x3f), &mut api)?;
    let (start, len) = (map.address(), map.len());
    let mut register = Register { start, len, mode: UFFDIO_REGISTER_MODE_MINOR, ioctls: 0 };
    call(&fd, iowr::<Register>(0), &mut register)?;

    let mut found: Vec<Range<u64>> = Vec::new();
    let mut at = 0;
    while at < len {
        let mut ask = Continue { start: start + at, len: len - at, mode: 0, mapped: 0 };
        let mapped = match call(&fd, iowr::<Continue>(7), &mut ask) {
            Ok(()) => len - at,
            Err(e) => match (e.raw_os_error(), u64::try_from(ask.mapped)) {
                (Some(libc::EAGAIN), Ok(mapped)) => mapped,
                (Some(libc::EFAULT), _) => 0,
                // Mapped already, which only a page that exists can be.
                (Some(libc::EEXIST), _) => page,
                _ => return Err(e),
            },
        };
        match found.last_mut() {
            Some(last) if last.end == at => last.end = at + mapped,
            _ if mapped > 0 => found.push(at..at + mapped),
            _ => {}
        }
        at += if mapped == 0 { page } else { mapped };
    }
    Ok(found)
}

fn call<T>(fd: &OwnedFd, request: u64, argument: &mut T) -> io::Result<()> {
    // SAFETY: each request is made with `iowr::<T>` for the structure that it is given, so the
    // kernel reads and writes no more than `argument`. The mapping only gains page table entries
    // for pages that its file has anyway.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), request, std::ptr::from_mut(argument)) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
