//! One file a verb.

mod check;
mod config;
mod exec;
mod inspect;
mod kexec;
mod list;
mod mount;
mod put;
mod release;
mod report;
mod reserve;
mod restore;
mod status;
mod take;
mod verify;

use crate::args::{Cli, Verb};
use crate::bar::Bars;
use pkram::restore::RestoreOptions;
use std::process::ExitCode;

/// Does what the command line says.
pub(crate) fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let bars = Bars::new(cli.quiet);
    match &cli.verb {
        Verb::Check { save, config } => check::run(cli.json, save, *config, &bars),
        Verb::Kexec { save, holder: true, .. } => kexec::hold(cli, save, &bars),
        Verb::Kexec { load_only: true, .. } => kexec::start_holder(),
        Verb::Kexec { save, .. } => kexec::run(cli, save, &bars),
        Verb::Exec => exec::exec(),
        Verb::Unload => exec::unload(cli.json),
        Verb::List => list::run(cli.json),
        Verb::Mount { what } => mount::run(cli.json, what),
        Verb::Release { region, force } => release::run(cli.json, region.as_deref(), *force),
        Verb::Restore { names, to, region, keep } => {
            let options = RestoreOptions {
                names: names.clone(),
                to: to.clone(),
                keep: *keep,
                ..RestoreOptions::default()
            };
            restore::run(cli.json, region.as_deref(), &options, &bars)
        }
        Verb::Reserve { size: Some(size), print, update_grub, .. } => {
            reserve::set_aside(cli.json, *size, *print, *update_grub)
        }
        Verb::Reserve { remove: true, update_grub, .. } => reserve::remove(cli.json, *update_grub),
        Verb::Reserve { init, no_wipe, .. } => reserve::arrive(cli.json, *init, *no_wipe),
        Verb::Put { name, fd, file, store } => put::run(name, *fd, file.as_deref(), store),
        Verb::Take { name, remove, program, store } => {
            take::run(cli.json, name.as_deref(), *remove, program, store)
        }
        Verb::Report { html: Some(path), .. } => report::run(cli.json, report::Form::Html(path)),
        Verb::Report { history: true, .. } => report::run(cli.json, report::Form::History),
        Verb::Report { prometheus: true, .. } => report::run(cli.json, report::Form::Prometheus),
        Verb::Report { .. } => report::run(cli.json, report::Form::Answer),
        Verb::Status => status::run(cli.json),
        Verb::Config(verb) => config::run(cli.json, verb),
        Verb::Verify { region } => verify::run(cli.json, region.as_deref()),
        Verb::Inspect { path, tree } => inspect::run(cli.json, path, *tree),
    }
}
