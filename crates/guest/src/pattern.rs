//! Memory of all kinds with known content: files, memfds, SysV segments.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use serde_json::json;

use crate::digest::data_ranges;
use crate::rng::Rng;
use crate::sys::{Mapping, make_segment, read_segment};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make files and fill each through a mapping
    Write {
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        shape: Shape,
    },
    /// Fail unless each file has the pattern, and its holes
    Check {
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        shape: Shape,
    },
    /// Make a memfd, print its number, and keep it until killed
    Memfd {
        name: String,
        /// Of pages of 2 MiB
        #[arg(long)]
        huge: bool,
        /// Seal it against writing and growing
        #[arg(long)]
        seal: bool,
        #[command(flatten)]
        shape: Shape,
    },
    /// Make a SysV segment and print its number
    Sysv {
        key: i32,
        /// Of huge pages
        #[arg(long)]
        huge: bool,
        #[command(flatten)]
        shape: Shape,
    },
    /// Fail unless the segment with this number has the pattern
    CheckSysv {
        id: i32,
        #[command(flatten)]
        shape: Shape,
    },
    /// Map a file, touch every page, and print how many page faults that took
    Faults { file: PathBuf },
}

#[derive(Debug, clap::Args)]
struct Shape {
    /// Bytes
    #[arg(long)]
    size: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Every fourth run of this many bytes is a hole; 0 for none
    #[arg(long, default_value_t = 0)]
    holes: usize,
}

const PAGE: usize = 4096;

impl Shape {
    fn is_hole(&self, offset: usize) -> bool {
        offset.checked_div(self.holes).is_some_and(|run| run % 4 == 3)
    }

    fn page(&self, offset: usize) -> Vec<u8> {
        let mut page = vec![0; PAGE.min(self.size - offset)];
        Rng::stream(self.seed, offset as u64).fill(&mut page);
        page
    }

    fn fill(&self, file: &File) -> Result<()> {
        file.set_len(self.size as u64).context("set the size")?;
        let map = Mapping::writable(file, self.size).context("map")?;
        for offset in (0..self.size).step_by(PAGE).filter(|&at| !self.is_hole(at)) {
            map.write(offset, &self.page(offset));
        }
        Ok(())
    }

    fn check(&self, file: &File) -> Result<()> {
        let size = file.metadata()?.len();
        ensure!(size == self.size as u64, "{size} bytes, expected {}", self.size);
        let mut data = vec![0; PAGE];
        for offset in (0..self.size).step_by(PAGE) {
            let expected = match self.is_hole(offset) {
                true => vec![0; PAGE.min(self.size - offset)],
                false => self.page(offset),
            };
            let found = &mut data[..expected.len()];
            file.read_exact_at(found, offset as u64)?;
            ensure!(found == expected, "other bytes at offset {offset:#x}");
        }
        let blocks = file.metadata()?.blocks() * 512;
        let ranges = data_ranges(file, size)?;
        if self.holes > 0 && ranges == [(0, size)] && blocks < size {
            // hugetlbfs tells of holes by the number of blocks alone.
            let pages = (0..self.size).step_by(PAGE).filter(|&at| !self.is_hole(at)).count();
            ensure!(blocks == (pages * PAGE) as u64, "{blocks} bytes of data");
        } else if self.holes > 0 {
            for (start, end) in ranges {
                let mut pages = (usize::try_from(start)?..usize::try_from(end)?).step_by(PAGE);
                let filled = pages.find(|&at| self.is_hole(at));
                ensure!(filled.is_none(), "the hole at {filled:x?} was filled");
            }
        }
        Ok(())
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.what {
        What::Write { files, shape } => files.iter().try_for_each(|file| {
            let made =
                File::options().read(true).write(true).create(true).truncate(true).open(file);
            shape.fill(&made.with_context(|| format!("make {}", file.display()))?)
        }),
        What::Check { files, shape } => files.iter().try_for_each(|file| {
            let open = File::open(file).with_context(|| format!("open {}", file.display()))?;
            shape.check(&open).with_context(|| format!("{}", file.display()))
        }),
        What::Memfd { name, huge, seal, shape } => {
            let huge = if *huge {
                MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB
            } else {
                MemfdFlags::empty()
            };
            let flags = MemfdFlags::ALLOW_SEALING | huge;
            let file = File::from(memfd_create(name.as_str(), flags).context("memfd_create")?);
            shape.fill(&file)?;
            if *seal {
                let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK;
                fcntl_add_seals(&file, seals).context("seal")?;
            }
            println!("{}", json!({ "fd": file.as_raw_fd() }));
            io::stdout().flush()?;
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        }
        What::Sysv { key, huge, shape } => {
            let pages = (0..shape.size).step_by(PAGE).map(|at| shape.page(at));
            let id = make_segment(*key, &pages.collect::<Vec<_>>().concat(), *huge)?;
            println!("{}", json!({ "id": id }));
            Ok(())
        }
        What::CheckSysv { id, shape } => {
            let found = read_segment(*id, shape.size).context("read the segment")?;
            let pages = (0..shape.size).step_by(PAGE).map(|at| shape.page(at));
            ensure!(found == pages.collect::<Vec<_>>().concat(), "other bytes in the segment");
            Ok(())
        }
        What::Faults { file } => faults(file),
    }
}

fn faults(path: &PathBuf) -> Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let size = usize::try_from(file.metadata()?.len())?;
    let map = Mapping::writable(&file, size).context("map")?;
    let before = minor_faults()?;
    (0..size).step_by(PAGE).for_each(|at| map.touch(at));
    let faults = minor_faults()? - before;
    println!("{}", json!({ "faults": faults, "pages": size.div_ceil(PAGE) }));
    Ok(())
}

/// Page faults of this process that read nothing from a device: field 10 of `/proc/self/stat`
/// (`proc(5)`).
fn minor_faults() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, rest) = stat.rsplit_once(')').context("no name in /proc/self/stat")?;
    let field = rest.split_whitespace().nth(7).context("no tenth field")?;
    Ok(field.parse()?)
}
