//! What happens in the demonstration, in its order.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use testbed::{APPEND, GUEST_INITRD, Kernel, Testbed, Vm};

use super::frames;
use super::report::{Frames, Items, Phase, Report};

/// The phase that replaces the kernel.
pub(super) const KEXEC: &str = "pkram kexec";

const MEMORY_MIB: u32 = 1024;

/// Memory that memcached may use for items, MiB.
const CACHE_MIB: &str = "256";

/// The tmpfs that is preserved, and its name in the region.
const SOURCE_DIR: &str = "/run/cache";
const SOURCE: &str = "cache=/run/cache";
const REGION_DIR: &str = "/mnt/region";
const SOCKET: &str = "/run/memcached.sock";

/// memcached's file: before in the tmpfs, after in the region.
const BEFORE: &str = "/run/cache/memory";
const AFTER: &str = "/mnt/region/cache/memory";

const SIGUSR1: i32 = 10;

/// Slow machines translate every instruction.
const LIMIT: Duration = Duration::from_secs(300);

/// Pages whose bytes are compared from outside the guest.
const SAMPLES: usize = 16;

pub(super) struct Scenario<'a> {
    pub(super) bed: &'a Testbed,
    pub(super) from: &'a Kernel,
    pub(super) to: &'a Kernel,
    pub(super) items: u64,
    pub(super) uefi: bool,
    pub(super) say: &'a (dyn Fn(&str) + 'a),
}

/// The part of pkram's manifest that the demonstration shows.
#[derive(Deserialize)]
struct Manifest {
    plan: PlanFigures,
}

#[derive(Deserialize)]
struct PlanFigures {
    preserved: u64,
    moved: u64,
}

#[derive(Deserialize)]
struct Filled {
    set: u64,
}

#[derive(Deserialize)]
struct Checked {
    found: u64,
    equal: u64,
}

impl Scenario<'_> {
    pub(super) fn play(&self) -> Result<Report> {
        let mut phases = Phases { say: self.say, done: Vec::new() };
        let seed = std::time::UNIX_EPOCH.elapsed()?.as_secs();

        let mut vm = phases.time("boot the old kernel", || {
            self.bed.vm("demo", self.from).memory_mib(MEMORY_MIB).uefi(self.uefi).boot()
        })?;
        vm.listen(|line| eprintln!("          | {line}"));
        let from = vm.hello().clone();
        (self.say)(&format!("Linux {} is up", from.release));

        vm.sh(&format!("mkdir {SOURCE_DIR} && mount -t tmpfs -o size=100% cache {SOURCE_DIR}"))?;
        let memcached = start_memcached(&mut vm, BEFORE)?;
        let filled: Filled = phases.time("fill memcached", || self.mc(&mut vm, "fill", seed))?;
        let filled_phases = phases.done.len();
        phases.time("stop memcached", || {
            vm.kill(memcached, SIGUSR1)?;
            let output = vm.wait(memcached, LIMIT)?;
            ensure!(output.code == Some(0), "memcached ended with {:?}", output.code);
            vm.run(["test", "-s", &format!("{BEFORE}.meta")])
                .context("memcached wrote no restart metadata")
        })?;
        let before = frames::of(&mut vm, BEFORE)?;
        let bytes_before = frames::sample(&mut vm, &before, SAMPLES)?;

        let hop = phases.time(KEXEC, || vm.kexec_into(self.pkram_kexec(), LIMIT))?;
        (self.say)(&format!(
            "Linux {} is up: a new kernel, boot id {}",
            hop.to.release, hop.to.boot_id
        ));

        let timeline = timeline(&mut vm)?;
        phases.time("mount the region", || vm.run(["pkram", "mount", REGION_DIR]))?;
        let manifest = vm.read_file(&format!("{REGION_DIR}/.pkram/manifest.json"))?;
        let plan = serde_json::from_slice::<Manifest>(&manifest).context("the manifest")?.plan;
        let after = frames::of(&mut vm, AFTER)?;
        let bytes_after = frames::sample(&mut vm, &after, SAMPLES)?;

        phases.time("start memcached in place", || start_memcached(&mut vm, AFTER))?;
        let gap: f64 = phases.done[filled_phases..].iter().map(|phase| phase.seconds).sum();
        let checked: Checked =
            phases.time("ask for every item", || self.mc(&mut vm, "check", seed))?;

        let items = Items { set: filled.set, found: checked.found, equal: checked.equal };
        let frames = Frames {
            pages_before: u64::try_from(before.len())?,
            pages_after: u64::try_from(after.len())?,
            same_place: frames::same_place(&before, &after),
            outside_pages_equal: bytes_before == bytes_after,
        };
        Ok(Report {
            version: 1,
            ok: items.set == self.items
                && items.found == items.set
                && items.equal == items.set
                && frames.pages_before == frames.pages_after
                && (frames.pages_before - frames.same_place) * frames::PAGE <= plan.moved
                && frames.outside_pages_equal,
            from: from.release,
            to: hop.to.release,
            uefi: self.uefi,
            bytes_preserved: plan.preserved,
            bytes_moved: plan.moved,
            next_kernel_boot_seconds: Duration::from_millis(hop.to.uptime_ms).as_secs_f64(),
            service_gap_seconds: gap,
            phases: phases.done,
            timeline,
            items,
            frames,
        })
    }

    fn mc<T: serde::de::DeserializeOwned>(&self, vm: &mut Vm, verb: &str, seed: u64) -> Result<T> {
        let (items, seed) = (format!("--items={}", self.items), format!("--seed={seed}"));
        let socket = format!("--socket={SOCKET}");
        let argv = ["guest", "mc", verb, &items, &seed, &socket];
        let said = vm.program(argv).limit(LIMIT).run()?;
        (self.say)(said.trim());
        serde_json::from_str(&said).context("the answer of guest mc")
    }

    fn pkram_kexec(&self) -> Vec<String> {
        let image = self.to.guest_image();
        let kernel = ["pkram", "kexec", "--kernel", &image, "--initrd", GUEST_INITRD];
        kernel.into_iter().chain(["--append", APPEND, SOURCE]).map(str::to_owned).collect()
    }
}

/// The steps of `pkram kexec` as the next kernel knows them, each from the end of the one before.
const STEPS: [&str; 9] =
    ["hold", "compose", "load", "last_look", "shutdown", "check", "moves", "metadata", "place"];

/// How long each step took, by the clock that goes on across the jump.
fn timeline(vm: &mut Vm) -> Result<Vec<Phase>> {
    let status: serde_json::Value = vm.exec(["pkram", "status", "--json"])?.json()?;
    let step = |name| {
        let seconds = status["arrival"][name].as_f64();
        Ok(Phase { name, seconds: seconds.with_context(|| format!("no {name} in {status}"))? })
    };
    STEPS.into_iter().map(step).collect()
}

/// Starts memcached on a file and waits until it serves.
fn start_memcached(vm: &mut Vm, file: &str) -> Result<u32> {
    let argv = ["memcached", "-u", "root", "-s", SOCKET, "-m", CACHE_MIB, "-e", file];
    let pid = vm.spawn(argv, "/run/memcached.log")?;
    let serving = format!(
        "n=0; until [ -S {SOCKET} ]; do
             n=$((n + 1)); [ $n -lt 1000 ] || {{ cat /run/memcached.log >&2; exit 1; }}; sleep 0.05
         done"
    );
    vm.sh(&serving).context("memcached does not come up")?;
    Ok(pid)
}

/// Says and times what happens.
struct Phases<'a> {
    say: &'a (dyn Fn(&str) + 'a),
    done: Vec<Phase>,
}

impl Phases<'_> {
    fn time<T>(&mut self, name: &'static str, action: impl FnOnce() -> Result<T>) -> Result<T> {
        (self.say)(name);
        let start = Instant::now();
        let result = action().with_context(|| name)?;
        self.done.push(Phase { name, seconds: start.elapsed().as_secs_f64() });
        Ok(result)
    }
}
