//! The blackout and the load of `pkram kexec` beside kexec-tools', in virtual machines.
//!
//! ```text
//!          ┌ load ┐     ┌───────────────── blackout ─────────────────┐
//! old ─────┴──────┴─────┤ order ─► jump ─► boot ─► agent ─► mounted  ├──── next
//!                       └────────────────────────────────┘ (plain kexec ends with the agent)
//! ```
//!
//! Both ways start in the same machine with the same file, half of memory on tmpfs, or three
//! quarters of it in huge pages or in scattered ones, and are loaded beforehand. The blackout begins with the order to jump (`pkram exec`, `kexec -e`), the
//! last thing that the old system does for anyone, and so includes pkram's last look. It ends when
//! the next system serves: with its agent's first word, and for pkram only when the file is
//! mounted in place. All on the host's clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::{APPEND, GUEST_INITRD, Kernel, Testbed, Vm};

use super::figure::Figure;

const FROM: &str = "6.1";
const TO: &str = "6.12";

/// The memory of a machine, and what is kept of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    name: &'static str,
    what: &'static str,
    memory_mib: u32,
    keep_mib: u32,
    dir: &'static str,
    /// Makes room for the file; the file is filled after it.
    prepare: &'static str,
    /// What is done once it is filled.
    settle: &'static str,
}

/// Half of memory, as it comes.
pub(super) const HALF: Shape = Shape {
    name: "kexec",
    what: "on tmpfs",
    memory_mib: 1024,
    keep_mib: 512,
    dir: "/dev/shm/kept",
    prepare: "mount -o remount,size=90% /dev/shm",
    settle: "true",
};

/// Three quarters of it in pages of 2 MiB.
pub(super) const HUGE: Shape = Shape {
    name: "kexec-huge",
    what: "in pages of 2 MiB (hugetlbfs)",
    memory_mib: 2560,
    keep_mib: 1920,
    dir: "/dev/hugepages/kept",
    prepare: "echo 960 > /proc/sys/vm/nr_hugepages
              test $(cat /proc/sys/vm/nr_hugepages) = 960
              mkdir -p /dev/hugepages
              mount -t hugetlbfs -o pagesize=2M none /dev/hugepages",
    settle: "true",
};

/// Three quarters of it in pages of 4 KiB that lie all over memory.
pub(super) const SCATTERED: Shape = Shape {
    name: "kexec-scattered",
    what: "in scattered pages of 4 KiB",
    memory_mib: 2560,
    keep_mib: 1920,
    dir: "/dev/shm/kept",
    prepare: "mount -o remount,size=90% /dev/shm
              guest fragment --leave-free 1960",
    settle: "umount /run/ballast",
};

const REGION: &str = "/mnt/region";

/// Slow machines translate every instruction.
const LIMIT: Duration = Duration::from_secs(300);

/// kexec-tools hashes what it loads (SHA-256), and again between the kernels; this leaves both out.
const UNCHECKED: [&str; 1] = ["--no-checks"];

/// One jump each way, with all there is to say about it.
pub(super) fn measure(bed: &Testbed) -> Result<Vec<Figure>> {
    let next = bed.kernel(TO)?;
    let plain = plain_kexec(bed, HALF, next, &[]).context("plain kexec")?;
    let unchecked = plain_kexec(bed, HALF, next, &UNCHECKED).context("plain without checks")?;
    let kept = pkram(bed, HALF, next).context("pkram kexec")?;
    let Parts { last_look, shutdown, check, moves, place, boot } = kept.parts()?;
    let load = kept.part("compose")? + kept.part("load")?;
    let mut rows = ratio(bed, HALF, &plain, &kept);
    let rest: [(&str, f64, &str, &str); 17] = [
        ("blackout.unchecked", unchecked.jump, "s", "the same after `kexec -l --no-checks`"),
        ("blackout.unchecked-ratio", kept.blackout() / unchecked.jump, "× plain", "pkram's / that"),
        ("blackout.last-look", last_look, "s", "of pkram's: from the load to reboot(2)"),
        ("blackout.shutdown", shutdown, "s", "of pkram's: from reboot(2) to the mover"),
        ("blackout.check", check, "s", "of pkram's: the mover checks its orders"),
        ("blackout.moves", moves, "s", "of pkram's: it moves what must move of the file"),
        ("blackout.place", place, "s", "of pkram's: it places metadata, kernel and initrd"),
        ("blackout.boot", boot, "s", "of pkram's: the rest, until the next agent"),
        ("blackout.mount", kept.mount, "s", "of pkram's: `pkram mount`"),
        ("blackout.moved", kept.moved, "MiB", "of the file lay where the next kernel must be"),
        ("load.pkram", load, "s", "plan, compose, stage, load, as `pkram status` says"),
        ("load.whole", kept.load, "s", "`pkram kexec --load-only`: with hold and census"),
        ("load.plain", plain.load, "s", "`kexec -c -l`, its files in the page cache"),
        ("load.ratio", load / plain.load, "× plain", "load.pkram / load.plain"),
        ("load.whole-ratio", kept.load / plain.load, "× plain", "load.whole / load.plain"),
        ("load.unchecked", unchecked.load, "s", "`kexec -c -l --no-checks`"),
        ("load.unchecked-ratio", load / unchecked.load, "× plain", "load.pkram / that"),
    ];
    rows.extend(rest.into_iter().map(|row| figure(HALF, row)));
    Ok(rows)
}

/// One jump each way with much of memory kept, and where the difference comes from.
pub(super) fn much(bed: &Testbed, shape: Shape) -> Result<Vec<Figure>> {
    let next = bed.kernel(TO)?;
    let plain = plain_kexec(bed, shape, next, &[]).context("plain kexec")?;
    let kept = pkram(bed, shape, next).context("pkram kexec")?;
    let Parts { last_look, check, moves, place, boot, .. } = kept.parts()?;
    let mut rows = ratio(bed, shape, &plain, &kept);
    let rest = [
        ("blackout.last-look", last_look, "s", "of pkram's: from the load to reboot(2)"),
        ("blackout.check", check, "s", "of pkram's: the mover checks its orders"),
        ("blackout.moves", moves, "s", "of pkram's: it moves what must move of the file"),
        ("blackout.place", place, "s", "of pkram's: it places metadata, kernel and initrd"),
        ("blackout.boot", boot, "s", "of pkram's: the rest, until the next agent"),
        ("blackout.mount", kept.mount, "s", "of pkram's: `pkram mount`"),
        ("blackout.moved", kept.moved, "MiB", "of the file lay where the next kernel must be"),
        ("load.whole", kept.load, "s", "`pkram kexec --load-only`: with hold and census"),
    ];
    rows.extend(rest.into_iter().map(|row| figure(shape, row)));
    Ok(rows)
}

fn ratio(bed: &Testbed, shape: Shape, plain: &Plain, kept: &Kept) -> Vec<Figure> {
    let Shape { memory_mib, keep_mib, what, .. } = shape;
    let about = format!(
        "`pkram exec` until it is mounted; Linux {FROM} to {TO}, {keep_mib} of {memory_mib} MiB kept \
         {what}, 1 processor, {}",
        bed.accelerator()
    );
    let blackout = kept.blackout();
    let rows = [
        ("blackout.pkram", blackout, "s", about.as_str()),
        ("blackout.plain", plain.jump, "s", "`kexec -e` until the next agent, the same kernels"),
        ("blackout.ratio", blackout / plain.jump, "× plain", "pkram's blackout / plain kexec's"),
    ];
    rows.into_iter().map(|row| figure(shape, row)).collect()
}

fn figure(shape: Shape, (name, value, unit, about): (&str, f64, &str, &str)) -> Figure {
    Figure::new(&format!("{}.{name}", shape.name), value, unit, about)
}

struct Plain {
    load: f64,
    jump: f64,
}

fn plain_kexec(bed: &Testbed, shape: Shape, next: &Kernel, more: &[&str]) -> Result<Plain> {
    let mut vm = machine(bed, shape, "plain", next)?;
    let (image, append) = (next.guest_image(), format!("--append={APPEND}"));
    let load = ["kexec", "-c", "-l", &image, "--initrd", GUEST_INITRD, &append];
    let load = load.into_iter().chain(more.iter().copied());
    let load = seconds(|| vm.program(load).limit(LIMIT).run())?.0;
    let hop = vm.kexec_into(["kexec", "-e"], LIMIT)?;
    ensure!(hop.to.release == next.release, "arrived in {}", hop.to.release);
    Ok(Plain { load, jump: hop.total.as_secs_f64() })
}

struct Kept {
    /// MiB that the mover moved, as the manifest has it.
    moved: f64,
    load: f64,
    jump: f64,
    mount: f64,
    /// As `pkram status` has it, in seconds.
    arrival: BTreeMap<String, f64>,
}

/// Of the blackout, in seconds.
struct Parts {
    last_look: f64,
    shutdown: f64,
    check: f64,
    moves: f64,
    place: f64,
    boot: f64,
}

impl Kept {
    fn blackout(&self) -> f64 {
        self.jump + self.mount
    }

    fn part(&self, name: &str) -> Result<f64> {
        self.arrival.get(name).copied().with_context(|| format!("status says no {name}"))
    }

    fn parts(&self) -> Result<Parts> {
        let (last_look, shutdown) = (self.part("last_look")?, self.part("shutdown")?);
        let (check, moves) = (self.part("check")?, self.part("moves")?);
        let place = self.part("metadata")? + self.part("place")?;
        let boot = self.jump - last_look - shutdown - check - moves - place;
        Ok(Parts { last_look, shutdown, check, moves, place, boot })
    }
}

fn pkram(bed: &Testbed, shape: Shape, next: &Kernel) -> Result<Kept> {
    let mut vm = machine(bed, shape, "pkram", next)?;
    check_pattern(&mut vm, shape.dir, shape)?;
    let image = next.guest_image();
    let source = format!("kept={}", shape.dir);
    let load = ["pkram", "kexec", "--load-only", "--kernel", &image, "--initrd", GUEST_INITRD];
    let load = load.into_iter().chain(["--append", &APPEND, &source]);
    let load = seconds(|| vm.program(load).limit(LIMIT).run())?.0;
    let hop = vm.kexec_into(["pkram", "exec"], LIMIT)?;
    ensure!(hop.to.release == next.release, "arrived in {}", hop.to.release);
    let mount = seconds(|| vm.run(["pkram", "mount", REGION]))?.0;
    let status: Value = vm.exec(["pkram", "status", "--json"])?.json()?;
    check_pattern(&mut vm, &format!("{REGION}/kept"), shape)?;
    let manifest = vm.read_file(&format!("{REGION}/.pkram/manifest.json"))?;
    let manifest: Value = serde_json::from_slice(&manifest).context("the manifest")?;
    let moved = manifest.pointer("/plan/moved").and_then(Value::as_f64).context("plan/moved")?;
    let moved = moved / f64::from(1 << 20);
    let arrival = status["arrival"].as_object().context("status knows of no arrival")?;
    let arrival = arrival.iter().filter_map(|(k, v)| Some((k.clone(), v.as_f64()?))).collect();
    Ok(Kept { moved, load, jump: hop.total.as_secs_f64(), mount, arrival })
}

/// The old system with much of its memory in one file, and what the load will read in the page
/// cache.
fn machine(bed: &Testbed, shape: Shape, way: &str, next: &Kernel) -> Result<Vm> {
    let Shape { name, memory_mib, keep_mib, dir, prepare, settle, .. } = shape;
    let name = format!("bench-{name}-{way}");
    eprintln!("{name}: boot, and fill {keep_mib} of {memory_mib} MiB");
    let mut vm = bed.vm(&name, bed.kernel(FROM)?).memory_mib(memory_mib).boot()?;
    let fill = format!(
        "{prepare}
         mkdir -p {dir} {REGION}
         guest pattern write {dir}/data --size {} --seed 3
         {settle}
         cat {} {GUEST_INITRD} > /dev/null",
        u64::from(keep_mib) << 20,
        next.guest_image()
    );
    vm.program(["sh", "-euc", &fill]).limit(LIMIT).run()?;
    Ok(vm)
}

/// The bytes are there.
fn check_pattern(vm: &mut Vm, dir: &str, shape: Shape) -> Result<()> {
    let (file, size) = (format!("{dir}/data"), (u64::from(shape.keep_mib) << 20).to_string());
    let argv = ["guest", "pattern", "check", &file, "--size", &size, "--seed", "3"];
    vm.program(argv).limit(LIMIT).run().map(drop)
}

pub(super) fn seconds<T>(action: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let start = Instant::now();
    let value = action()?;
    Ok((start.elapsed().as_secs_f64(), value))
}
