//! `pkram status`: what this machine and this kernel can do, and how this kernel came here.

use crate::answer::print;
use config::size::show;
use pkram::handover::Handover;
use pkram::holder::{self, Ask, Reply};
use pkram::machine;
use pkram::manifest::Manifest;
use pkram::report::clock::Boot;
use pkram::report::timeline::{Name, Timeline};
use pkram::reserve::Ways;
use serde::Serialize;
use std::fmt;
use std::path::Path;
use std::process::ExitCode;

pub(crate) fn run(json: bool) -> anyhow::Result<ExitCode> {
    print(json, &Status::read())?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Serialize)]
struct Status {
    kernel: String,
    /// Bytes.
    mem_total: Option<u64>,
    /// Bytes that come and go at a time while running.
    memory_block: Option<u64>,
    /// What forbids loading a kernel; empty is good.
    obstacles: Vec<String>,
    /// What forbids keeping memory out of RAM from boot on; empty is good.
    reserve_obstacles: Vec<String>,
    /// What `pkram kexec --load-only` has loaded.
    loaded: Option<Box<Manifest>>,
    arrival: Option<Arrival>,
}

/// The way here, in seconds.
#[derive(Debug, Serialize)]
struct Arrival {
    region: String,
    hold: Option<f64>,
    compose: Option<f64>,
    load: Option<f64>,
    last_look: Option<f64>,
    shutdown: Option<f64>,
    check: Option<f64>,
    moves: Option<f64>,
    metadata: Option<f64>,
    place: Option<f64>,
    since: Option<f64>,
}

impl Status {
    fn read() -> Self {
        let arrival = Handover::of_this_boot().map(|h| {
            let timeline = Timeline::measure(&h, &Boot::default(), None);
            let seconds = |name| timeline.seconds(name);
            Arrival {
                region: h.region.to_string(),
                hold: seconds(Name::Hold),
                compose: seconds(Name::Compose),
                load: seconds(Name::Load),
                last_look: seconds(Name::LastLook),
                shutdown: seconds(Name::Shutdown),
                check: seconds(Name::Check),
                moves: seconds(Name::Moves),
                metadata: seconds(Name::Metadata),
                place: seconds(Name::Place),
                since: h.seconds(h.mover[4], pkram::tsc()),
            }
        });
        let Ways { saved: obstacles, reserved: reserve_obstacles } = Ways::look(Path::new("/"));
        let loaded = match holder::ask(Ask::Status) {
            Ok(Reply::Loaded(manifest)) => Some(manifest),
            _ => None,
        };
        Self {
            kernel: machine::kernel_release(),
            mem_total: machine::mem_total().ok(),
            memory_block: machine::memory_block().ok(),
            obstacles,
            reserve_obstacles,
            loaded,
            arrival,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kernel      {}", self.kernel)?;
        if let (Some(total), Some(block)) = (self.mem_total, self.memory_block) {
            writeln!(f, "memory      {}, in blocks of {}", show(total), show(block))?;
        }
        if self.obstacles.is_empty() {
            writeln!(f, "kexec       possible")?;
        }
        for obstacle in &self.obstacles {
            writeln!(f, "kexec       {obstacle}")?;
        }
        if self.reserve_obstacles.is_empty() {
            writeln!(f, "reserve     possible")?;
        }
        for obstacle in &self.reserve_obstacles {
            writeln!(f, "reserve     {obstacle}")?;
        }
        if let Some(m) = &self.loaded {
            let next = m.next_kernel.as_deref().unwrap_or("a kernel");
            writeln!(f, "loaded      {next}, with region {}", m.region)?;
        }
        let Some(a) = &self.arrival else {
            return writeln!(f, "arrival     not started by pkram");
        };
        writeln!(f, "arrival     by pkram, with region {}", a.region)?;
        let phases = [
            ("hold", a.hold),
            ("compose", a.compose),
            ("load", a.load),
            ("last look", a.last_look),
            ("shutdown", a.shutdown),
            ("check", a.check),
            ("moves", a.moves),
            ("metadata", a.metadata),
            ("place", a.place),
            ("since", a.since),
        ];
        for (name, seconds) in phases {
            if let Some(s) = seconds {
                writeln!(f, "{name:<11} {s:.6} s")?;
            }
        }
        Ok(())
    }
}
