//! Sources that are back before the root filesystem is mounted, brought by the initramfs.

use std::time::Duration;

use anyhow::{Context, Result};
use testbed::{Hop, Kernel, Suite, Vm, e2e};

use crate::package;

/// initramfs-tools under emulation takes minutes, and a kexec with all services too.
const LIMIT: Duration = Duration::from_secs(600);

#[test]
fn a_key_is_back_before_the_root_filesystem() -> Result<()> {
    let Some(bed) = e2e("a_key_is_back_before_the_root_filesystem") else { return Ok(()) };
    let (old, new) = (bed.kernel("6.12")?, bed.kernel("7.3")?);
    let mut vm = bed
        .debian("package-early", Suite::Trixie, old)?
        .memory_mib(1536)
        .install(&[package()])
        .boot()?;

    // Without such a source the initramfs is spared.
    vm.sh("mkdir /tmp/initramfs
           DESTDIR=/tmp/initramfs /usr/share/initramfs-tools/hooks/pkram
           rmdir /tmp/initramfs")?;

    configure(&mut vm, new, "")?;
    // An upgrade makes the newest kernel's initramfs anew, because a source is early now.
    let said = vm.program(["sh", "-c", "dpkg --install /opt/packages/pkram_*.deb 2>&1"]);
    let said = said.limit(LIMIT).run()?;
    assert!(said.contains(&format!("Generating {}", new.debian_initrd())), "{said}");
    vm.sh("systemctl reload pkramd
           install -d -m 700 /run/keys
           echo secret > /run/keys/luks
           chmod 400 /run/keys/luks
           echo warm > /dev/shm/cache")?;
    let hop = kexec(&mut vm)?;
    assert_eq!(hop.to.release, new.release);
    assert!(came_before_systemd(&mut vm, "source keys was copied to /run/keys")?);
    let key =
        vm.sh("stat -c '%a %s' /run/keys /run/keys/luks; cat /run/keys/luks /dev/shm/cache")?;
    assert!(key.starts_with("700 ") && key.contains("\n400 7\nsecret\nwarm\n"), "{key}");
    // What came late was not early, and all memory is back.
    assert!(!came_before_systemd(&mut vm, "source cache was copied")?);
    assert_eq!(vm.program(["pkram", "--json", "list"]).exec()?.json::<List>()?.regions.len(), 0);

    configure(&mut vm, new, "arrival = \"in-place\"")?;
    let update = ["update-initramfs", "-u", "-k", &new.release];
    vm.program(update).limit(LIMIT).run()?;
    vm.sh("systemctl reload pkramd")?;
    kexec(&mut vm)?;
    assert!(came_before_systemd(&mut vm, "source keys is in place at /run/keys")?);
    assert_eq!(vm.sh("cat /run/keys/luks /dev/shm/cache")?, "secret\nwarm\n");
    assert!(vm.sh("findmnt -n -o FSTYPE,OPTIONS /run/keys")?.starts_with("ext4 "));
    let regions = vm.program(["pkram", "--json", "list"]).exec()?.json::<List>()?.regions;
    assert_eq!(regions.len(), 1, "{regions:?}");
    Ok(())
}

#[derive(serde::Deserialize)]
struct List {
    regions: Vec<serde_json::Value>,
}

/// A key that is early, and a cache that is not; how both come back.
fn configure(vm: &mut Vm, next: &Kernel, arrival: &str) -> Result<()> {
    let (image, initrd) = (next.guest_image(), next.debian_initrd());
    let text = format!(
        "[kernel]\nimage = \"{image}\"\ninitrd = \"{initrd}\"\n\
         [source.keys]\npath = \"/run/keys\"\nearly = true\n{arrival}\n\
         [source.cache]\npath = \"/dev/shm/cache\"\n{arrival}\n"
    );
    vm.sh("mkdir -p /etc/pkram/pkram.toml.d")?;
    vm.write_file("/etc/pkram/pkram.toml.d/test.toml", text.as_bytes())?;
    assert_eq!(vm.run(["pkramd", "early"])?, "keys\n");
    Ok(())
}

fn kexec(vm: &mut Vm) -> Result<Hop> {
    let hop = vm.kexec_into(["systemctl", "kexec"], LIMIT)?;
    vm.await_running()?;
    Ok(hop)
}

/// Whether the kernel's log has a line of pkramd, and has it from before systemd's first one.
fn came_before_systemd(vm: &mut Vm, line: &str) -> Result<bool> {
    let log = vm.run(["dmesg"])?;
    let systemd = log.find("systemd[1]: systemd 257").context("no systemd in the log")?;
    Ok(log.find(line).is_some_and(|at| at < systemd))
}
