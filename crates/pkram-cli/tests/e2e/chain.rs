//! A region stays through kexecs that know nothing of it, and beside a second one.

use crate::common::{hop, plain_hop, region_of, whole};
use anyhow::{Result, ensure};
use testbed::Vm;

/// Mounts the region that carries source `name` and digests it.
fn digest(vm: &mut Vm, name: &str) -> Result<String> {
    let uuid = &region_of(vm, name)?;
    let dir = format!("/mnt/{name}");
    vm.run(["mkdir", "-p", &dir])?;
    vm.run(["pkram", "mount", uuid, &dir])?;
    let digest = vm.run(["guest", "digest", &format!("{dir}/{name}")])?;
    vm.run(["umount", &dir])?;
    whole(vm, Some(uuid))?;
    Ok(digest)
}

#[test]
fn regions_stay_through_plain_kexecs_and_ours() -> Result<()> {
    let Some(bed) = testbed::e2e("regions_stay_through_plain_kexecs_and_ours") else {
        return Ok(());
    };
    let mut vm = bed.vm("chain", bed.kernel("6.1")?).memory_mib(1024).boot()?;
    vm.run(["mkdir", "/dev/shm/one"])?;
    vm.run(["guest", "mktree", "--seed", "1", "--files", "200", "--total", "80", "/dev/shm/one"])?;
    let one = vm.run(["guest", "digest", "/dev/shm/one"])?;
    hop(&mut vm, bed.kernel("6.12")?, &["one=/dev/shm/one"])?;
    ensure!(digest(&mut vm, "one")? == one, "after pkram");

    plain_hop(&mut vm, bed.kernel("7.3")?, "-c")?;
    ensure!(digest(&mut vm, "one")? == one, "after kexec -c");
    plain_hop(&mut vm, bed.kernel("6.1")?, "-s")?;
    ensure!(digest(&mut vm, "one")? == one, "after kexec -s");

    vm.run(["mkdir", "/dev/shm/two"])?;
    vm.run(["guest", "mktree", "--seed", "2", "--files", "100", "--total", "40", "/dev/shm/two"])?;
    let two = vm.run(["guest", "digest", "/dev/shm/two"])?;
    hop(&mut vm, bed.kernel("7.3")?, &["two=/dev/shm/two"])?;
    ensure!(digest(&mut vm, "one")? == one, "the first region after a second one");
    ensure!(digest(&mut vm, "two")? == two, "the second region");
    Ok(())
}
