//! `pkramd`: memory that is kept by an ordinary `systemctl kexec`, on an ordinary system.
//!
//! ```text
//! boot      pkramd arrive   everything back in its place, before the services that need it
//!           pkramd          the daemon: holds what services hand over
//! shutdown  pkramd stage    all services have stopped: last census, next kernel loaded
//!           pkramd jump     disks are unmounted: last look, jump
//! ```

#![forbid(unsafe_code)]

mod alone;
mod arrive;
mod attempt;
mod control;
mod daemon;
mod down;
mod generate;
mod handed;
mod journal;
mod late;
mod namespace;
mod orders;
mod stage;

use clap::Parser;
use config::Config;
use journal::Event;
use pkramd::args::{Cli, Part};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("pkramd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    match &cli.part {
        Some(Part::Stage) => return down::stage(&config()),
        Some(Part::Kexec) => return orders::kexec(),
        None => {
            alone::stand_alone()?;
            daemon::run(config())
        }
        Some(Part::Arrive { early }) => arrive::run(&config(), *early),
        Some(Part::Early) => arrive::early(&config()),
        Some(Part::Await { name }) => arrive::require(&config(), name),
        Some(Part::Forget { name }) => arrive::forget(name),
        Some(Part::Generate { dirs }) => generate::generate(&config(), Path::new("/"), &dirs[0]),
        Some(Part::Jump { verb }) => down::jump(&config(), verb),
        Some(Part::NoteFailure { why }) => late::write_failure(why),
        Some(Part::Reload) => orders::reload(),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// What is right of the configuration; the journal has what is not.
fn config() -> Config {
    Config::read(Path::new("/")).unwrap_or_else(|rejected| {
        let told = |error: &config::ConfigError| Event::Configuration.tell(&error.to_string());
        rejected.errors.iter().for_each(told);
        *rejected.rest
    })
}
