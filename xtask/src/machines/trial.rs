//! One machine: what check says of it, and what happens.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use testbed::{APPEND, GUEST_INITRD, Kernel, Testbed, Vm};

use super::machine::{Load, Machine, Obstacle};
use super::report::Row;
use crate::guest::{LIMIT, digest, meminfo, memory_map};

const MIB: u64 = 1 << 20;
const HUGE: u64 = 2 * MIB;
const REGION: &str = "/mnt/region";

/// What a small system needs for its programs, and one byte in so many of RAM: check refuses by
/// default what would leave less.
const PROGRAMS: u64 = 192 * MIB;
const PROGRAMS_SHARE: u64 = 256;

/// How far off check may be: what it counts for the kernel's own is an upper bound.
const MARGIN: u64 = 48 * MIB;

/// What the parts of a kexec take at most besides what is kept: the kernel's window, the initrd, and
/// what planning leaves between them.
const PARTS: u64 = 256 * MIB;

/// How the refusal begins where memory is full.
const STAGING: &str = "cannot stage ";

/// Tries the machine.
pub(super) fn row(bed: &Testbed, machine: &Machine) -> Row {
    let start = Instant::now();
    let mut row = Row::of(machine);
    match play(bed, machine, &mut row.said) {
        Ok(happened) => (row.happened, row.right) = (happened, true),
        Err(error) => row.happened = format!("{error:#}").replace('\n', " ⏎ "),
    }
    row.seconds = start.elapsed().as_secs_f64();
    row
}

/// What happened; an error where check was wrong about it.
fn play(bed: &Testbed, machine: &Machine, said: &mut String) -> Result<String> {
    let vm = bed.vm(&format!("machine-{}", machine.number), bed.kernel(machine.from)?);
    let vm = vm.memory_mib(machine.memory_mib).uefi(machine.uefi).append(machine.append);
    let mut vm = vm.boot()?;
    let kept = Kept::fill(&mut vm, machine)?;
    let mut append = format!("{APPEND} {}", machine.append);
    match machine.obstacle {
        Some(Obstacle::CommandLine(words)) => append = format!("{append} {words}"),
        Some(Obstacle::Forbidden(command)) => drop(vm.sh(command)?),
        None => {}
    }
    let next = bed.kernel(machine.to)?;
    let mut trial = Trial { vm, next, append, source: kept.source(), kept };
    let answer = trial.check(&[])?;
    *said = answer.said();
    match (answer, machine.obstacle) {
        (Answer::Yes(promise), _) => trial.keeps(&promise, &[]),
        (Answer::No { .. }, Some(Obstacle::Forbidden(_))) => trial.forbidden(),
        (Answer::No { .. }, Some(Obstacle::CommandLine(_))) => trial.forced(),
        (Answer::No { about, reason }, None) => match about.as_str() {
            "RAM left" => trial.short(&reason),
            "moves" => trial.moved(),
            _ => bail!("refused for {about}: {reason}"),
        },
    }
}

struct Trial<'a> {
    vm: Vm,
    next: &'a Kernel,
    append: String,
    source: &'static str,
    kept: Kept,
}

/// What `pkram check` says.
enum Answer {
    Yes(Promise),
    No { about: String, reason: String },
}

impl Answer {
    fn said(&self) -> String {
        match self {
            Self::Yes(_) => "yes".to_owned(),
            Self::No { about, reason } => format!("no, {about}: {reason}"),
        }
    }
}

/// What it promises, in bytes.
struct Promise {
    moved: u64,
    ram: u64,
    programs: u64,
    returnable: u64,
}

impl Promise {
    fn of(said: &Value) -> Result<Self> {
        let number = |at: &str| {
            said.pointer(at).and_then(Value::as_u64).with_context(|| format!("no {at} in {said}"))
        };
        let ram = number("/manifest/plan/ram_left")?;
        let costs = said["costs"].as_object().context("no costs")?;
        let costs: u64 = costs.values().filter_map(Value::as_u64).sum();
        let returnable = number("/manifest/plan/returnable")?;
        let moved = number("/manifest/plan/moved")?;
        Ok(Self { moved, ram, programs: ram.saturating_sub(costs), returnable })
    }
}

impl Trial<'_> {
    fn argv(&self, verb: &str, more: &[&str]) -> Vec<String> {
        let image = self.next.guest_image();
        let words = ["pkram", verb, "--json", "--kernel", &image, "--initrd", GUEST_INITRD];
        let words = words.into_iter().chain(["--append", &self.append]).chain(more.iter().copied());
        words.chain([self.source]).map(str::to_owned).collect()
    }

    fn check(&mut self, more: &[&str]) -> Result<Answer> {
        let output = self.vm.program(self.argv("check", more)).limit(LIMIT).exec()?;
        let said: Value = output.json().context(output.stderr)?;
        if output.code == Some(0) {
            return Ok(Answer::Yes(Promise::of(&said)?));
        }
        let findings = said["findings"].as_array().context("no findings")?;
        let against = findings.iter().find(|f| f["answer"] == "no").context("no reason")?;
        let text = |key: &str| against[key].as_str().unwrap_or_default().to_owned();
        Ok(Answer::No { about: text("about"), reason: text("reason") })
    }

    fn kexec(&mut self, more: &[&str]) -> Result<()> {
        let hop = self.vm.kexec_into(self.argv("kexec", more), LIMIT)?;
        ensure!(hop.to.release == self.next.release, "arrived in {}", hop.to.release);
        Ok(())
    }

    /// Everything that was promised comes true.
    fn keeps(&mut self, promise: &Promise, more: &[&str]) -> Result<String> {
        self.kexec(more).context("it passed, but did not arrive")?;
        let available = meminfo(&mut self.vm, "MemAvailable")?;
        let ram = memory_map(&mut self.vm)?.ram().bytes();
        ensure!(ram.abs_diff(promise.ram) <= MIB, "RAM is {ram}, promised {}", promise.ram);
        let programs = promise.programs;
        ensure!(available >= programs, "{available} bytes for programs, promised {programs}");
        self.vm.run(["pkram", "mount", REGION])?;
        self.kept.check(&mut self.vm)?;
        self.vm.run(["umount", REGION])?;
        let verified = self.vm.program(["pkram", "verify"]).limit(LIMIT).exec()?;
        ensure!(verified.code == Some(0), "not whole: {verified:?}");
        let list: Value = self.vm.exec(["pkram", "list", "--json"])?.json()?;
        let uuid = list["regions"][0]["uuid"].as_str().context("no region")?;
        let released: Value = self.vm.exec(["pkram", "release", "--json", uuid])?.json()?;
        let returned = released["returned"].as_u64();
        ensure!(
            returned == Some(promise.returnable),
            "{returned:?} came back, promised {}",
            promise.returnable
        );
        Ok(format!(
            "all there; {} MiB of RAM, {} for programs ({} promised), {} came back",
            ram / MIB,
            available / MIB,
            programs / MIB,
            promise.returnable / MIB
        ))
    }

    /// Refused for want of memory.
    fn short(&mut self, reason: &str) -> Result<String> {
        if reason.starts_with(STAGING) {
            return self.full(reason);
        }
        let all = memory_map(&mut self.vm)?.ram().bytes();
        let little = ["--reserve-ram", "1M"];
        match self.check(&little)? {
            Answer::No { reason, .. } if reason.starts_with(STAGING) => self.full(&reason),
            Answer::No { reason, .. } => {
                let kept = self.kept.bytes;
                ensure!(kept + PARTS > all, "no plan for {kept} of {all} bytes: {reason}");
                Ok(format!("no plan at all for {} of {} MiB", kept / MIB, all / MIB))
            }
            Answer::Yes(_) => match self.kexec(&little) {
                Err(error) => Ok(format!("the next kernel does not come up: {}", first(&error))),
                Ok(()) => {
                    let available = meminfo(&mut self.vm, "MemAvailable")?;
                    let enough = PROGRAMS + all / PROGRAMS_SHARE + MARGIN;
                    ensure!(available < enough, "{available} bytes for programs are not short");
                    Ok(format!("comes up with {} MiB for programs", available / MIB))
                }
            },
        }
    }

    /// Refused because there is no room in the old kernel for what the next one starts with.
    fn full(&mut self, reason: &str) -> Result<String> {
        let need = reason[STAGING.len()..].split(' ').next().and_then(|n| n.parse::<u64>().ok());
        let need = need.with_context(|| format!("no number in: {reason}"))?;
        let available = meminfo(&mut self.vm, "MemAvailable")?;
        // The old kernel lives in this memory while all is staged.
        ensure!(available < need + 32 * MIB, "{available} bytes are available");
        Ok(format!("{} MiB are free, {} are to be staged there", available / MIB, need / MIB))
    }

    /// Refused because huge pages would have to move: so they do, if they may.
    fn moved(&mut self) -> Result<String> {
        let may = ["--move-huge"];
        let Answer::Yes(promise) = self.check(&may)? else { bail!("refused with {may:?} as well") };
        let moved = promise.moved;
        ensure!(moved >= HUGE, "with {may:?} {moved} bytes move");
        let kept = self.keeps(&promise, &may)?;
        Ok(format!("with {} {} MiB move; {kept}", may[0], moved / MIB))
    }

    /// Refused for what stands on the command line.
    fn forced(&mut self) -> Result<String> {
        let before = meminfo(&mut self.vm, "MemTotal")?;
        if let Err(error) = self.kexec(&["--force"]) {
            return Ok(format!("the next kernel does not come up: {}", first(&error)));
        }
        let list: Value = self.vm.exec(["pkram", "list", "--json"])?.json()?;
        let regions = list["regions"].as_array().context("no list")?;
        if regions.is_empty() {
            return Ok("the next kernel has no region".to_owned());
        }
        let spans: u64 = regions.iter().filter_map(|r| r["bytes"].as_u64()).sum();
        let after = meminfo(&mut self.vm, "MemTotal")? + spans;
        ensure!(after + 64 * MIB < before, "nothing is missing: {after} of {before} bytes");
        Ok(format!("{} MiB are missing", (before - after) / MIB))
    }

    /// Refused because this machine lets nobody load a kernel.
    fn forbidden(&mut self) -> Result<String> {
        let image = self.next.guest_image();
        let output = self.vm.exec(["kexec", "-c", "-l", &image, "--append=x"])?;
        ensure!(output.code != Some(0), "kexec-tools can: {output:?}");
        let said = output.stderr.lines().find(|l| !l.trim().is_empty()).unwrap_or_default();
        Ok(format!("kexec-tools: {}", said.trim()))
    }
}

/// The first line of an error, without the console's excerpt.
fn first(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    text.lines().next().unwrap_or_default().chars().take(100).collect()
}

/// What the machine carries.
struct Kept {
    load: Load,
    bytes: u64,
    /// Of the tree.
    digest: String,
}

impl Kept {
    fn source(&self) -> &'static str {
        match self.load {
            Load::Huge => "data=/dev/hugepages/data",
            _ => "data=/dev/shm/data",
        }
    }

    fn fill(vm: &mut Vm, machine: &Machine) -> Result<Self> {
        vm.sh("mount -o remount,size=95% /dev/shm && mkdir /dev/shm/data")?;
        let room = meminfo(vm, "MemAvailable")?;
        let bytes = (room * machine.percent / 100).next_multiple_of(HUGE);
        let load = machine.load;
        match load {
            Load::Files => files(vm, bytes)?,
            Load::Tree => {
                let tree = (bytes / 2).min(200 * MIB);
                mktree(vm, 300, tree)?;
                files(vm, bytes - tree)?;
            }
            Load::Scattered => {
                // Half of it: what the ballast takes is gone when it is measured.
                let free = (room / 2).min(300 * MIB);
                vm.program(["guest", "fragment", "--leave-free", &(free / MIB).to_string()])
                    .limit(LIMIT)
                    .run()?;
                let bytes = (free * machine.percent / 160).max(8 * MIB);
                mktree(vm, 200, bytes)?;
                vm.run(["umount", "/run/ballast"])?;
            }
            Load::Huge => return Self::huge(vm, bytes),
        }
        let used = vm.sh("du -sk /dev/shm/data | cut -f1")?;
        let bytes = used.trim().parse::<u64>().context("du")? * 1024;
        Ok(Self { load, bytes, digest: digest(vm, "/dev/shm/data")? })
    }

    fn huge(vm: &mut Vm, bytes: u64) -> Result<Self> {
        // As many as the kernel finds.
        let got = vm.sh(&format!(
            "echo {} > /proc/sys/vm/nr_hugepages; cat /proc/sys/vm/nr_hugepages",
            bytes / HUGE
        ))?;
        let bytes = got.trim().parse::<u64>()? * HUGE;
        vm.sh(
            "mkdir -p /dev/hugepages && mount -t hugetlbfs -o pagesize=2M none /dev/hugepages && \
               mkdir /dev/hugepages/data",
        )?;
        pattern(vm, "write", "/dev/hugepages/data/vm", bytes)?;
        Ok(Self { load: Load::Huge, bytes, digest: String::new() })
    }

    fn check(&self, vm: &mut Vm) -> Result<()> {
        if self.load == Load::Huge {
            return pattern(vm, "check", &format!("{REGION}/data/vm"), self.bytes);
        }
        let found = digest(vm, &format!("{REGION}/data"))?;
        for (before, after) in self.digest.lines().zip(found.lines()) {
            ensure!(before == after, "before: {before}, after: {after}");
        }
        if found != self.digest {
            bail!("other paths than before");
        }
        Ok(())
    }
}

fn files(vm: &mut Vm, bytes: u64) -> Result<()> {
    for (number, part) in [(1, bytes / 2), (2, bytes / 3), (3, bytes / 6)] {
        pattern(vm, "write", &format!("/dev/shm/data/file-{number}"), part)?;
    }
    Ok(())
}

fn mktree(vm: &mut Vm, files: u64, bytes: u64) -> Result<()> {
    let (files, total) = (files.to_string(), (bytes / MIB).to_string());
    let argv = ["guest", "mktree", "--seed", "5", "--files", &files, "--total", &total];
    vm.program(argv.into_iter().chain(["/dev/shm/data"])).limit(LIMIT).run().map(drop)
}

fn pattern(vm: &mut Vm, verb: &str, path: &str, bytes: u64) -> Result<()> {
    let size = bytes.to_string();
    let argv = ["guest", "pattern", verb, path, "--size", &size, "--seed", "7"];
    vm.program(argv).limit(LIMIT).run().map(drop)
}
