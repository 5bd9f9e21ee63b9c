//! Machines whose memory is in bad shape: scattered, or nearly full.

mod common;

use anyhow::{Result, ensure};
use common::{HOP, REGION, hop, meminfo, mount, number, whole};

#[test]
fn scattered_memory() -> Result<()> {
    let Some(bed) = testbed::e2e("scattered_memory") else { return Ok(()) };
    let mut vm = bed.vm("scattered", bed.kernel("6.12")?).memory_mib(1024).boot()?;
    vm.run(["guest", "fragment", "--leave-free", "200"])?;
    vm.run(["mkdir", "/dev/shm/tree"])?;
    vm.run([
        "guest",
        "mktree",
        "--seed",
        "4",
        "--files",
        "400",
        "--total",
        "120",
        "/dev/shm/tree",
    ])?;
    vm.run(["umount", "/run/ballast"])?;
    let before = vm.run(["guest", "digest", "/dev/shm/tree"])?;
    hop(&mut vm, bed.kernel("6.1")?, &["tree=/dev/shm/tree"])?;
    let manifest = mount(&mut vm)?;
    let extents = number(&manifest, "/plan/extents")?;
    ensure!(extents > 10_000, "only {extents} extents: memory was not scattered");
    let after = vm.run(["guest", "digest", &format!("{REGION}/tree")])?;
    ensure!(before == after, "the trees differ");
    vm.run(["umount", REGION])?;
    whole(&mut vm, None)?;
    Ok(())
}

#[test]
fn full_memory() -> Result<()> {
    let Some(bed) = testbed::e2e("full_memory") else { return Ok(()) };
    let mut vm = bed.vm("full", bed.kernel("6.1")?).memory_mib(1280).boot()?;
    // tmpfs takes half of memory unless told otherwise.
    vm.sh("mount -o remount,size=95% /dev/shm && mkdir /dev/shm/full")?;
    let grow =
        ["guest", "mktree", "--seed", "9", "--files", "100", "--total", "800", "/dev/shm/full"];
    vm.program(grow).limit(HOP).run()?;
    let before = vm.run(["guest", "digest", "/dev/shm/full"])?;
    vm.sh("echo 3 > /proc/sys/vm/drop_caches")?;
    let mut extra = 0;
    let total = meminfo(&mut vm, "MemTotal")?;
    while meminfo(&mut vm, "MemFree")? * 100 > total * 15 {
        extra += 1;
        ensure!(extra < 100, "memory does not fill");
        vm.sh(&format!("head -c 16M /dev/zero > /run/ballast{extra}"))?;
    }
    hop(&mut vm, bed.kernel("6.12")?, &["full=/dev/shm/full"])?;
    mount(&mut vm)?;
    let after = vm.run(["guest", "digest", &format!("{REGION}/full")])?;
    ensure!(before == after, "the trees differ");
    Ok(())
}
