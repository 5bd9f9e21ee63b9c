//! Machines whose memory is in bad shape: scattered, or nearly full.

use crate::common::{HOP, REGION, frames, hop, meminfo, mount, number, pkram, whole};
use anyhow::{Result, ensure};

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
    let mut vm = bed.vm("full", bed.kernel("6.1")?).memory_mib(1536).boot()?;
    // tmpfs takes half of memory unless told otherwise.
    let write = "mount -o remount,size=95% /dev/shm && mkdir /dev/shm/full && cd /dev/shm/full && \
                 for i in 1 2 3 4 5 6 7 8 9 10 11 12; do head -c 64M /dev/urandom > $i; done";
    vm.program(["sh", "-euc", write]).limit(HOP).run()?;
    let before = vm.run(["guest", "digest", "/dev/shm/full"])?;
    vm.run(["guest", "fill", "--leave-free", "150"])?;
    let (free, total) = (meminfo(&mut vm, "MemFree")?, meminfo(&mut vm, "MemTotal")?);
    ensure!(free * 100 < total * 15, "{free} of {total} bytes are free: memory is not full");
    hop(&mut vm, bed.kernel("6.12")?, &["full=/dev/shm/full"])?;
    mount(&mut vm)?;
    let after = vm.run(["guest", "digest", &format!("{REGION}/full")])?;
    ensure!(before == after, "the trees differ");
    Ok(())
}

/// Huge pages that are set aside at boot begin at 16 MiB, where chance does not put the kernel; under
/// UEFI, six MiB lie before them in one piece. They stay all the same.
#[test]
fn huge_pages_with_little_room_before_them() -> Result<()> {
    let name = "huge_pages_with_little_room_before_them";
    let Some(bed) = testbed::e2e(name) else { return Ok(()) };
    let machine = bed.vm(name, bed.kernel("6.1")?).uefi(true).append("hugepages=128");
    let mut vm = machine.boot()?;
    vm.sh("mkdir -p /dev/hugepages && mount -t hugetlbfs none /dev/hugepages && \
           guest pattern write --size 268435456 /dev/hugepages/guest")?;
    let lowest = frames(&mut vm, "/dev/hugepages")?.into_values().min();
    eprintln!("huge pages from frame {lowest:x?} on");
    vm.run(pkram("check", bed.kernel("6.12")?, &["guest=/dev/hugepages/guest"]))?;
    Ok(())
}
