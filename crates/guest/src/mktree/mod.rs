//! Grows a random tree with everything in it that a filesystem can be asked to keep.
//!
//! The same seed gives the same tree, byte by byte, on every kernel. In a hundred entries:
//!
//! | share | what |
//! |---|---|
//! | 70 | files: empty to the largest size, most small, every sixth with holes |
//! | 7 | folders, up to six deep |
//! | 6 | hard links to earlier files |
//! | 10 | symbolic links, short (up to 59 bytes: ext4 keeps those in the inode) and long |
//! | 7 | FIFOs, sockets, character and block devices |
//!
//! All with odd names, owners, modes, ACLs, extended attributes and times. Kernels before 6.6 have no
//! `user.*` attributes on tmpfs; the tree does without them there.

mod attributes;
mod content;
mod names;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde::Serialize;

use crate::rng::Rng;
use attributes::Attributes;

/// How deep folders lie in folders.
const DEPTH: usize = 6;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Same seed, same tree
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many entries
    #[arg(long, default_value_t = 2000)]
    files: u64,
    /// Size of the largest file, MiB; there is one of exactly this size
    #[arg(long, default_value_t = 64)]
    max_size: u64,
    /// Most data in all files together, MiB
    #[arg(long, default_value_t = 400)]
    total: u64,
    /// An empty folder that becomes the tree
    dir: PathBuf,
}

/// What was grown.
#[derive(Debug, Default, Serialize)]
struct Summary {
    files: u64,
    folders: u64,
    hard_links: u64,
    symbolic_links: u64,
    special: u64,
    bytes: u64,
    user_attributes: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let summary = grow(args)?;
    println!("{}", serde_json::to_string(&summary)?);
    Ok(())
}

fn grow(args: &Args) -> Result<Summary> {
    let mut tree = Tree {
        folders: vec![(args.dir.clone(), 0)],
        files: Vec::new(),
        budget: args.total << 20,
        largest: args.max_size << 20,
        summary: Summary {
            user_attributes: attributes::user_attributes_work(&args.dir)?,
            ..Summary::default()
        },
    };
    for index in 0..args.files {
        tree.add(&mut Rng::stream(args.seed, index), index)
            .with_context(|| format!("entry {index} of seed {}", args.seed))?;
    }
    // Last, and leaves first: everything made in a folder changes the folder's times.
    for (index, (folder, _)) in tree.folders.iter().enumerate().rev() {
        let mut rng = Rng::stream(!args.seed, u64::try_from(index)?);
        Attributes::of_folder(&mut rng, tree.summary.user_attributes).apply(folder)?;
    }
    Ok(tree.summary)
}

struct Tree {
    folders: Vec<(PathBuf, usize)>,
    files: Vec<PathBuf>,
    budget: u64,
    largest: u64,
    summary: Summary,
}

impl Tree {
    fn add(&mut self, rng: &mut Rng, index: u64) -> Result<()> {
        let (folder, depth) = rng.pick(&self.folders).clone();
        let path = folder.join(names::name(rng, index));
        // The first is a file, so that there is one to link to.
        match if index == 0 { 0 } else { rng.below(100) } {
            0..70 => self.file(rng, &path)?,
            70..77 => {
                fs::create_dir(&path)?;
                self.summary.folders += 1;
                if depth + 1 < DEPTH {
                    self.folders.push((path, depth + 1));
                    return Ok(());
                }
            }
            77..83 => {
                fs::hard_link(rng.pick(&self.files), &path)?;
                self.summary.hard_links += 1;
                // Attributes belong to the file, which has them.
                return Ok(());
            }
            83..93 => {
                symlink(names::link_target(rng), &path)?;
                self.summary.symbolic_links += 1;
            }
            _ => self.special(rng, &path)?,
        }
        Attributes::of(rng, &path, self.summary.user_attributes)?.apply(&path)
    }

    fn file(&mut self, rng: &mut Rng, path: &Path) -> Result<()> {
        let size = match self.files.is_empty() {
            true => self.largest,
            false => content::size(rng, self.largest),
        };
        let size = size.min(self.budget);
        self.budget -= size;
        content::write(rng, path, size)?;
        self.files.push(path.to_owned());
        self.summary.files += 1;
        self.summary.bytes += size;
        Ok(())
    }

    fn special(&mut self, rng: &mut Rng, path: &Path) -> Result<()> {
        let kinds =
            [FileType::Fifo, FileType::Socket, FileType::CharacterDevice, FileType::BlockDevice];
        let kind = *rng.pick(&kinds);
        let device = match kind {
            // 12 bits of major and 20 of minor (kernel: include/linux/kdev_t.h).
            FileType::CharacterDevice | FileType::BlockDevice => {
                makedev(u32::try_from(rng.below(1 << 12))?, u32::try_from(rng.below(1 << 20))?)
            }
            _ => 0,
        };
        mknodat(CWD, path, kind, Mode::RUSR, device).context("make a special file")?;
        self.summary.special += 1;
        Ok(())
    }
}
