//! From an address range of this process to the files behind it.

use super::{NodeError, Piece};
use crate::filesystem::{Kind, describe_fd, kind_of};
use physmem::PAGE_SIZE;
use rustix::fs::{Mode, OFlags, fstat, open};
use rustix::io::Errno;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// One line of `/proc/self/maps` (`Documentation/filesystems/proc.rst` §1.1).
#[derive(Debug)]
struct Area {
    start: u64,
    end: u64,
    shared: bool,
    offset: u64,
    name: String,
}

impl Area {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(6, ' ');
        let (start, end) = words.next()?.split_once('-')?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        let shared = words.next()?.as_bytes().get(3) == Some(&b's');
        let offset = hex(words.next()?)?;
        let name = words.nth(2).unwrap_or_default().trim().to_owned();
        Some(Self { start: hex(start)?, end: hex(end)?, shared, offset, name })
    }

    /// What leads to the file behind it.
    fn link(&self) -> String {
        format!("/proc/self/map_files/{:x}-{:x}", self.start, self.end)
    }
}

/// The files behind the memory at `address`, for the object from byte `at` on.
pub(super) fn shared_pages(address: u64, len: u64, at: u64) -> Result<Vec<Piece>, NodeError> {
    let end = address.checked_add(len).filter(|_| len > 0);
    let end = end.ok_or(NodeError::Unaligned { address, len, page: PAGE_SIZE })?;
    let maps = "/proc/self/maps";
    let table = fs::read_to_string(maps).map_err(io_at(maps))?;
    let mut pieces = Vec::new();
    let mut next = address;
    for area in table.lines().filter_map(Area::parse).filter(|a| a.end > address) {
        if area.start > next || next >= end {
            break;
        }
        if !area.shared {
            let what = match area.name.as_str() {
                "" => "private anonymous memory".to_owned(),
                name => format!("a private mapping of {name}"),
            };
            return Err(NodeError::Private { address: next, what });
        }
        let file = open_either(&area.link())?;
        let page = page_of(&file, &area.name)?;
        let part = end.min(area.end) - next;
        if !next.is_multiple_of(page) || part < end - next && !part.is_multiple_of(page) {
            return Err(NodeError::Unaligned { address: next, len: part, page });
        }
        let offset = area.offset + (next - area.start);
        pieces.push(Piece { file, offset, len: part, at: at + (next - address) });
        next += part;
    }
    match next < end {
        true => Err(NodeError::Private { address: next, what: "not mapped".to_owned() }),
        false => Ok(pieces),
    }
}

/// The file behind the shared memory at `address`, and bytes in a page of it.
pub(crate) fn file_at(address: u64) -> Result<(OwnedFd, u64), NodeError> {
    let maps = "/proc/self/maps";
    let table = fs::read_to_string(maps).map_err(io_at(maps))?;
    let mut areas = table.lines().filter_map(Area::parse);
    let area = areas.find(|a| a.start <= address && address < a.end);
    let none = || NodeError::Private { address, what: "not mapped".to_owned() };
    let area = area.ok_or_else(none)?;
    let file = open_either(&area.link())?;
    let page = page_of(&file, &area.name)?;
    Ok((file, page))
}

/// All of `file`, for the object from byte `at` on.
pub(super) fn whole(file: OwnedFd, at: u64, what: &str) -> Result<Piece, NodeError> {
    page_of(&file, what)?;
    let stat = fstat(&file).map_err(|e| io_at(what)(e.into()))?;
    let len = u64::try_from(stat.st_size).map_err(|e| io_at(what)(io::Error::other(e)))?;
    Ok(Piece { file, offset: 0, len, at })
}

/// A description of our own of an open file, which may belong to another process.
pub(super) fn reopen(file: BorrowedFd<'_>, what: &str) -> Result<OwnedFd, NodeError> {
    page_of(file, what)?;
    open_either(&format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Opens for reading and writing, or where that is not allowed for reading.
fn open_either(path: &str) -> Result<OwnedFd, NodeError> {
    let flags = OFlags::CLOEXEC | OFlags::NOATIME;
    open(path, flags | OFlags::RDWR, Mode::empty())
        .or_else(|e| match e {
            Errno::PERM | Errno::ACCESS | Errno::TXTBSY | Errno::ROFS => {
                open(path, flags | OFlags::RDONLY, Mode::empty())
            }
            e => Err(e),
        })
        .map_err(|e| io_at(path)(e.into()))
}

/// Bytes in a page of the file, if it is memory.
fn page_of(file: impl AsFd, what: &str) -> Result<u64, NodeError> {
    match kind_of(&file).map_err(io_at(what))? {
        kind @ (Kind::Tmpfs | Kind::Hugetlbfs { .. }) => Ok(kind.page()),
        Kind::Other => {
            let filesystem = describe_fd(&file).map_err(io_at(what))?;
            Err(NodeError::NotMemory { what: what.to_owned(), filesystem })
        }
    }
}

fn io_at(what: &str) -> impl Fn(io::Error) -> NodeError + '_ {
    move |source| NodeError::Io { what: what.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_areas_as_the_kernel_writes_them() {
        let line =
            "7f1c00200000-7f1c00400000 rw-s 00200000 00:0f 4242     /dev/hugepages/a b (deleted)";
        let area = Area::parse(line).unwrap();
        assert_eq!((area.start, area.end), (0x7f1c_0020_0000, 0x7f1c_0040_0000));
        assert!(area.shared && area.offset == 0x20_0000, "{area:?}");
        assert_eq!(area.name, "/dev/hugepages/a b (deleted)");
        let heap = Area::parse("55d0-55e0 rw-p 00000000 00:00 0").unwrap();
        assert!(!heap.shared && heap.name.is_empty(), "{heap:?}");
        assert!(Area::parse("gibberish").is_none());
    }

    #[test]
    fn private_memory_is_refused_with_the_way_out() {
        let heap = vec![1u8; 1 << 20];
        let start = (heap.as_ptr().addr() as u64).next_multiple_of(PAGE_SIZE);
        let error = shared_pages(start, PAGE_SIZE, 0).unwrap_err().to_string();
        assert!(error.contains("private") && error.contains("memfd_create"), "{error}");
        assert!(shared_pages(0x1000, 0, 0).is_err());
        assert!(shared_pages(u64::MAX - 5, 10, 0).is_err());
    }
}
