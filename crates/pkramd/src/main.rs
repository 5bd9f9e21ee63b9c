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
mod sources;
mod stage;

use clap::{Parser, Subcommand};
use config::Config;
use journal::Event;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Holds what is to be kept over kexec, and takes it through `systemctl kexec`.
///
/// Started by systemd, without arguments, as pkramd.service.
#[derive(Debug, Parser)]
#[command(name = "pkramd", version)]
struct Cli {
    #[command(subcommand)]
    part: Option<Part>,
}

/// What units and hooks run.
#[derive(Clone, Debug, Subcommand)]
enum Part {
    /// Bring back what came through the last kexec (pkram-arrive.service)
    Arrive,
    /// Fail if the memory of this source is missing (pkram-source@NAME.service)
    Await {
        /// The source
        name: String,
    },
    /// Begin without the memory of a source that is missing
    Forget {
        /// The source
        name: String,
    },
    /// Write units from the configuration (in system-generators/)
    Generate {
        /// Where, three folders of rising precedence; the first is written to
        #[arg(required = true, num_args = 1..=3)]
        dirs: Vec<PathBuf>,
    },
    /// Make everything ready for the jump (when pkram-shutdown.service stops)
    Stage,
    /// Jump, or return where that is not to be (in system-shutdown/)
    Jump {
        /// How the shutdown ends: kexec, reboot, poweroff, halt
        verb: String,
    },
}

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
    if cli.part.is_none() {
        alone::stand_alone()?;
    }
    let config = Config::read(Path::new("/")).unwrap_or_else(|rejected| {
        let told = |error: &config::ConfigError| Event::Configuration.tell(&error.to_string());
        rejected.errors.iter().for_each(told);
        Config::default()
    });
    match &cli.part {
        Some(Part::Stage) => return down::stage(&config),
        None => daemon::run(config),
        Some(Part::Arrive) => arrive::run(&config),
        Some(Part::Await { name }) => arrive::require(&config, name),
        Some(Part::Forget { name }) => arrive::forget(name),
        Some(Part::Generate { dirs }) => generate::generate(&config, Path::new("/"), &dirs[0]),
        Some(Part::Jump { verb }) => down::jump(&config, verb),
    }?;
    Ok(ExitCode::SUCCESS)
}
