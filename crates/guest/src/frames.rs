//! Prints where the pages of a file lie in physical memory.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::digest::data_ranges;
use crate::sys::Mapping;

const PAGE: u64 = 4096;

/// The frame number's bits in an entry of pagemap, and the bit that says there is one (kernel:
/// Documentation/admin-guide/mm/pagemap.rst).
const FRAME: u64 = (1 << 55) - 1;
const PRESENT: u64 = 1 << 63;

/// Entries of pagemap read at a time.
const BATCH: u64 = 4096;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The files; holes stay holes
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// A run of pages that is contiguous in the file and in memory; all in pages of 4 KiB.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Extent {
    page: u64,
    frame: u64,
    count: u64,
}

#[derive(Debug, Serialize)]
struct Frames {
    /// Its path, bytes that are no printable ASCII escaped.
    file: String,
    extents: Vec<Extent>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    for path in &args.files {
        let extents = extents(path).with_context(|| format!("{}", path.display()))?;
        let file = path.as_os_str().as_bytes().escape_ascii().to_string();
        println!("{}", serde_json::to_string(&Frames { file, extents })?);
    }
    Ok(())
}

fn extents(path: &PathBuf) -> Result<Vec<Extent>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut extents = Vec::new();
    if size == 0 {
        return Ok(extents);
    }
    let ranges = data_ranges(&file, size)?;
    let mapping = Mapping::new(&file, usize::try_from(size)?).context("map")?;
    let pagemap = File::open("/proc/self/pagemap").context("open pagemap")?;
    let base = u64::try_from(mapping.address())? / PAGE;
    for (start, end) in ranges {
        let pages = start / PAGE..end.div_ceil(PAGE);
        for first in pages.clone().step_by(usize::try_from(BATCH)?) {
            let count = BATCH.min(pages.end - first);
            for page in first..first + count {
                mapping.touch(usize::try_from(page * PAGE)?);
            }
            for (page, frame) in (first..).zip(frames(&pagemap, base + first, count)?) {
                append(&mut extents, page, frame);
            }
        }
    }
    Ok(extents)
}

fn frames(pagemap: &File, first: u64, count: u64) -> Result<Vec<u64>> {
    let mut entries = vec![0; usize::try_from(count * 8)?];
    pagemap.read_exact_at(&mut entries, first * 8).context("read pagemap")?;
    entries
        .chunks_exact(8)
        .map(|bytes| {
            let mut entry = [0; 8];
            entry.copy_from_slice(bytes);
            let entry = u64::from_le_bytes(entry);
            ensure!(entry & PRESENT != 0, "a page went away while we looked at it");
            ensure!(entry & FRAME != 0, "pagemap hides the frames: this needs CAP_SYS_ADMIN");
            Ok(entry & FRAME)
        })
        .collect()
}

fn append(extents: &mut Vec<Extent>, page: u64, frame: u64) {
    match extents.last_mut() {
        Some(last) if last.page + last.count == page && last.frame + last.count == frame => {
            last.count += 1;
        }
        _ => extents.push(Extent { page, frame, count: 1 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_break_where_the_file_or_the_memory_does() {
        let mut extents = Vec::new();
        for (page, frame) in [(0, 10), (1, 11), (3, 13), (4, 20), (5, 21)] {
            append(&mut extents, page, frame);
        }
        let expected = [(0, 10, 2), (3, 13, 1), (4, 20, 2)].map(|(page, frame, count)| Extent {
            page,
            frame,
            count,
        });
        assert_eq!(extents, expected);
    }
}
