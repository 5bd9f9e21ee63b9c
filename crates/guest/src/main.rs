//! `guest`: PID 1 of the test machines, the agent that serves the host, and the tools it runs.
//!
//! | run as | what it is |
//! |---|---|
//! | `/init` (PID 1) | mounts, loads modules, keeps the agent running, reaps orphans |
//! | `guest agent` | serves the agent protocol on `/dev/ttyS1` |

mod agent;
mod boot;
mod jobs;
mod modules;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "guest", about = "Tools for the inside of a pkram test machine")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Serve the agent protocol on /dev/ttyS1
    Agent,
}

fn main() -> anyhow::Result<()> {
    if std::process::id() == 1 {
        return boot::run();
    }
    match Cli::parse().verb {
        Verb::Agent => agent::serve(),
    }
}
