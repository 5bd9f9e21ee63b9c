//! What goes wrong on the way down: the machine comes back up, and what can be kept is kept.

use crate::common::{HOP, came_by_pkram, configure, journal, machine, systemctl_kexec};
use anyhow::{Result, ensure};
use testbed::{Suite, Vm, e2e};

const CONFIG: &str = "
[source.words]
path = '/dev/shm/words'
[source.gone]
path = '/dev/shm/gone'
";

fn words(vm: &mut Vm) -> Result<String> {
    let said = journal(vm, "0");
    let words = vm.exec(["cat", "/dev/shm/words/word"])?;
    ensure!(words.code == Some(0), "{}\n{said}", words.stderr);
    Ok(words.text()?.trim().to_owned())
}

fn write_words(vm: &mut Vm, word: &str) -> Result<()> {
    vm.sh(&format!("mkdir -p /dev/shm/words && echo {word} > /dev/shm/words/word")).map(drop)
}

/// A daemon that died before, a source that is not there, a full disk, a kernel that is missing.
#[test]
fn what_can_be_kept_is_kept() -> Result<()> {
    let Some(bed) = e2e("kept_all_the_same") else { return Ok(()) };
    let kernel = bed.kernel("6.12")?;
    let mut vm = machine(bed, "kept-anyway", Suite::Trixie, [kernel, kernel], CONFIG, false)?;
    write_words(&mut vm, "first")?;
    vm.run(["systemctl", "kill", "--signal=KILL", "pkramd"])?;
    vm.run(["sh", "-c", "until systemctl is-active --quiet pkramd; do sleep 1; done"])?;
    vm.sh("dd if=/dev/zero of=/var/filler bs=1M 2>/dev/null || sync")?;
    systemctl_kexec(&mut vm, kernel)?;
    assert_eq!(words(&mut vm)?, "first");
    vm.run(["rm", "/var/filler"])?;

    let gone = format!("{CONFIG}\n[shutdown]\nreboot = 'kexec'\n");
    configure(&mut vm, kernel, &gone)?;
    vm.sh("sed -i 's,^image = .*,image = \"/boot/vmlinuz-nowhere\",' /etc/pkram/pkram.toml")?;
    vm.run(["systemctl", "reload", "pkramd"])?;
    write_words(&mut vm, "second")?;
    // An ordinary reboot is a kexec now, into a kernel that is there.
    vm.kexec_into(["systemctl", "reboot"], HOP)?;
    vm.await_running()?;
    ensure!(came_by_pkram(&mut vm)?, "{}", journal(&mut vm, "-1"));
    assert_eq!(words(&mut vm)?, "second");
    let said = journal(&mut vm, "-1");
    ensure!(said.contains("not into /boot/vmlinuz-nowhere"), "{said}");
    ensure!(said.contains("source gone is not kept: there is no /dev/shm/gone"), "{said}");
    Ok(())
}

/// A configuration that nobody can read costs nothing: the memory waits until it can be read.
#[test]
fn a_broken_configuration_only_delays() -> Result<()> {
    let Some(bed) = e2e("broken_configuration") else { return Ok(()) };
    let kernel = bed.kernel("6.1")?;
    let mut vm = machine(bed, "broken-config", Suite::Bookworm, [kernel, kernel], CONFIG, false)?;
    write_words(&mut vm, "kept")?;
    vm.sh("echo '[source.words' >> /etc/pkram/pkram.toml")?;
    ensure!(vm.exec(["systemctl", "reload", "pkramd"])?.code != Some(0), "it read nonsense");
    vm.kexec_into(["systemctl", "kexec"], HOP)?;
    vm.exec(["systemctl", "is-system-running", "--wait"])?;
    let said = journal(&mut vm, "0");
    ensure!(said.contains("/etc/pkram/pkram.toml:"), "{said}");
    configure(&mut vm, kernel, CONFIG)?;
    vm.run(["systemctl", "restart", "pkram-arrive"])?;
    assert_eq!(words(&mut vm)?, "kept");
    Ok(())
}
