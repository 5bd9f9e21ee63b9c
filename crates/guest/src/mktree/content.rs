//! What is in files: sizes, data, holes.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{FallocateFlags, fallocate};

use crate::rng::Rng;

const PIECE: u64 = 1 << 20;
const BLOCK: u64 = 4096;

/// Most pieces of data in a file with holes.
const PIECES: u64 = 48;

/// Most files are small; one in a hundred is large.
pub(super) fn size(rng: &mut Rng, largest: u64) -> u64 {
    let size = match rng.below(100) {
        0..8 => 0,
        8..16 => *rng.pick(&[1, BLOCK - 1, BLOCK, BLOCK + 1, 2 << 20]),
        16..70 => rng.between(1, 16 << 10),
        70..92 => rng.between(16 << 10, 256 << 10),
        92..99 => rng.between(256 << 10, 4 << 20),
        _ => rng.between(4 << 20, largest.max(4 << 20)),
    };
    size.min(largest)
}

/// Writes a file: solid, with holes, or partly reserved and never written.
pub(super) fn write(rng: &mut Rng, path: &Path, size: u64) -> Result<()> {
    let mut file = File::create_new(path).context("create a file")?;
    match rng.below(12) {
        0 | 1 if size > 4 * BLOCK => scattered(rng, &file, size),
        2 if size > 4 * BLOCK => {
            let reserved = rng.below(size / BLOCK) * BLOCK;
            fallocate(&file, FallocateFlags::empty(), reserved, BLOCK).context("reserve")?;
            scattered(rng, &file, size)
        }
        _ => solid(rng, &mut file, size),
    }
}

fn solid(rng: &mut Rng, file: &mut File, size: u64) -> Result<()> {
    let mut buffer = vec![0; usize::try_from(PIECE.min(size))?];
    let mut left = size;
    while left > 0 {
        let length = usize::try_from(left.min(PIECE))?;
        rng.fill(&mut buffer[..length]);
        file.write_all(&buffer[..length]).context("write data")?;
        left -= length as u64;
    }
    Ok(())
}

fn scattered(rng: &mut Rng, file: &File, size: u64) -> Result<()> {
    file.set_len(size)?;
    for _ in 0..rng.between(1, PIECES) {
        let start = rng.below(size);
        let length = rng.between(1, 3 * BLOCK).min(size - start);
        let mut data = vec![0; usize::try_from(length)?];
        rng.fill(&mut data);
        file.write_all_at(&data, start).context("write between holes")?;
    }
    Ok(())
}
