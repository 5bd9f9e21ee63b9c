//! What happens in the next kernel: from the mount command to the first byte, and copying back.
//!
//! In virtual machines, on the host's clock, each command with its start and its answer.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::{APPEND, GUEST_INITRD, Testbed, Vm};

use super::blackout::seconds;
use super::figure::Figure;

const FROM: &str = "6.12";
const TO: &str = "6.12";

/// What a machine needs beside what is kept.
const BESIDE_MIB: u32 = 768;

/// Sizes of the region's one file.
const SIZES_MIB: [u32; 3] = [64, 512, 2048];

/// How much is copied back.
const RESTORED_MIB: u32 = 512;

const REGION: &str = "/mnt/region";

const LIMIT: Duration = Duration::from_secs(300);

/// From `pkram mount` to the first byte of the file.
pub(super) fn mount(bed: &Testbed) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut each = Vec::new();
    for mib in SIZES_MIB {
        let mut vm = arrive(bed, "bench-mount", mib, BESIDE_MIB)?;
        let first = format!("pkram mount {REGION} > /run/said && head -c 1 {REGION}/kept/data");
        let (time, byte) = seconds(|| vm.program(["sh", "-euc", &first]).limit(LIMIT).exec())?;
        ensure!(byte.code == Some(0) && byte.stdout.len() == 1, "no byte: {byte:?}");
        each.push(time);
        let about = format!(
            "from the mount command to the first byte of a region with a file of {mib} MiB, {}",
            bed.accelerator()
        );
        figures.push(Figure::new(&format!("mount.{mib}-mib"), time, "s", about));
    }
    let growth = each[each.len() - 1] / each[0];
    let about = "the largest compared with the smallest: it must not grow with size";
    figures.push(Figure::new("mount.growth", growth, "×", about));
    Ok(figures)
}

/// `pkram restore` beside `memcpy` in the same machine.
pub(super) fn restore(bed: &Testbed) -> Result<Vec<Figure>> {
    let mut vm = arrive(bed, "bench-restore", RESTORED_MIB, RESTORED_MIB + BESIDE_MIB)?;
    vm.sh("mkdir -p /run/back && mount -t tmpfs -o size=90% none /run/back")?;
    let said = vm.run(["guest", "memcpy", "--mib", "128"])?;
    let said: Value = serde_json::from_str(&said)?;
    let number = |key: &str| said[key].as_f64().with_context(|| format!("no {key} in {said}"));
    let memcpy = number("bytes")? / number("seconds")?;
    // What no way of copying into new memory can do without: the kernel makes the pages.
    let fill = format!("dd if=/dev/zero of=/run/back/zeros bs=1M count={RESTORED_MIB}");
    let (fill, _) = seconds(|| vm.program(["sh", "-c", &fill]).limit(LIMIT).run())?;
    vm.run(["rm", "/run/back/zeros"])?;
    let argv = ["pkram", "restore", "--keep", "--to", "/run/back"];
    let (time, _) = seconds(|| vm.program(argv).limit(LIMIT).run())?;
    pattern(&mut vm, "check", "/run/back/kept/data", RESTORED_MIB)?;
    let bytes = f64::from(RESTORED_MIB) * f64::from(1 << 20);
    let (speed, fill) = (bytes / time, bytes / fill);
    Ok(vec![
        Figure::new(
            "restore.speed",
            speed / 1e9,
            "GB/s",
            format!(
                "`pkram restore` of a file of {RESTORED_MIB} MiB to tmpfs, 1 processor, {}",
                bed.accelerator()
            ),
        ),
        Figure::new("restore.memcpy", memcpy / 1e9, "GB/s", "memcpy there, between warm buffers"),
        Figure::new("restore.ratio", speed / memcpy, "of memcpy", "restore.speed / restore.memcpy"),
        Figure::new(
            "restore.fill",
            fill / 1e9,
            "GB/s",
            "a new file of zeros on the same tmpfs, by dd",
        ),
        Figure::new("restore.fill-ratio", speed / fill, "of fill", "restore.speed / restore.fill"),
    ])
}

/// A machine whose next kernel has the region.
fn arrive(bed: &Testbed, name: &str, mib: u32, beside_mib: u32) -> Result<Vm> {
    eprintln!("{name}: boot, fill {mib} MiB, kexec");
    let mut vm = bed.vm(name, bed.kernel(FROM)?).memory_mib(mib + beside_mib).boot()?;
    vm.sh(&format!("mount -o remount,size=90% /dev/shm && mkdir -p /dev/shm/kept {REGION}"))?;
    pattern(&mut vm, "write", "/dev/shm/kept/data", mib)?;
    let next = bed.kernel(TO)?;
    let image = next.guest_image();
    let argv = ["pkram", "kexec", "--quiet", "--kernel", &image, "--initrd", GUEST_INITRD];
    let argv = argv.into_iter().chain(["--append", &APPEND, "kept=/dev/shm/kept"]);
    let hop = vm.kexec_into(argv, LIMIT)?;
    ensure!(hop.to.release == next.release, "arrived in {}", hop.to.release);
    vm.run(["mkdir", "-p", REGION])?;
    Ok(vm)
}

fn pattern(vm: &mut Vm, verb: &str, file: &str, mib: u32) -> Result<()> {
    let size = (u64::from(mib) << 20).to_string();
    let argv = ["guest", "pattern", verb, file, "--size", &size, "--seed", "3"];
    vm.program(argv).limit(LIMIT).run().map(drop)
}
