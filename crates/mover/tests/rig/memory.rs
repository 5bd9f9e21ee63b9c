//! The test machine's physical memory: a sparse map of pages here, a sparse file for QEMU.
//!
//! ```text
//! physical   0 ── 3 GiB │ hole: PCI, ROM │ 4 GiB ── 6 GiB
//! file       0 ── 3 GiB                  │ 3 GiB ── 5 GiB
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use mover_abi::{Move, PAGE, PageBytes};
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

/// QEMU's `pc` machine puts the first 3 GiB below the hole where there are 3.5 GiB or more.
const LOW: u64 = 3 << 30;
/// Where memory goes on after the hole.
const HIGH: u64 = 4 << 30;
/// First address after all memory.
pub(crate) const END: u64 = 6 << 30;
/// Bytes of memory in all.
pub(crate) const SIZE: u64 = LOW + (END - HIGH);

/// All pages that are not zero.
#[derive(Clone, Default)]
pub(crate) struct Memory(BTreeMap<u64, Box<PageBytes>>);

impl Memory {
    /// Writes `bytes` at `addr`.
    pub(crate) fn write(&mut self, mut addr: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let offset = usize::try_from(addr % PAGE).unwrap();
            let (now, rest) = bytes.split_at(bytes.len().min(4096 - offset));
            let page = self.0.entry(addr - addr % PAGE).or_insert_with(|| Box::new([0; 4096]));
            page[offset..offset + now.len()].copy_from_slice(now);
            (addr, bytes) = (addr + now.len() as u64, rest);
        }
    }

    /// The page at `addr`.
    pub(crate) fn page(&self, addr: u64) -> &PageBytes {
        self.0.get(&addr).map_or(&[0; 4096], |page| page)
    }

    /// The `N` bytes at `addr`, which lie in one page.
    pub(crate) fn read<const N: usize>(&self, addr: u64) -> [u8; N] {
        let offset = usize::try_from(addr % PAGE).unwrap();
        self.page(addr - addr % PAGE)[offset..offset + N].try_into().unwrap()
    }

    /// What the mover should do, page by page.
    pub(crate) fn apply(&mut self, m: &Move) {
        for offset in (0..m.len).step_by(4096) {
            let page = *self.page(m.from + offset);
            self.write(m.to + offset, &page);
        }
    }

    /// Addresses of pages that differ, in all of memory.
    pub(crate) fn differences(&self, other: &Self) -> Vec<u64> {
        let mut addrs: Vec<u64> = self.0.keys().chain(other.0.keys()).copied().collect();
        addrs.sort_unstable();
        addrs.dedup();
        addrs.retain(|&addr| self.page(addr) != other.page(addr));
        addrs
    }

    /// Makes the file that QEMU takes as memory.
    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        let file = File::create(path)?;
        file.set_len(SIZE)?;
        for (&addr, page) in &self.0 {
            file.write_all_at(&page[..], offset(addr))?;
        }
        Ok(())
    }

    /// The byte at `addr` in the file, while QEMU runs.
    pub(crate) fn peek(path: &Path, addr: u64) -> io::Result<u8> {
        let mut byte = [0];
        File::open(path)?.read_exact_at(&mut byte, offset(addr))?;
        Ok(byte[0])
    }

    /// Reads it back.
    pub(crate) fn load(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut memory = Self::default();
        let mut at = 0;
        loop {
            let start = match seek(&file, SeekFrom::Data(at)) {
                Err(Errno::NXIO) => return Ok(memory),
                start => start?,
            };
            at = seek(&file, SeekFrom::Hole(start))?;
            for offset in (start - start % PAGE..at).step_by(4096) {
                let mut page = [0; 4096];
                file.read_exact_at(&mut page, offset)?;
                if page != [0; 4096] {
                    let addr = if offset < LOW { offset } else { offset - LOW + HIGH };
                    memory.0.insert(addr, Box::new(page));
                }
            }
        }
    }
}

/// Where `addr` lies in the file.
fn offset(addr: u64) -> u64 {
    if addr < LOW { addr } else { addr - HIGH + LOW }
}
