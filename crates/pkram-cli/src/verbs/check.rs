//! `pkram check`: the whole preparation, and then nothing.

use crate::answer::print;
use crate::args::Save;
use crate::bar::Bars;
use crate::size::show;
use pkram::manifest::{Manifest, PlanFigures};
use pkram::save::{CmdlineChoice, NextOptions, Options, Prepared, prepare};
use pkram::source::{SourceSpec, SpecError};
use serde::Serialize;
use std::fmt;
use std::process::ExitCode;

pub(crate) fn run(json: bool, save: &Save, bars: &Bars) -> anyhow::Result<ExitCode> {
    let prepared = prepare(&options(save)?, bars)?;
    print(json, &Plan::of(&prepared))?;
    Ok(ExitCode::SUCCESS)
}

/// The library's options from the command line's.
pub(crate) fn options(save: &Save) -> Result<Options, SpecError> {
    let sources: Result<Vec<_>, _> = save.sources.iter().map(|s| SourceSpec::parse(s)).collect();
    let cmdline = match (&save.append, save.reuse_cmdline) {
        (append, true) => CmdlineChoice::Reuse { append: append.clone() },
        (append, false) => CmdlineChoice::Append(append.clone().unwrap_or_default()),
    };
    Ok(Options {
        sources: sources?,
        next: NextOptions { kernel: save.kernel.clone(), initrd: save.initrd.clone(), cmdline },
        reserve_ram: save.reserve_ram,
        seed: save.seed,
        force: save.force,
    })
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
