//! A machine on its way from one kernel to the next, with a clock on every step.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;
use testbed::{APPEND, Builder, GUEST_INITRD, Hop, Kernel, Testbed, Vm};

use super::Options;
use crate::guest::LIMIT;

/// The phases that replace the kernel, in one step or in two.
pub(super) const KEXEC: &str = "pkram kexec";
pub(super) const LOAD: &str = "pkram kexec --load-only";
pub(super) const EXEC: &str = "pkram exec";
/// The same by the service, with a shutdown before it.
pub(super) const SERVICE: &str = "systemctl kexec";

/// Where the region is mounted under the next kernel.
pub(super) const REGION_DIR: &str = "/mnt/region";

/// The steps of `pkram kexec` as the next kernel knows them, each from the end of the one before.
const STEPS: [&str; 9] =
    ["hold", "compose", "load", "last_look", "shutdown", "check", "moves", "metadata", "place"];

#[derive(Debug, Serialize)]
pub(super) struct Phase {
    pub(super) name: &'static str,
    pub(super) seconds: f64,
}

/// What a demonstration shows of its kexec.
#[derive(Debug, Serialize)]
pub(super) struct Jump {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) uefi: bool,
    pub(super) bytes_preserved: u64,
    pub(super) bytes_moved: u64,
    /// The part of the jump that the next kernel took from its start to its first program's answer.
    pub(super) next_kernel_boot_seconds: f64,
    /// What `pkram kexec` did, by the TSC: up to the last look under the old kernel, from the
    /// mover's check on in between. Where it did it in two steps, the last look includes the wait.
    pub(super) timeline: Vec<Phase>,
}

pub(super) struct Journey<'a> {
    pub(super) vm: Vm,
    pub(super) phases: Vec<Phase>,
    pub(super) to: &'a Kernel,
    uefi: bool,
    start: Instant,
}

impl<'a> Journey<'a> {
    /// Boots the old kernel in a machine.
    pub(super) fn begin(
        bed: &'a Testbed,
        options: &Options,
        machine: impl FnOnce(&Kernel) -> Result<Builder<'a>>,
    ) -> Result<Self> {
        let (from, to) = (bed.kernel(&options.from)?, bed.kernel(&options.to)?);
        let (start, name_of_phase) = (Instant::now(), "boot the old kernel");
        say(start, name_of_phase);
        let machine = machine(from)?.uefi(options.uefi);
        let mut vm = machine.boot()?;
        vm.listen(|line| eprintln!("          | {line}"));
        let booted = Phase { name: name_of_phase, seconds: start.elapsed().as_secs_f64() };
        let journey = Self { vm, phases: vec![booted], to, uefi: options.uefi, start };
        journey.say(&format!("Linux {} is up", from.release));
        Ok(journey)
    }

    /// Tells people what happens.
    pub(super) fn say(&self, text: &str) {
        say(self.start, text);
    }

    /// Does something and remembers how long it took.
    pub(super) fn time<T>(
        &mut self,
        name: &'static str,
        action: impl FnOnce(&mut Vm) -> Result<T>,
    ) -> Result<T> {
        self.say(name);
        let start = Instant::now();
        let result = action(&mut self.vm).with_context(|| name)?;
        self.phases.push(Phase { name, seconds: start.elapsed().as_secs_f64() });
        Ok(result)
    }

    /// Replaces the kernel, keeps the sources and mounts the region.
    pub(super) fn kexec(&mut self, sources: &[&str]) -> Result<Jump> {
        let command = self.kexec_command(sources);
        self.arrive(KEXEC, command)
    }

    /// Prepares for it, while everything goes on.
    pub(super) fn load(&mut self, sources: &[&str]) -> Result<()> {
        let command = [self.kexec_command(sources), vec!["--load-only".to_owned()]].concat();
        self.time(LOAD, |vm| vm.program(command).limit(LIMIT).run()).map(drop)
    }

    /// Does what was prepared.
    pub(super) fn exec(&mut self) -> Result<Jump> {
        self.arrive(EXEC, ["pkram", "exec"].map(str::to_owned).to_vec())
    }

    fn kexec_command(&self, sources: &[&str]) -> Vec<String> {
        let image = self.to.guest_image();
        let kernel = ["pkram", "kexec", "--kernel", &image, "--initrd", GUEST_INITRD];
        let words = kernel.into_iter().chain(["--append", &APPEND]).chain(sources.iter().copied());
        words.map(str::to_owned).collect()
    }

    fn arrive(&mut self, name: &'static str, command: Vec<String>) -> Result<Jump> {
        let hop = self.jump(name, command)?;
        let report = self.vm.exec(["pkram", "report", "--json"])?.json()?;
        let jump = self.tell(&hop, &report)?;
        self.time("mount the region", |vm| vm.run(["pkram", "mount", REGION_DIR]))?;
        Ok(jump)
    }

    /// Runs what ends in the next kernel.
    pub(super) fn jump<I>(&mut self, name: &'static str, command: I) -> Result<Hop>
    where
        I: IntoIterator<Item: Into<String>>,
    {
        let hop = self.time(name, |vm| vm.kexec_into(command, LIMIT))?;
        let (release, boot_id) = (&hop.to.release, &hop.to.boot_id);
        self.say(&format!("Linux {release} is up: a new kernel, boot id {boot_id}"));
        Ok(hop)
    }

    /// What is known of the kexec afterwards, by `pkram report` among others.
    pub(super) fn tell(&mut self, hop: &Hop, report: &Value) -> Result<Jump> {
        let made = &report["jump"]["region"];
        let regions = report["regions"].as_array().into_iter().flatten();
        let region = regions.into_iter().find(|region| region["uuid"] == *made);
        let region = region.with_context(|| format!("no region in {report}"))?;
        let bytes = |name| region[name].as_u64().with_context(|| format!("no {name} in {region}"));
        Ok(Jump {
            from: hop.from.release.clone(),
            to: hop.to.release.clone(),
            uefi: self.uefi,
            bytes_preserved: bytes("kept")?,
            bytes_moved: bytes("moved")?,
            next_kernel_boot_seconds: Duration::from_millis(hop.to.uptime_ms).as_secs_f64(),
            timeline: timeline(&mut self.vm)?,
        })
    }

    /// How long the phases from this one on took together.
    pub(super) fn seconds_from(&self, first: usize) -> f64 {
        self.phases[first..].iter().map(|phase| phase.seconds).sum()
    }
}

fn say(start: Instant, text: &str) {
    eprintln!("{:6.1} s  {text}", start.elapsed().as_secs_f64());
}

/// How long each step took, by the clock that goes on across the jump.
fn timeline(vm: &mut Vm) -> Result<Vec<Phase>> {
    let status: Value = vm.exec(["pkram", "status", "--json"])?.json()?;
    let step = |name| {
        let seconds = status["arrival"][name].as_f64();
        Ok(Phase { name, seconds: seconds.with_context(|| format!("no {name} in {status}"))? })
    };
    STEPS.into_iter().map(step).collect()
}
