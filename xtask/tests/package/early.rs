//! Sources that are back before the root filesystem is mounted, brought by the initramfs.

use std::time::Duration;

use anyhow::{Context, Result};
use testbed::{Hop, Suite, Vm, e2e};

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

    configure(&mut vm, [&new.guest_image(), &new.debian_initrd()], "")?;
    // An upgrade makes the newest kernel's initramfs anew, because a source is early now.
    let said = vm.program(["sh", "-c", "dpkg --install /opt/packages/pkram_*.deb 2>&1"]);
    let said = said.limit(LIMIT).run()?;
    assert!(said.contains(&format!("Generating {}", new.debian_initrd())), "{said}");
    vm.run(["systemctl", "reload", "pkramd"])?;
    make(&mut vm)?;
    let hop = kexec(&mut vm)?;
    assert_eq!(hop.to.release, new.release);
    came_as_copies(&mut vm)?;

    configure(&mut vm, [&new.guest_image(), &new.debian_initrd()], "arrival = \"in-place\"")?;
    let update = ["update-initramfs", "-u", "-k", &new.release];
    vm.program(update).limit(LIMIT).run()?;
    vm.sh("systemctl reload pkramd")?;
    kexec(&mut vm)?;
    assert!(came_before_root(&mut vm, "source keys is in place at /run/keys")?);
    assert_eq!(vm.sh("cat /run/keys/luks /dev/shm/cache")?, "secret\nwarm\n");
    assert!(vm.sh("findmnt -n -o FSTYPE,OPTIONS /run/keys")?.starts_with("ext4 "));
    let regions = vm.program(["pkram", "--json", "list"]).exec()?.json::<List>()?.regions;
    assert_eq!(regions.len(), 1, "{regions:?}");
    Ok(())
}

#[test]
#[ignore = "dracut takes minutes: cargo xtask long"]
fn a_key_is_back_as_early_by_dracut() -> Result<()> {
    let Some(bed) = e2e("a_key_is_back_as_early_by_dracut") else { return Ok(()) };
    let (old, new) = (bed.kernel("6.1")?, bed.kernel("6.12")?);
    let machine = bed.debian("package-dracut", Suite::Bookworm, old)?.memory_mib(1536);
    let mut vm = machine.install(&[package()]).boot()?;
    configure(&mut vm, [&new.guest_image(), "/boot/dracut.img"], "")?;
    let dracut = ["dracut", "--kver", &new.release, "/boot/dracut.img"];
    vm.program(dracut).limit(LIMIT).run()?;
    vm.run(["systemctl", "reload", "pkramd"])?;
    make(&mut vm)?;
    let hop = kexec(&mut vm)?;
    assert_eq!(hop.to.release, new.release);
    // It was dracut's initramfs that brought it.
    vm.sh("journalctl --boot | grep dracut")?;
    came_as_copies(&mut vm)
}

/// A key, and a cache that is in no hurry.
fn make(vm: &mut Vm) -> Result<()> {
    vm.sh("install -d -m 700 /run/keys
           echo secret > /run/keys/luks
           chmod 400 /run/keys/luks
           echo warm > /dev/shm/cache")
        .map(drop)
}

fn came_as_copies(vm: &mut Vm) -> Result<()> {
    assert!(came_before_root(vm, "source keys was copied to /run/keys")?);
    let key =
        vm.sh("stat -c '%a %s' /run/keys /run/keys/luks; cat /run/keys/luks /dev/shm/cache")?;
    assert!(key.starts_with("700 ") && key.contains("\n400 7\nsecret\nwarm\n"), "{key}");
    // What came late was not early, and all memory is back.
    assert!(!came_before_root(vm, "source cache was copied")?);
    assert_eq!(vm.program(["pkram", "--json", "list"]).exec()?.json::<List>()?.regions.len(), 0);
    Ok(())
}

#[derive(serde::Deserialize)]
struct List {
    regions: Vec<serde_json::Value>,
}

/// The next kernel and its initramfs; a key that is early, and a cache that is not; how both come back.
fn configure(vm: &mut Vm, [image, initrd]: [&str; 2], arrival: &str) -> Result<()> {
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

/// Whether the kernel's log has a line of pkramd, and has it from before the root filesystem was mounted.
fn came_before_root(vm: &mut Vm, line: &str) -> Result<bool> {
    let log = vm.run(["dmesg"])?;
    let root = log.find("EXT4-fs (vda): mounted").context("no root filesystem in the log")?;
    Ok(log.find(line).is_some_and(|at| at < root))
}
