//! Describes a tree, a line for each path, so that two trees are equal when their lines are.
//!
//! ```text
//! "./a b" file mode=0644 owner=0:0 links=1 group="./a b" mtime=12.000000034 size=5 data=HASH map=0+1
//! ```
//!
//! Left out is what no copy keeps: inode numbers, change times, the sizes of folders, and access
//! times, which every reader changes (pass `--atime` to see them; not those of symbolic links,
//! which reading the link changes). `map` is where `SEEK_DATA` sees data, in blocks of 4 KiB.

use std::collections::HashMap;
use std::ffi::CString;
use std::fmt::Write as _;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{OFlags, SeekFrom, lgetxattr, llistxattr, major, minor, seek};
use rustix::io::Errno;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

const BLOCK: u64 = 4096;

/// The largest list of names and the largest value (kernel: include/uapi/linux/limits.h,
/// XATTR_LIST_MAX and XATTR_SIZE_MAX).
const XATTR_MAX: usize = 65_536;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Tell access times as well
    #[arg(long)]
    atime: bool,
    /// Print only the last line, the hash over all others
    #[arg(long)]
    total: bool,
    /// The tree
    dir: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut digest =
        Digest { root: &args.dir, atime: args.atime, lines: String::new(), groups: HashMap::new() };
    digest.visit(&args.dir)?;
    if !args.total {
        print!("{}", digest.lines);
    }
    println!("total {:032x}", xxh3_128(digest.lines.as_bytes()));
    Ok(())
}

struct Digest<'a> {
    root: &'a Path,
    atime: bool,
    lines: String,
    /// The first path of every file with several, by device and inode.
    groups: HashMap<(u64, u64), String>,
}

impl Digest<'_> {
    fn visit(&mut self, path: &Path) -> Result<()> {
        let metadata =
            fs::symlink_metadata(path).with_context(|| format!("look at {}", path.display()))?;
        let line = self.describe(path, &metadata).with_context(|| path.display().to_string())?;
        self.lines.push_str(&line);
        self.lines.push('\n');
        if metadata.is_dir() {
            for child in children(path).with_context(|| format!("list {}", path.display()))? {
                self.visit(&child)?;
            }
        }
        Ok(())
    }

    fn describe(&mut self, path: &Path, metadata: &Metadata) -> Result<String> {
        let name = quoted(&Path::new(".").join(path.strip_prefix(self.root)?));
        let mut line = format!(
            "{name} {} mode={:04o} owner={}:{} links={}",
            kind(metadata),
            metadata.mode() & 0o7777,
            metadata.uid(),
            metadata.gid(),
            metadata.nlink(),
        );
        if !metadata.is_dir() && metadata.nlink() > 1 {
            let id = (metadata.dev(), metadata.ino());
            write!(line, " group={}", self.groups.entry(id).or_insert(name))?;
        }
        write!(line, " mtime={}.{:09}", metadata.mtime(), metadata.mtime_nsec())?;
        if self.atime && !metadata.is_symlink() {
            write!(line, " atime={}.{:09}", metadata.atime(), metadata.atime_nsec())?;
        }
        let kind = metadata.file_type();
        if kind.is_block_device() || kind.is_char_device() {
            write!(line, " device={}:{}", major(metadata.rdev()), minor(metadata.rdev()))?;
        } else if kind.is_symlink() {
            write!(line, " target={}", quoted(&fs::read_link(path)?))?;
        } else if kind.is_file() {
            let file = open_unnoticed(path)?;
            let size = metadata.len();
            write!(line, " size={size} data={:032x} map={}", hash(&file)?, map(&file, size)?)?;
        }
        for (name, value) in attributes(path)? {
            write!(line, " {name}={}:{:032x}", value.len(), xxh3_128(&value))?;
        }
        Ok(line)
    }
}

fn kind(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    match () {
        () if kind.is_file() => "file",
        () if kind.is_dir() => "folder",
        () if kind.is_symlink() => "link",
        () if kind.is_fifo() => "fifo",
        () if kind.is_socket() => "socket",
        () if kind.is_block_device() => "block",
        () if kind.is_char_device() => "character",
        () => "unknown",
    }
}

/// Bytes of any value, in ASCII, on one line.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.as_os_str().as_bytes().escape_ascii())
}

fn open_unnoticed(path: &Path) -> Result<File> {
    let flags = i32::try_from((OFlags::NOATIME | OFlags::NOFOLLOW).bits())?;
    OpenOptions::new().read(true).custom_flags(flags).open(path).context("open")
}

fn children(folder: &Path) -> Result<Vec<PathBuf>> {
    let handle = open_unnoticed(folder)?;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(&handle)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names.iter().map(|name| folder.join(std::ffi::OsStr::from_bytes(name.to_bytes()))).collect())
}

fn hash(file: &File) -> Result<u128> {
    let (mut hasher, mut file) = (Xxh3::new(), file);
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer).context("read")? {
            0 => return Ok(hasher.digest128()),
            length => hasher.update(&buffer[..length]),
        }
    }
}

/// Runs of blocks with data: `first+count`, joined by commas; `-` for none.
fn map(file: &File, size: u64) -> Result<String> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for (start, end) in data_ranges(file, size)? {
        let (first, end) = (start / BLOCK, end.div_ceil(BLOCK));
        match runs.last_mut() {
            Some(last) if last.1 >= first => last.1 = end,
            _ => runs.push((first, end)),
        }
    }
    let texts: Vec<_> =
        runs.iter().map(|(first, end)| format!("{first}+{}", end - first)).collect();
    Ok(if texts.is_empty() { "-".to_owned() } else { texts.join(",") })
}

/// Where the filesystem says that a file has data, in bytes: start and end of each range.
pub(crate) fn data_ranges(file: &File, size: u64) -> Result<Vec<(u64, u64)>> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error).context("seek data"),
        };
        let end = seek(file, SeekFrom::Hole(start)).context("seek a hole")?;
        ranges.push((start, end));
        at = end;
    }
    seek(file, SeekFrom::Start(0))?;
    Ok(ranges)
}

/// Every extended attribute, sorted by name.
fn attributes(path: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut list = vec![0; XATTR_MAX];
    let length = match llistxattr(path, &mut list) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error).context("list attributes"),
    };
    let mut attributes = Vec::new();
    for name in list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; XATTR_MAX];
        let name = CString::new(name)?;
        let length = lgetxattr(path, &name, &mut value).context("read an attribute")?;
        value.truncate(length);
        attributes.push((name.to_bytes().escape_ascii().to_string(), value));
    }
    attributes.sort();
    Ok(attributes)
}
