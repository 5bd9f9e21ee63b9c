//! The `pkram` command: keeps chosen memory alive across kexec.
//!
//! One file a verb in `verbs/`. What a verb answers goes through [`answer::print`]; nothing
//! else reaches stdout.
//!
//! | exit status | verbs that look | verbs that do something |
//! |---|---|---|
//! | 0 | the answer is yes | done |
//! | 1 | the answer is no, and says why on stdout | refused or failed, as stderr says |
//! | 2 | there is no answer, as stderr says | the command line could not be understood |

#![forbid(unsafe_code)]

mod answer;
mod bar;
mod report;
mod verbs;

use clap::Parser;
use pkram::save::SaveError;
use pkram::source::SourceError;
use pkram_cli::args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    // What `take` starts has its own limits.
    if !matches!(cli.verb, args::Verb::Take { .. }) {
        allow_open_files();
    }
    match verbs::run(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("pkram: {}", told(&error));
            if let Some(remedy) = remedy(&error) {
                eprintln!("       -> {remedy}");
            }
            if cli.verb.looks() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Each few GiB that are held take an open file; a thousand, the usual limit, are soon used up.
fn allow_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // With the old limit small sources go as well as before.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// An error with its causes; most of pkram's own messages tell theirs already.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match () {
        () if told.is_empty() => cause,
        () if told.contains(&cause) => told,
        () => format!("{told}: {cause}"),
    })
}

/// What would help.
fn remedy(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        let of_source = || cause.downcast_ref::<SourceError>()?.remedy().map(str::to_owned);
        cause.downcast_ref::<SaveError>().and_then(SaveError::remedy).or_else(of_source)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_told_once() {
        let error = std::io::Error::other("no space");
        let error = anyhow::Error::new(error).context("/x: no space").context("cannot load");
        assert_eq!(told(&error), "cannot load: /x: no space");
    }
}
