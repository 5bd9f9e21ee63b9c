//! Fills memory, and fragments what is left of it.
//!
//! The ballast is a file on a tmpfs of its own. Every second page of it, punched out again, is a
//! free page between two that are in use: nothing allocated from them lies contiguously. Where more
//! than half is to be free, only every third page stays in use, or every fourth.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::mount::{MountFlags, mount};
use serde_json::json;

use crate::rng::Rng;

const PAGE: u64 = 4096;
const PIECE: u64 = 1 << 20;

/// What the kernel and the agent need to go on while memory is full.
const LEAST_FREE: u64 = 24 << 20;

/// One page in so many stays in use at least; else nothing would be scattered.
const LONGEST_RUN: u64 = 8;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Memory to leave free, MiB
    #[arg(long)]
    leave_free: u64,
    /// Where the ballast's tmpfs is mounted
    #[arg(long, default_value = "/run/ballast")]
    dir: PathBuf,
}

/// Leaves so much memory free, in one piece or many as it comes.
pub(crate) fn fill(args: &Args) -> Result<()> {
    let free = available()?;
    let pages = free.saturating_sub((args.leave_free << 20).max(LEAST_FREE)) / PAGE;
    write(args, pages)?;
    println!("{}", json!({ "ballast_pages": pages, "free_before": free }));
    Ok(())
}

/// Leaves so much memory free, in single pages; more than half of it in runs of a few pages, each
/// between two pages that are in use.
pub(crate) fn fragment(args: &Args) -> Result<()> {
    let free = available()?;
    let pages = free.saturating_sub(LEAST_FREE) / PAGE;
    let holes = (args.leave_free << 20) / PAGE;
    let stride = pages.checked_div(pages.saturating_sub(holes)).unwrap_or(u64::MAX) + 1;
    if stride > LONGEST_RUN {
        bail!("only {} MiB can be left free in short runs", ((pages * PAGE) >> 20) * 7 / 8);
    }
    let file = write(args, pages)?;
    let punched =
        (0..pages).filter(|index| index % stride.max(2) != 0).take(usize::try_from(holes)?);
    for index in punched {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&file, flags, index * PAGE, PAGE).context("punch a hole")?;
    }
    println!("{}", json!({ "ballast_pages": pages, "holes": holes, "free_before": free }));
    Ok(())
}

fn write(args: &Args, pages: u64) -> Result<File> {
    fs::create_dir_all(&args.dir)?;
    mount("ballast", &args.dir, "tmpfs", MountFlags::empty(), Some(c"size=100%,huge=never"))
        .with_context(|| format!("mount a tmpfs on {}", args.dir.display()))?;
    let path = args.dir.join("ballast");
    let mut file = File::create_new(&path).with_context(|| format!("create {}", path.display()))?;
    let mut piece = vec![0; usize::try_from(PIECE)?];
    Rng::new(pages).fill(&mut piece);
    let mut left = pages * PAGE;
    while left > 0 {
        let length = left.min(PIECE);
        file.write_all(&piece[..usize::try_from(length)?]).context("write ballast")?;
        left -= length;
    }
    Ok(file)
}

/// Bytes that programs could still get, by the kernel's own estimate.
pub(crate) fn available() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no MemAvailable")?;
    Ok(kib.trim().parse::<u64>()? * 1024)
}
