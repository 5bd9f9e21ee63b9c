//! `pkram check`: the whole preparation, and then nothing.
//!
//! ```text
//! command line ──────────────────────┐
//! pkram.toml, pkramd ── configured ──┴─► Preflight ─► answers, and what will happen
//! ```

mod configured;

use crate::answer::print;
use crate::args::Save;
use crate::bar::Bars;
use config::size::show;
use pkram::census::{self, Manner};
use pkram::manifest::{Manifest, PlanFigures};
use pkram::nodes;
use pkram::preflight::{Answer, Finding, Preflight, Wanted};
use pkram::reserve::Ways;
use pkram::save::{CmdlineChoice, Costs, NextOptions, NoKernel, Options, Prepared};
use pkram::source::{self, SourceError, SourceSpec};
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// All answers on standard output, whatever they are; exit status 1 where one is no.
pub(crate) fn run(json: bool, save: &Save, config: bool, bars: &Bars) -> anyhow::Result<ExitCode> {
    let preflight = if config {
        configured::look(bars)
    } else {
        let wanted = |spec| Wanted { spec, required: true };
        let wanted: Vec<_> = specs(save)?.into_iter().map(wanted).collect();
        Preflight::look(&wanted, &options(save), bars)
    };
    let passed = preflight.passed();
    let prepared = preflight.prepared.as_ref();
    print(
        json,
        &Checked {
            ok: passed,
            findings: &preflight.findings,
            plan: prepared.map(Plan::of),
            ways: Ways::look(Path::new("/")),
        },
    )?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What to keep, from the command line.
pub(crate) fn sources(save: &Save) -> anyhow::Result<nodes::Save> {
    let mut nodes = nodes::Save::new();
    source::add(&mut nodes, &specs(save)?)?;
    Ok(nodes)
}

fn specs(save: &Save) -> anyhow::Result<Vec<SourceSpec>> {
    let specs: Result<Vec<_>, _> = save.sources.iter().map(|s| SourceSpec::parse(s)).collect();
    let mut specs = specs.map_err(SourceError::from)?;
    for name in &save.in_place {
        let named: Vec<_> =
            specs.iter_mut().filter(|s| name.is_empty() || s.name == *name).collect();
        anyhow::ensure!(!named.is_empty(), "--in-place={name}: no source has this name");
        named.into_iter().for_each(|s| s.in_place = true);
    }
    Ok(specs)
}

/// The library's options from the command line's: what is not named is what this machine would boot.
///
/// # Errors
/// No kernel is named, and none is found.
pub(crate) fn options(save: &Save) -> Result<Options, NoKernel> {
    let mut next = match &save.kernel {
        Some(kernel) => NextOptions::new(kernel, None::<PathBuf>, ""),
        None => NextOptions::installed()?,
    };
    if let Some(initrd) = &save.initrd {
        next.initrd = vec![initrd.clone()];
    }
    match (&save.append, save.reuse_cmdline) {
        (append, true) => next.cmdline = CmdlineChoice::Reuse { append: append.clone() },
        (Some(append), false) => next.cmdline = CmdlineChoice::Append(append.clone()),
        (None, false) => {}
    }
    Ok(Options {
        next,
        reserve_ram: save.reserve_ram,
        seed: save.seed,
        move_huge: save.move_huge,
        pieces: save.pieces,
        manner: Manner { threads: 0, no_pins: save.no_pins },
        force: save.force,
    })
}

/// Every answer, what will happen, and what else could.
#[derive(Debug, Serialize)]
struct Checked<'a> {
    ok: bool,
    findings: &'a [Finding],
    #[serde(flatten)]
    plan: Option<Plan<'a>>,
    ways: Ways,
}

impl fmt::Display for Checked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { about, answer, reason, remedy } in self.findings {
            let answer = match answer {
                Answer::Yes => "ok",
                Answer::Unknown => "?",
                Answer::No => "NO",
            };
            writeln!(f, "{answer:<3} {about:<14} {reason}")?;
            if let Some(remedy) = remedy {
                writeln!(f, "{:18} -> {remedy}", "")?;
            }
        }
        writeln!(f)?;
        match &self.plan {
            Some(plan) => write!(f, "{plan}")?,
            None if self.ok => {}
            None => writeln!(f, "no plan      see NO above")?,
        }
        write!(f, "{}", self.ways)
    }
}

/// What will happen.
#[derive(Debug, Serialize)]
pub(crate) struct Plan<'a> {
    manifest: &'a Manifest,
    /// What of the next kernel's RAM is taken before any program runs, in bytes.
    costs: Costs,
    notes: &'a [String],
}

impl<'a> Plan<'a> {
    pub(crate) fn of(prepared: &'a Prepared) -> Self {
        let Prepared { manifest, costs, notes, .. } = prepared;
        Self { manifest, costs: *costs, notes }
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
            copy_room,
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
        writeln!(f, "restore      takes {} besides the region", show(*copy_room))?;
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
