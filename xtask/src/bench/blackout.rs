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

/// One jump each way.
pub(super) fn measure(bed: &Testbed) -> Result<Vec<Figure>> {
    let next = bed.kernel(TO)?;
    let plain = plain(bed, next).context("plain kexec")?;
    let kept = pkram(bed, next).context("pkram kexec")?;
    let how = format!(
        "Linux {FROM} to {TO}, {} of {MEMORY_MIB} MiB on tmpfs, 1 processor, {}",
        kept.preserved >> 20,
        bed.accelerator()
    );
    let seconds = |name: &str, value: f64, about: &str| {
        Figure::new(&format!("kexec.{name}"), value, "s", about)
    };
    let ratio = |name: &str, value: f64, about: &str| {
        Figure::new(&format!("kexec.{name}"), value, "of plain", about)
    };
    let part = |name: &str| kept.arrival.get(name).copied();
    let parts = |names: &[&str]| -> Result<f64> {
        names.iter().map(|n| part(n).with_context(|| format!("status says no {n}"))).sum()
    };
    let blackout = kept.jump + kept.mount;
    let (last_look, shutdown) = (parts(&["last_look"])?, parts(&["shutdown"])?);
    let mover = parts(&["check", "moves", "metadata", "place"])?;
    let load = parts(&["compose", "load"])?;
    Ok(vec![
        seconds("blackout.plain", plain.jump, &format!("`kexec -e` until the next agent: {how}")),
        seconds("blackout.pkram", blackout, &format!("`pkram exec` until it is mounted: {how}")),
        ratio("blackout.ratio", blackout / plain.jump, "blackout of pkram / of plain kexec"),
        seconds("blackout.last-look", last_look, "of pkram's, the last look, with what is around"),
        seconds("blackout.shutdown", shutdown, "of pkram's, reboot(2) until the mover"),
        seconds("blackout.mover", mover, "of pkram's, the mover: check, moves, metadata, kernel"),
        seconds(
            "blackout.boot",
            kept.jump - last_look - shutdown - mover,
            "of pkram's, the rest until the agent: the next kernel's boot, and the commands' start",
        ),
        seconds("blackout.mount", kept.mount, "of pkram's, `pkram mount`"),
        seconds("load.plain", plain.load, "`kexec -c -l`, files in the page cache"),
        seconds("load.pkram", load, "plan, compose, stage and load, as `pkram status` says"),
        ratio("load.ratio", load / plain.load, "load of pkram / of kexec-tools"),
        seconds("load.whole", kept.load, "`pkram kexec --load-only`, with hold and census"),
        ratio("load.whole-ratio", kept.load / plain.load, "the whole command / kexec-tools"),
    ])
}

struct Plain {
    load: f64,
    jump: f64,
}

fn plain(bed: &Testbed, next: &Kernel) -> Result<Plain> {
    let (mut vm, _) = machine(bed, "bench-plain", next)?;
    let (image, append) = (next.guest_image(), format!("--append={APPEND}"));
    let load = ["kexec", "-c", "-l", &image, "--initrd", GUEST_INITRD, &append];
    let load = seconds(|| vm.program(load).limit(LIMIT).run())?.0;
    let hop = vm.kexec_into(["kexec", "-e"], LIMIT)?;
    ensure!(hop.to.release == next.release, "arrived in {}", hop.to.release);
    Ok(Plain { load, jump: hop.total.as_secs_f64() })
}

struct Kept {
    preserved: u64,
    load: f64,
    jump: f64,
    mount: f64,
    /// As `pkram status` has it, in seconds.
    arrival: std::collections::BTreeMap<String, f64>,
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
    let arrival = status["arrival"].as_object().context("status knows of no arrival")?;
    let arrival = arrival.iter().filter_map(|(k, v)| Some((k.clone(), v.as_f64()?))).collect();
    Ok(Kept { preserved, load, jump: hop.total.as_secs_f64(), mount, arrival })
}

/// The old system with half of its memory in one file, and what the load will read in the page
/// cache; and the file's size.
fn machine(bed: &Testbed, name: &str, next: &Kernel) -> Result<(Vm, u64)> {
    let mut vm = bed.vm(name, bed.kernel(FROM)?).memory_mib(MEMORY_MIB).boot()?;
    let bytes = u64::from(MEMORY_MIB) << 19;
    let image = next.guest_image();
    vm.program([
        "sh",
        "-euc",
        &format!(
            "mkdir -p /dev/shm/half {REGION}
             mount -o remount,size=90% /dev/shm
             head -c 16M /dev/urandom > /run/piece
             n=0; while [ $n -lt {} ]; do cat /run/piece; n=$((n + 16)); done > {FILE}
             rm /run/piece
             cat {image} {GUEST_INITRD} > /dev/null",
            bytes >> 20
        ),
    ])
    .limit(LIMIT)
    .run()?;
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
