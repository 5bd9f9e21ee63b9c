//! The `pkram` command: keeps chosen memory alive across kexec.
//!
//! One file a verb in `verbs/`. A verb returns an [`answer::Answer`]; nothing else reaches stdout.
//! Exit status: 0 done, 1 refused or failed, 2 usage.

#![forbid(unsafe_code)]

mod answer;
mod args;
mod bar;
#[cfg(test)]
mod man;
mod size;
mod verbs;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    match verbs::run(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("pkram: {error:#}");
            ExitCode::FAILURE
        }
    }
}
