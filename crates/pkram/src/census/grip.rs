//! What keeps the pages of one thread's work where they are.

use super::CensusError;
use super::frames::Part;
use crate::sys::{Access, FileMap, PageRefs, Pins};
use physmem::PAGE_SIZE;
use std::io;

/// Pins and page references.
///
/// | how | where | needs |
/// |---|---|---|
/// | pin: fixed buffer of an io_uring, `FOLL_LONGTERM` | writable mappings | `kernel.io_uring_disabled=0`, or 1 and privileges |
/// | reference: the page lent to a pipe | everything else | |
///
/// Either stops migration, compaction, reclaim and the collapse into huge pages. A pin also moves
/// the page out of movable zones first. All subpages of a huge page stay when one does.
#[derive(Debug, Default)]
pub(super) struct Grip {
    rings: Vec<Pins>,
    refs: PageRefs,
    /// Mappings that nobody needs any more: to take them down costs more than to keep them.
    maps: Vec<FileMap>,
    /// Bytes that are pinned, and that are referenced.
    pub(super) bytes: (u64, u64),
}

/// Mappings are kept from this size on, in bytes: there may be 65530 (`vm.max_map_count`).
const KEPT_MAP: u64 = 16 << 20;

/// How many are kept at most by each thread.
const KEPT_MAPS: usize = 1 << 9;

impl Grip {
    /// Takes every page of a part of `map`.
    pub(super) fn take(&mut self, map: &FileMap, part: Part, pins: bool) -> io::Result<()> {
        if pins && map.access() == Access::Write {
            self.bytes.0 += part.len;
            return self.pin(map, part);
        }
        self.bytes.1 += part.len;
        match part.page {
            PAGE_SIZE => self.refs.hold(map, part.offset, part.len),
            _ => firsts(part).into_iter().try_for_each(|(at, len)| self.refs.hold(map, at, len)),
        }
    }

    fn pin(&mut self, map: &FileMap, part: Part) -> io::Result<()> {
        let buffers = match part.page {
            PAGE_SIZE => vec![(part.offset, part.len)],
            _ => firsts(part),
        };
        for buffer in buffers {
            if self.rings.last().is_none_or(|ring| ring.room() == 0) {
                self.rings.push(Pins::new()?);
            }
            let Some(ring) = self.rings.last_mut() else { continue };
            ring.pin(map, buffer)?;
        }
        Ok(())
    }

    /// Keeps a mapping, if it is worth it.
    pub(super) fn keep(&mut self, map: FileMap) {
        if map.len() >= KEPT_MAP && self.maps.len() < KEPT_MAPS {
            self.maps.push(map);
        }
    }
}

/// The first 4 KiB of each huge page.
fn firsts(part: Part) -> Vec<(u64, u64)> {
    let step = usize::try_from(part.page).unwrap_or(usize::MAX);
    (part.offset..part.offset + part.len).step_by(step).map(|at| (at, PAGE_SIZE)).collect()
}

/// Whether io_uring may be used here.
pub(super) fn pins_work() -> Result<bool, CensusError> {
    match Pins::new() {
        Ok(_) => Ok(true),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => Ok(false),
        Err(source) => Err(CensusError::Pins { source }),
    }
}
