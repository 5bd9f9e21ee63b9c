//! `guest`: PID 1 of the test machines, the agent that serves the host, and the tools it runs.
//!
//! | run as | what it is |
//! |---|---|
//! | `/init` (PID 1) | mounts, loads modules, keeps the agent running, reaps orphans |
//! | `guest agent` | serves the agent protocol on `/dev/ttyS1` |
//! | `guest mktree`, `digest` | make a tree with everything in it; describe it |
//! | `guest frames` | where files lie in physical memory |
//! | `guest fill`, `fragment` | leave little memory, or none in one piece |
//! | `guest pattern` | memory of all kinds with known content |
//! | `guest killat` | kills a program at one of its system calls |
//! | `guest mc` | fills a memcached and checks it |
//! | `guest qmp` | gives a command to a QEMU inside the test machine |
//! | `/init inner` (PID 1) | the workload of a virtual machine inside the test machine |

#![deny(unsafe_code)]

mod agent;
mod ballast;
mod boot;
mod digest;
mod frames;
mod inner;
mod jobs;
mod killat;
mod memcached;
mod memcpy;
mod mktree;
mod modules;
mod pattern;
mod qmp;
mod rng;
mod sys;

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
    /// Grow a random tree with everything in it; prints a JSON summary
    Mktree(mktree::Args),
    /// Describe a tree, a line for each path, and a hash over all
    Digest(digest::Args),
    /// Print the page frames of files, a JSON object for each
    Frames(frames::Args),
    /// Fill memory
    Fill(ballast::Args),
    /// Fill memory and free single pages of it again
    Fragment(ballast::Args),
    /// Fill memory of some kind with a pattern, or look whether it is there
    Pattern(pattern::Args),
    /// Copy memory for a while, and say how quickly; prints JSON
    Memcpy(memcpy::Args),
    /// Run a program and kill it at a system call; exit status 9 where it was, else its own
    Killat(killat::Args),
    /// Fill a memcached or check it; prints JSON
    Mc(memcached::Args),
    /// Give a command to a QEMU in this machine; prints the value that it returns
    Qmp(qmp::Args),
    /// Be PID 1 of a virtual machine inside the test machine
    Inner,
}

fn main() -> anyhow::Result<()> {
    // The kernel hands on what follows `--` on its command line.
    if std::process::id() == 1 && std::env::args().len() == 1 {
        return boot::run();
    }
    match Cli::parse().verb {
        Verb::Agent => agent::serve(),
        Verb::Mktree(args) => mktree::run(&args),
        Verb::Digest(args) => digest::run(&args),
        Verb::Frames(args) => frames::run(&args),
        Verb::Fill(args) => ballast::fill(&args),
        Verb::Fragment(args) => ballast::fragment(&args),
        Verb::Pattern(args) => pattern::run(&args),
        Verb::Memcpy(args) => memcpy::run(&args),
        Verb::Killat(args) => killat::run(&args),
        Verb::Mc(args) => memcached::run(&args),
        Verb::Qmp(args) => qmp::run(&args),
        Verb::Inner => inner::run(),
    }
}
