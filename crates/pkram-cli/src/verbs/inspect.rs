//! `pkram inspect`: what an image or device carries, offline.

use crate::answer::print;
use anyhow::Context as _;
use config::size::show;
use pkram::head::{HEAD_BYTES, SpanHead};
use pkram::manifest::Manifest;
use pkram::region::contents;
use serde::Serialize;
use std::fmt;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;

pub(crate) fn run(json: bool, path: &Path, tree: bool) -> anyhow::Result<ExitCode> {
    let at = || path.display().to_string();
    let mut file = File::open(path).with_context(at)?;
    let bytes = file.seek(SeekFrom::End(0)).with_context(at)?;
    let mut head = [0; HEAD_BYTES];
    file.read_exact_at(&mut head, 0).with_context(at)?;
    let head = SpanHead::parse(&head);
    let mut answer = Inspection {
        path: at(),
        bytes,
        head: head.as_ref().ok().map(Head::of),
        head_error: head.as_ref().err().map(ToString::to_string),
        filesystem: None,
        filesystem_error: None,
        manifest: None,
        tree: None,
    };
    // Only the first span begins with the filesystem.
    let begins = head.map_or(true, |h| h.index == 0);
    if begins && let Err(error) = answer.look_inside(path, tree) {
        answer.filesystem_error = Some(error.to_string());
    }
    print(json, &answer)?;
    let damaged = answer.head_error.is_some() || answer.filesystem_error.is_some();
    Ok(if damaged { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[derive(Debug, Serialize)]
struct Inspection {
    path: String,
    bytes: u64,
    head: Option<Head>,
    head_error: Option<String>,
    filesystem: Option<Filesystem>,
    filesystem_error: Option<String>,
    manifest: Option<Manifest>,
    tree: Option<Vec<Entry>>,
}

#[derive(Debug, Serialize)]
struct Head {
    region: String,
    index: u32,
    count: u32,
    range: String,
    region_bytes: u64,
    created: u64,
}

#[derive(Debug, Serialize)]
struct Filesystem {
    uuid: String,
    blocks: u64,
    free_blocks: u64,
    inodes: u32,
    free_inodes: u32,
    clean: bool,
}

#[derive(Debug, Serialize)]
struct Entry {
    path: String,
    mode: u16,
    uid: u32,
    gid: u32,
    size: u64,
    extents: usize,
}

impl Head {
    fn of(head: &SpanHead) -> Self {
        Self {
            region: head.region.to_string(),
            index: head.index,
            count: head.count,
            range: head.range.to_string(),
            region_bytes: head.region_blocks * 4096,
            created: head.created,
        }
    }
}

impl Inspection {
    fn look_inside(&mut self, path: &Path, tree: bool) -> anyhow::Result<()> {
        // An image of the first of several spans has the filesystem's beginning only; what lies
        // behind it cannot be read and says so.
        let region = self.head.as_ref().map_or(self.bytes, |h| h.region_bytes.max(self.bytes));
        let fs = contents::open_image(path, region)?;
        let found = fs.superblock();
        self.filesystem = Some(Filesystem {
            uuid: found.uuid.to_string(),
            blocks: found.blocks,
            free_blocks: found.free_blocks,
            inodes: found.inodes,
            free_inodes: found.free_inodes,
            clean: found.clean,
        });
        self.manifest = contents::manifest(&fs)?;
        if tree {
            let mut entries = Vec::new();
            fs.walk(|visit| -> anyhow::Result<()> {
                let i = visit.inode;
                let path = String::from_utf8_lossy(visit.path).into_owned();
                let extents = match fs.file(i) {
                    Ok(file) => file.extents().len(),
                    Err(_) => 0,
                };
                let (mode, uid, gid, size) = (i.mode, i.uid, i.gid, i.size);
                entries.push(Entry { path, mode, uid, gid, size, extents });
                Ok(())
            })?;
            self.tree = Some(entries);
        }
        Ok(())
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, {}", self.path, show(self.bytes))?;
        if let Some(h) = &self.head {
            let Head { region, index, count, range, region_bytes, created } = h;
            writeln!(f, "span        {} of {count} at {range}", index + 1)?;
            writeln!(f, "region      {region}, {}, made at {created}", show(*region_bytes))?;
        }
        if let Some(e) = &self.head_error {
            writeln!(f, "span        {e}")?;
        }
        if let Some(s) = &self.filesystem {
            let free = show(s.free_blocks.saturating_mul(4096));
            let state = if s.clean { "clean" } else { "in use, or not unmounted" };
            let used = s.inodes - s.free_inodes.min(s.inodes);
            writeln!(f, "filesystem  {}, {free} free, {used} inodes used, {state}", s.uuid)?;
        }
        if let Some(e) = &self.filesystem_error {
            writeln!(f, "filesystem  {e}")?;
        }
        if let Some(m) = &self.manifest {
            writeln!(f, "saved       by pkram {} under {}", m.pkram, m.old_kernel)?;
            for s in &m.sources {
                writeln!(f, "source      {} from {}", s.name, s.origin)?;
            }
        }
        for e in self.tree.iter().flatten() {
            let Entry { path, mode, uid, gid, size, extents } = e;
            writeln!(f, "{mode:06o} {uid:5} {gid:5} {size:12} {extents:6} /{path}")?;
        }
        Ok(())
    }
}
