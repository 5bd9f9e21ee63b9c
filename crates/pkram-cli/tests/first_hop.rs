//! The thinnest whole path: one file, one kexec, the same bytes.

use anyhow::Result;
use std::time::Duration;
use testbed::{APPEND, GUEST_INITRD};

#[test]
fn a_file_survives() -> Result<()> {
    let Some(bed) = testbed::e2e("a_file_survives") else { return Ok(()) };
    let mut vm = bed.vm("first-hop", bed.kernel("6.1")?).memory_mib(1024).boot()?;
    vm.sh("head -c 50000000 /dev/urandom > /dev/shm/file")?;
    let before = vm.sh("sha256sum < /dev/shm/file")?;
    let next = bed.kernel("6.12")?;
    let image = next.guest_image();
    let hop = vm.kexec_into(
        [
            "pkram",
            "kexec",
            "--kernel",
            &image,
            "--initrd",
            GUEST_INITRD,
            "--append",
            APPEND,
            "it=/dev/shm/file",
        ],
        Duration::from_secs(180),
    )?;
    assert_eq!(hop.to.release, next.release);
    println!("{}", vm.run(["pkram", "status"])?);
    println!("{}", vm.run(["pkram", "list"])?);
    vm.sh("mkdir -p /mnt/r")?;
    println!("{}", vm.run(["pkram", "mount", "/mnt/r"])?);
    println!("{}", vm.sh("ls -laR /mnt/r; cat /mnt/r/.pkram/manifest.json; grep pmem /proc/mounts; cat /proc/iomem")?);
    assert_eq!(vm.sh("sha256sum < /mnt/r/it/file")?, before);
    Ok(())
}
