//! `cargo xtask bench`: what pkram costs, in figures.
//!
//! | group | what is measured | where |
//! |---|---|---|
//! | `census`, `census-huge` | hold and census of a file on tmpfs, in pages of 4 KiB and 2 MiB | here, in a process of its own |
//! | `copy` | the mover's copying instruction beside `memcpy` | here, in a process of its own |
//! | `compose-files`, `compose-large` | region filesystems for synthetic trees | here, in a process of its own |
//! | `plan` | spans and moves for synthetic hosts | here, in a process of its own each |
//! | `kexec` | blackout and load time beside kexec-tools' | in a virtual machine |
//! | `kexec-huge`, `kexec-scattered` | blackout with three quarters of memory kept | in a virtual machine |
//! | `mount` | from the mount command to the first byte | in a virtual machine |
//! | `restore` | copying back, beside `memcpy` | in a virtual machine |
//!
//! Every group is measured several times over; a row shows the median. Native figures are processor
//! time of one thread, those of the virtual machine are time that passes. Nothing of this machine is
//! changed: what is held is a file of the benchmark's own, and only the virtual machine's kernel
//! is replaced.

mod arrival;
mod blackout;
mod census;
mod compose;
mod copy;
mod figure;
mod machine;
mod once;
mod planning;
mod report;
#[expect(unsafe_code, reason = "the only place for it")]
mod sys;

use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use testbed::Testbed;

use figure::{Figure, Row};
use machine::Machine;
use report::{LeftOut, Report};

/// Measured so often natively, where a run takes seconds.
const NATIVE_RUNS: usize = 5;

/// Measured so often in the virtual machine, where a run takes minutes.
const VM_RUNS: usize = 3;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Measure everything once only
    #[arg(long)]
    quick: bool,
    /// Also write the table to docs/bench.md
    #[arg(long)]
    save: bool,
    /// Measure a group once, here, and print its figures as JSON
    #[arg(long, hide = true)]
    once: bool,
    /// Which of the synthetic hosts to plan for
    #[arg(long, hide = true, default_value_t = 0)]
    host: usize,
    /// Measure these only
    #[arg(value_enum)]
    groups: Vec<Group>,
}

/// What is measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Group {
    Census,
    CensusHuge,
    Copy,
    ComposeFiles,
    ComposeLarge,
    Plan,
    Kexec,
    KexecHuge,
    KexecScattered,
    Mount,
    Restore,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if cfg!(debug_assertions) {
        return run_optimised();
    }
    if args.once {
        println!("{}", serde_json::to_string(&figures_of(&args.groups, args.host)?)?);
        return Ok(());
    }
    let groups = if args.groups.is_empty() { Group::value_variants() } else { &args.groups };
    let mut report = Report::begin(Machine::read()?, args.quick)?;
    for &group in groups {
        match measure(group, args.quick) {
            Ok(rows) => report.rows.extend(rows),
            Err(error) => report.left_out.push(LeftOut::new(group.name(), &error)),
        }
    }
    report.machine.load_after = machine::load()?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}", report.text());
    }
    if args.save {
        report.save()?;
    }
    ensure!(report.left_out.is_empty(), "not everything could be measured: see above");
    ensure!(report.rows.iter().all(Row::holds), "a figure is above its limit: see above");
    Ok(())
}

impl Group {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// This program was built without optimisation, which says nothing: builds itself anew.
fn run_optimised() -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["run", "--release", "--quiet", "--package", "xtask", "--"])
        .args(std::env::args_os().skip(1))
        .status()
        .context("start cargo")?;
    std::process::exit(status.code().unwrap_or(1));
}

fn measure(group: Group, quick: bool) -> Result<Vec<Row>> {
    let name = group.name();
    let runs = |most| if quick { 1 } else { most };
    let measure: fn(&Testbed) -> Result<Vec<Figure>> = match group {
        Group::Kexec => blackout::measure,
        Group::KexecHuge => |bed| blackout::much(bed, blackout::HUGE),
        Group::KexecScattered => |bed| blackout::much(bed, blackout::SCATTERED),
        Group::Mount => arrival::mount,
        Group::Restore => arrival::restore,
        Group::Plan => return plans(&name, runs(NATIVE_RUNS)),
        Group::CensusHuge => {
            return figure::repeat(&name, runs(NATIVE_RUNS), || once::with_own_mounts(&name));
        }
        Group::Census | Group::Copy | Group::ComposeFiles | Group::ComposeLarge => {
            return figure::repeat(&name, runs(NATIVE_RUNS), || once::in_child(&name, &[]));
        }
    };
    let bed = Testbed::prepare(false, &|step| eprintln!("testbed: {step}"))?;
    figure::repeat(&name, runs(VM_RUNS), || measure(&bed))
}

/// One row for each figure of each synthetic host, then how they grow.
fn plans(name: &str, runs: usize) -> Result<Vec<Row>> {
    let host = |number: usize| {
        let number = number.to_string();
        figure::repeat(name, runs, || once::in_child(name, &["--host", &number]))
    };
    let rows: Vec<_> = (0..planning::HOSTS).map(host).collect::<Result<_>>()?;
    let mut rows = rows.concat();
    rows.extend(planning::growth(&rows));
    Ok(rows)
}

/// One native run, in this process.
fn figures_of(groups: &[Group], host: usize) -> Result<Vec<Figure>> {
    match groups {
        [Group::Census] => census::small(),
        [Group::CensusHuge] => census::huge(),
        [Group::Copy] => Ok(copy::measure()),
        [Group::ComposeFiles] => compose::files(),
        [Group::ComposeLarge] => compose::large(),
        [Group::Plan] => planning::measure(host),
        _ => anyhow::bail!("--once goes with one native group"),
    }
}
