//! Copies back to where everything came from.

use crate::common::{hop, number};
use anyhow::{Result, ensure};

#[test]
fn restore_makes_what_was() -> Result<()> {
    let Some(bed) = testbed::e2e("restore_makes_what_was") else { return Ok(()) };
    let mut vm = bed.vm("kinds", bed.kernel("6.1")?).memory_mib(1024).boot()?;
    let huge = "echo 20 > /proc/sys/vm/nr_hugepages && test $(cat /proc/sys/vm/nr_hugepages) = 20 && \
                mkdir -p /dev/hugepages && mount -t hugetlbfs -o pagesize=2M none /dev/hugepages";
    vm.sh(huge)?;
    vm.sh("guest pattern write /dev/hugepages/vm --size 25165824 --seed 1 --holes 4194304 && \
         guest pattern write /dev/shm/one --size 5000001 --seed 2 --holes 65536 && \
         chmod 4751 /dev/shm/one && touch -d '2001-02-03 04:05:06.789' /dev/shm/one")?;
    let id = number(
        &serde_json::from_str(&vm.sh("guest pattern sysv 99 --size 3000000 --seed 3")?)?,
        "/id",
    )?;
    let stat = "stat -c '%s %b %a %U %y' /dev/shm/one";
    let before = vm.sh(stat)?;
    let shm = format!("shm=sysv:{id}");
    hop(&mut vm, bed.kernel("6.12")?, &["huge=/dev/hugepages/vm", "one=/dev/shm/one", &shm])?;

    vm.sh(huge)?;
    vm.sh("echo precious > /dev/shm/one")?;
    let refused = vm.exec(["pkram", "restore"])?;
    ensure!(
        refused.code == Some(1) && refused.stderr.contains("is there already"),
        "{}",
        refused.stderr
    );
    ensure!(vm.sh("cat /dev/shm/one")? == "precious\n", "somebody's file was written over");
    vm.sh("rm /dev/shm/one")?;
    vm.run(["pkram", "restore"])?;
    ensure!(vm.sh(stat)? == before, "other attributes: {before} {}", vm.sh(stat)?);
    vm.sh("guest pattern check /dev/shm/one --size 5000001 --seed 2 --holes 65536")?;
    vm.sh("guest pattern check /dev/hugepages/vm --size 25165824 --seed 1 --holes 4194304")?;
    vm.sh("guest pattern check-sysv 99 --size 3000000 --seed 3")?;
    ensure!(vm.run(["pkram", "list"])?.contains("no regions"), "a region is left");
    Ok(())
}
