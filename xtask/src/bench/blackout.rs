//! The blackout and the load of `pkram kexec` beside kexec-tools', in virtual machines.
//!
//! ```text
//!          ┌ load ┐     ┌───────────────── blackout ─────────────────┐
//! old ─────┴──────┴─────┤ order ─► jump ─► boot ─► agent ─► mounted  ├──── next
//!                       └────────────────────────────────┘ (plain kexec ends with the agent)
//! ```
//!
//! Both ways start in the same machine with the same file, half of memory, on tmpfs, and are
//! loaded beforehand. The blackout begins with the order to jump (`pkram exec`, `kexec -e`), the
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

const MEMORY_MIB: u32 = 1024;

const FILE: &str = "/dev/shm/half/data";
const SOURCE: &str = "half=/dev/shm/half";
const REGION: &str = "/mnt/region";

/// Slow machines translate every instruction.
const LIMIT: Duration = Duration::from_secs(300);

/// kexec-tools hashes what it loads (SHA-256), and again between the kernels; this leaves both out.
const UNCHECKED: [&str; 1] = ["--no-checks"];

/// One jump each way.
pub(super) fn measure(bed: &Testbed) -> Result<Vec<Figure>> {
    let next = bed.kernel(TO)?;
    let plain = plain_kexec(bed, next, &[]).context("plain kexec")?;
    let unchecked = plain_kexec(bed, next, &UNCHECKED).context("plain kexec without checks")?;
    let kept = pkram(bed, next).context("pkram kexec")?;
    let machine = format!(
        "Linux {FROM} to {TO}, {} of {MEMORY_MIB} MiB kept, 1 processor, {}",
        kept.preserved >> 20,
        bed.accelerator()
    );
    let part = |name: &str| kept.arrival.get(name).copied();
    let parts = |names: &[&str]| -> Result<f64> {
        names.iter().map(|n| part(n).with_context(|| format!("status says no {n}"))).sum()
    };
    let blackout = kept.jump + kept.mount;
    let (last_look, shutdown) = (parts(&["last_look"])?, parts(&["shutdown"])?);
    let (check, moves) = (parts(&["check"])?, parts(&["moves"])?);
    let place = parts(&["metadata", "place"])?;
    let boot = kept.jump - last_look - shutdown - check - moves - place;
    let load = parts(&["compose", "load"])?;
    let rows: [(&str, f64, &str, &str); 20] = [
        ("blackout.pkram", blackout, "s", &format!("`pkram exec` until it is mounted; {machine}")),
        ("blackout.plain", plain.jump, "s", "`kexec -e` until the next agent, the same kernels"),
        ("blackout.ratio", blackout / plain.jump, "× plain", "pkram's blackout / plain kexec's"),
        ("blackout.unchecked", unchecked.jump, "s", "the same after `kexec -l --no-checks`"),
        ("blackout.unchecked-ratio", blackout / unchecked.jump, "× plain", "pkram's / that"),
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
    let figure = |(name, value, unit, about): (&str, f64, &str, &str)| {
        Figure::new(&format!("kexec.{name}"), value, unit, about)
    };
    Ok(rows.into_iter().map(figure).collect())
}

struct Plain {
    load: f64,
    jump: f64,
}

fn plain_kexec(bed: &Testbed, next: &Kernel, more: &[&str]) -> Result<Plain> {
    let (mut vm, _) = machine(bed, "bench-plain", next)?;
    let (image, append) = (next.guest_image(), format!("--append={APPEND}"));
    let load = ["kexec", "-c", "-l", &image, "--initrd", GUEST_INITRD, &append];
    let load = load.into_iter().chain(more.iter().copied());
    let load = seconds(|| vm.program(load).limit(LIMIT).run())?.0;
    let hop = vm.kexec_into(["kexec", "-e"], LIMIT)?;
    ensure!(hop.to.release == next.release, "arrived in {}", hop.to.release);
    Ok(Plain { load, jump: hop.total.as_secs_f64() })
}

struct Kept {
    preserved: u64,
    /// MiB of it that the mover moved, as the manifest has it.
    moved: f64,
    load: f64,
    jump: f64,
    mount: f64,
    /// As `pkram status` has it, in seconds.
    arrival: BTreeMap<String, f64>,
}

fn pkram(bed: &Testbed, next: &Kernel) -> Result<Kept> {
    let (mut vm, preserved) = machine(bed, "bench-pkram", next)?;
    let before = digest(&mut vm, "/dev/shm/half")?;
    let image = next.guest_image();
    let load = ["pkram", "kexec", "--load-only", "--kernel", &image, "--initrd", GUEST_INITRD];
    let load = load.into_iter().chain(["--append", APPEND, SOURCE]);
    let load = seconds(|| vm.program(load).limit(LIMIT).run())?.0;
    let hop = vm.kexec_into(["pkram", "exec"], LIMIT)?;
    ensure!(hop.to.release == next.release, "arrived in {}", hop.to.release);
    let mount = seconds(|| vm.run(["pkram", "mount", REGION]))?.0;
    let status: Value = vm.exec(["pkram", "status", "--json"])?.json()?;
    let after = digest(&mut vm, &format!("{REGION}/half"))?;
    ensure!(before == after, "the file came through changed");
    let manifest = vm.read_file(&format!("{REGION}/.pkram/manifest.json"))?;
    let manifest: Value = serde_json::from_slice(&manifest).context("the manifest")?;
    let moved = manifest.pointer("/plan/moved").and_then(Value::as_f64).context("plan/moved")?;
    let moved = moved / f64::from(1 << 20);
    let arrival = status["arrival"].as_object().context("status knows of no arrival")?;
    let arrival = arrival.iter().filter_map(|(k, v)| Some((k.clone(), v.as_f64()?))).collect();
    Ok(Kept { preserved, moved, load, jump: hop.total.as_secs_f64(), mount, arrival })
}

/// The old system with half of its memory in one file, and what the load will read in the page
/// cache; and the file's size.
fn machine(bed: &Testbed, name: &str, next: &Kernel) -> Result<(Vm, u64)> {
    eprintln!("{name}: boot, and fill half of memory");
    let mut vm = bed.vm(name, bed.kernel(FROM)?).memory_mib(MEMORY_MIB).boot()?;
    let bytes = u64::from(MEMORY_MIB) << 19;
    let fill = format!(
        "mkdir -p /dev/shm/half {REGION}
         mount -o remount,size=90% /dev/shm
         head -c 16M /dev/urandom > /run/piece
         n=0; while [ $n -lt {} ]; do cat /run/piece; n=$((n + 16)); done > {FILE}
         rm /run/piece
         cat {} {GUEST_INITRD} > /dev/null",
        bytes >> 20,
        next.guest_image()
    );
    vm.program(["sh", "-euc", &fill]).limit(LIMIT).run()?;
    let size = vm.run(["stat", "-c", "%s", FILE])?;
    ensure!(size.trim() == bytes.to_string(), "{FILE} has {} bytes", size.trim());
    Ok((vm, bytes))
}

fn digest(vm: &mut Vm, dir: &str) -> Result<String> {
    vm.program(["guest", "digest", dir]).limit(LIMIT).run()
}

fn seconds<T>(action: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let start = Instant::now();
    let value = action()?;
    Ok((start.elapsed().as_secs_f64(), value))
}
