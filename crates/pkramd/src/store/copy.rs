//! A memfd with the content of a region's file.
//!
//! Holes stay holes. Where the file was of huge pages and this kernel has none to spare, it becomes
//! an ordinary memfd: the same content, in small pages.

use super::arrive::ArriveError;
use super::record::Record;
use pkram::memory::Memory;
use rustix::fs::{
    FallocateFlags, MemfdFlags, SeekFrom, fallocate, fstat, ftruncate, memfd_create, seek,
};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

/// What is copied at once, in bytes.
const PIECE: usize = 1 << 20;

/// Memory that must be left besides a copy, in bytes: starting services need some.
const MARGIN: u64 = 32 << 20;

/// Bytes in a memfd's name: `MFD_NAME_MAX_LEN`, `mm/memfd.c`.
const MAX_NAME: usize = 249;

/// Makes the memfd.
pub(super) fn memfd(from: &File, path: &Path, record: &Record) -> Result<OwnedFd, ArriveError> {
    let wrap = |source| ArriveError::Io { path: path.to_owned(), source };
    let stat = fstat(from).map_err(|e| wrap(e.into()))?;
    let needed = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
    let available = pkram::machine::meminfo("MemAvailable").unwrap_or(u64::MAX);
    if needed.saturating_add(MARGIN) > available {
        return Err(ArriveError::NoRoom { path: path.to_owned(), needed, available });
    }
    let parts = data(from, record.size).map_err(wrap)?;
    if let Some(page) = record.huge_page
        && let Ok(file) = huge(from, &parts, record, page)
    {
        return Ok(file);
    }
    small(from, &parts, record).map_err(wrap)
}

fn small(from: &File, parts: &[Range<u64>], record: &Record) -> io::Result<OwnedFd> {
    let file = new(record, MemfdFlags::empty())?;
    ftruncate(&file, record.size)?;
    let file = File::from(file);
    each_piece(from, parts, |at, bytes| file.write_all_at(bytes, at))?;
    Ok(file.into())
}

/// Of huge pages, which `write(2)` does not reach.
fn huge(from: &File, parts: &[Range<u64>], record: &Record, page: u64) -> io::Result<OwnedFd> {
    if !page.is_power_of_two() || !record.size.is_multiple_of(page) {
        return Err(Errno::INVAL.into());
    }
    // The page size's logarithm lies above `MFD_HUGE_SHIFT`, `include/uapi/linux/memfd.h`.
    let size = MemfdFlags::from_bits_retain(page.trailing_zeros() << 26);
    let file = new(record, MemfdFlags::HUGETLB | size)?;
    ftruncate(&file, record.size)?;
    // A page that cannot be had is an error here, and would be SIGBUS below.
    for part in parts {
        let start = part.start / page * page;
        let len = part.end.next_multiple_of(page) - start;
        fallocate(&file, FallocateFlags::empty(), start, len)?;
    }
    let memory = Memory::of(File::from(file))?;
    let words = memory.words();
    each_piece(from, parts, |at, bytes| {
        let first = usize::try_from(at / 8).map_err(io::Error::other)?;
        for (word, bytes) in words[first..].iter().zip(bytes.chunks_exact(8)) {
            word.store(u64::from_ne_bytes(bytes.try_into().unwrap_or_default()), Relaxed);
        }
        Ok(())
    })?;
    Ok(memory.file().try_clone()?.into())
}

fn new(record: &Record, more: MemfdFlags) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | more;
    let name: String = record.file.chars().filter(|c| *c != '\0').collect();
    let end = (0..=MAX_NAME.min(name.len())).rev().find(|i| name.is_char_boundary(*i));
    let name = &name[..end.unwrap_or(0)];
    match memfd_create(name, flags) {
        // Where vm.memfd_noexec=2 has it so; from Linux 6.3 on.
        Err(Errno::ACCESS) => Ok(memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL)?),
        made => Ok(made?),
    }
}

/// Where the file has data, in bytes, up to `size`.
fn data(file: &File, size: u64) -> io::Result<Vec<Range<u64>>> {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match seek(file, SeekFrom::Data(at)) {
            Err(Errno::NXIO) => break,
            start => start?,
        };
        let end = seek(file, SeekFrom::Hole(start))?.min(size);
        // A file that shrinks meanwhile must not keep us here.
        if start < at || end <= start {
            break;
        }
        parts.push(start..end);
        at = end;
    }
    Ok(parts)
}

fn each_piece(
    from: &File,
    parts: &[Range<u64>],
    mut write: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    for part in parts {
        let mut at = part.start;
        while at < part.end {
            let len = usize::try_from(part.end - at).unwrap_or(PIECE).min(PIECE);
            from.read_exact_at(&mut buffer[..len], at)?;
            write(at, &buffer[..len])?;
            at += len as u64;
        }
    }
    Ok(())
}
