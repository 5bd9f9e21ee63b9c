//! Composes a million files and 1 TiB of extents, and says what that takes.
//!
//! `cargo run --release -p regionfs --example compose_million [FILES [FILE_BLOCKS [EXTENT_BLOCKS]]]`

use regionfs::synthetic::Synthetic;
use regionfs::{compose, read};
use std::error::Error;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = std::env::args().skip(1).map(|arg| arg.parse::<u64>());
    let mut next = |default| numbers.next().unwrap_or(Ok(default));
    let shape =
        Synthetic { files: next(1_000_000)?, file_blocks: next(268)?, extent_blocks: next(67)? };
    let start = Instant::now();
    let (tree, geometry) = shape.build()?;
    println!("tree        {:8.2} s", start.elapsed().as_secs_f64());

    let start = Instant::now();
    let image = compose(tree, geometry)?;
    println!("compose     {:8.2} s", start.elapsed().as_secs_f64());

    let start = Instant::now();
    let mut head = Vec::with_capacity(usize::try_from(image.head_blocks())? * regionfs::BLOCK);
    image.write_metadata(&mut |_, block| {
        head.extend_from_slice(block);
        Ok(())
    })?;
    println!("write       {:8.2} s", start.elapsed().as_secs_f64());
    println!("peak memory {:>8}, of it the metadata {} MiB", peak_memory()?, head.len() >> 20);

    let figures = image.figures();
    println!("{figures:?}");
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    let share = figures.head_blocks as f64 / figures.blocks as f64;
    println!("metadata    {:8.4} % of the region", share * 100.0);

    let start = Instant::now();
    let reader = |offset: u64, buf: &mut [u8]| {
        let at = usize::try_from(offset).map_err(std::io::Error::other)?;
        let bytes = head.get(at..at + buf.len()).ok_or(std::io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes);
        Ok(())
    };
    let problems = read::Filesystem::open(reader, figures.blocks)?.verify()?;
    println!("verify      {:8.2} s, {} problems", start.elapsed().as_secs_f64(), problems.len());
    Ok(())
}

/// `VmHWM`, as the kernel writes it.
fn peak_memory() -> std::io::Result<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.unwrap_or("unknown").trim().to_owned())
}
