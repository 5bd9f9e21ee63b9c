//! `pkram kexec`: hold, plan, load, jump.
//!
//! With `--load-only` the work is done by a copy of this program in the background, which goes on
//! holding when the answer is given.

use super::check::{Plan, options, sources};
use crate::answer::print;
use crate::args::{Cli, Save};
use crate::bar::Bars;
use anyhow::Context as _;
use pkram::history::{self, Way};
use pkram::holder::Seat;
use pkram::save::{Prepared, preflight, prepare};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

/// The holder's first line on success; what follows is the answer.
const LOADED: &str = "loaded";

pub(crate) fn run(cli: &Cli, save: &Save, bars: &Bars) -> anyhow::Result<ExitCode> {
    preflight()?;
    let _seat = Seat::take()?;
    let prepared = load(save, bars)?;
    print(cli.json, &Plan::of(&prepared))?;
    Err(history::jump(prepared, Way::Command, bars).into())
}

fn load(save: &Save, bars: &Bars) -> anyhow::Result<Prepared> {
    let mut prepared = prepare(sources(save)?, &options(save)?, bars)?;
    unload_on_signals()?;
    prepared.load()?;
    Ok(prepared)
}

/// Starts the holder, and passes on what it says before it goes into the background. Its first
/// argument begins with `@`, so that systemd's final killing spree spares it.
pub(crate) fn start_holder() -> anyhow::Result<ExitCode> {
    let mut holder = Command::new("/proc/self/exe")
        .arg0("@pkram")
        .args(std::env::args_os().skip(1))
        .arg("--holder")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the process that holds the sources")?;
    let mut said = BufReader::new(holder.stdout.take().context("the holder has no stdout")?);
    let mut first = String::new();
    said.read_line(&mut first)?;
    if first.trim() != LOADED {
        // Its error is on stderr already.
        holder.wait()?;
        return Ok(ExitCode::FAILURE);
    }
    let mut answer = String::new();
    said.read_to_string(&mut answer)?;
    io::stdout().write_all(answer.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Is the holder.
pub(crate) fn hold(cli: &Cli, save: &Save, bars: &Bars) -> anyhow::Result<ExitCode> {
    preflight()?;
    let seat = Seat::take()?;
    let prepared = load(save, bars)?;
    let listener = seat.listen()?;
    writeln!(io::stdout(), "{LOADED}")?;
    print(cli.json, &Plan::of(&prepared))?;
    leave_terminal()?;
    seat.serve(&listener, prepared, bars)?;
    Ok(ExitCode::SUCCESS)
}

/// What is loaded means nothing without the pages held here: a signal that ends this process
/// takes it back first.
fn unload_on_signals() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if signals.forever().next().is_some() {
            // Nobody is left to tell, and the process ends either way.
            let _ = pkram::unload();
            std::process::exit(1);
        }
    })?;
    Ok(())
}

/// Closes what ties the holder to the one who started it.
fn leave_terminal() -> io::Result<()> {
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    rustix::process::setsid()?;
    // Out of memory, another one is to go: without the holder all that it holds is lost.
    std::fs::write("/proc/self/oom_score_adj", "-1000")?;
    leave_unit();
    Ok(())
}

/// Leaves the session or service that it was started in, whose end, as at a shutdown, would be that of
/// the holder.
fn leave_unit() {
    for hierarchy in ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd"] {
        // `cgroups(7)`: 0 is the process that writes. Where there is no such hierarchy, nobody ends
        // processes by it.
        let _ = std::fs::write(format!("{hierarchy}/cgroup.procs"), "0");
    }
}
