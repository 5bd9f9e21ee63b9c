//! `pkram check`: the whole preparation, and then nothing.

use crate::answer::print;
use crate::args::Save;
use crate::bar::Bars;
use crate::size::show;
use pkram::census::{self, Manner};
use pkram::manifest::{Manifest, PlanFigures};
use pkram::nodes;
use pkram::reserve::Ways;
use pkram::save::{CmdlineChoice, NextOptions, Options, Prepared, SaveError, prepare};
use pkram::source::{self, SourceError, SourceSpec};
use serde::Serialize;
use std::fmt;
use std::path::Path;
use std::process::ExitCode;

pub(crate) fn run(json: bool, save: &Save, bars: &Bars) -> anyhow::Result<ExitCode> {
    let ways = Ways::look(Path::new("/"));
    let prepared = match prepare(sources(save)?, &options(save), bars) {
        // Where this way is closed, the other may be open.
        Err(SaveError::Obstacles(_)) => {
            anyhow::bail!("nothing can be saved here\n{}", ways.to_string().trim_end())
        }
        other => other?,
    };
    print(json, &Checked { plan: Plan::of(&prepared), ways })?;
    Ok(ExitCode::SUCCESS)
}

/// What to keep, from the command line.
pub(crate) fn sources(save: &Save) -> anyhow::Result<nodes::Save> {
    let specs: Result<Vec<_>, _> = save.sources.iter().map(|s| SourceSpec::parse(s)).collect();
    let mut specs = specs.map_err(SourceError::from)?;
    for name in &save.in_place {
        let named: Vec<_> =
            specs.iter_mut().filter(|s| name.is_empty() || s.name == *name).collect();
        anyhow::ensure!(!named.is_empty(), "--in-place={name}: no source has this name");
        named.into_iter().for_each(|s| s.in_place = true);
    }
    let mut nodes = nodes::Save::new();
    source::add(&mut nodes, &specs)?;
    Ok(nodes)
}

/// The library's options from the command line's.
pub(crate) fn options(save: &Save) -> Options {
    let cmdline = match (&save.append, save.reuse_cmdline) {
        (append, true) => CmdlineChoice::Reuse { append: append.clone() },
        (append, false) => CmdlineChoice::Append(append.clone().unwrap_or_default()),
    };
    Options {
        next: NextOptions { kernel: save.kernel.clone(), initrd: save.initrd.clone(), cmdline },
        reserve_ram: save.reserve_ram,
        seed: save.seed,
        move_huge: save.move_huge,
        pieces: save.pieces,
        manner: Manner { threads: 0, no_pins: save.no_pins },
        force: save.force,
    }
}

/// What will happen, and what else could.
#[derive(Debug, Serialize)]
struct Checked<'a> {
    #[serde(flatten)]
    plan: Plan<'a>,
    ways: Ways,
}

impl fmt::Display for Checked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.plan, self.ways)
    }
}

/// What will happen.
#[derive(Debug, Serialize)]
pub(crate) struct Plan<'a> {
    ok: bool,
    manifest: &'a Manifest,
    notes: &'a [String],
}

impl<'a> Plan<'a> {
    pub(crate) fn of(prepared: &'a Prepared) -> Self {
        Self { ok: true, manifest: &prepared.manifest, notes: &prepared.notes }
    }
}

impl fmt::Display for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PlanFigures {
            files,
            extents,
            preserved,
            held,
            moved,
            moves,
            metadata,
            region,
            spans,
            ram_left,
            returnable,
        } = &self.manifest.plan;
        let next = self.manifest.next_kernel.as_deref().unwrap_or("unknown release");
        writeln!(f, "next kernel  {next}, with {} of RAM", show(*ram_left))?;
        writeln!(f, "kept         {} in {files} files, {extents} extents", show(*preserved))?;
        writeln!(f, "held         {}", Held(*held))?;
        writeln!(f, "moved        {} of it, in {moves} moves", show(*moved))?;
        writeln!(
            f,
            "region       {} with {} of metadata, {} can be given back while running",
            show(*region),
            show(*metadata),
            show(*returnable)
        )?;
        for span in spans {
            writeln!(f, "span         {span}")?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note         {note}"))
    }
}

/// How pages are held, in words.
struct Held(census::Held);

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let census::Held { pinned, referenced } = self.0;
        match (pinned, referenced) {
            (_, 0) => write!(f, "pinned by io_uring"),
            (0, _) => write!(f, "by page references"),
            _ => write!(
                f,
                "{} pinned by io_uring, {} by page references",
                show(pinned),
                show(referenced)
            ),
        }
    }
}
