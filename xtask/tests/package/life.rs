//! Installed, upgraded, removed, purged, installed again: each time as if nothing else had ever been.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testbed::{Suite, Vm, e2e};

use crate::{packages, property};

const UNITS: [&str; 3] = ["pkramd.service", "pkram-arrive.service", "pkram-shutdown.service"];

/// dpkg under emulation.
const LIMIT: Duration = Duration::from_secs(300);

#[test]
fn a_package_lives_and_leaves_on_bookworm() -> Result<()> {
    live("package-bookworm", Suite::Bookworm, "6.1")
}

#[test]
fn a_package_lives_and_leaves_on_trixie() -> Result<()> {
    live("package-trixie", Suite::Trixie, "6.12")
}

fn live(test: &str, suite: Suite, kernel: &str) -> Result<()> {
    let Some(bed) = e2e(test) else { return Ok(()) };
    let mut vm = bed.debian(test, suite, bed.kernel(kernel)?)?.install(&packages()).boot()?;
    is_up(&mut vm)?;

    // What a service has handed over survives an upgrade, and what has arrived is left alone.
    vm.sh("mkdir /etc/pkram/pkram.toml.d
           echo '[[handover]]' > /etc/pkram/pkram.toml.d/test.toml
           echo 'unit = \"pkram-test-agent.service\"' >> /etc/pkram/pkram.toml.d/test.toml
           systemctl reload pkramd
           echo kept > /dev/shm/word
           pkram put word /dev/shm/word
           rm /dev/shm/word")?;
    let [daemon, arrival] =
        [("pkramd.service", "MainPID"), ("pkram-arrive.service", "InvocationID")];
    let before = [property(&mut vm, daemon.0, daemon.1)?, property(&mut vm, arrival.0, arrival.1)?];
    dpkg(&mut vm, "--install /opt/packages/pkram_*.deb")?;
    is_up(&mut vm)?;
    assert_ne!(property(&mut vm, daemon.0, daemon.1)?, before[0], "the daemon is the old one");
    assert_eq!(property(&mut vm, arrival.0, arrival.1)?, before[1], "pkram-arrive ran once more");
    assert_eq!(vm.run(["pkram", "take", "word"])?, "kept\n");
    // The example of the library's package, which was compiled elsewhere with what that brings.
    vm.write_file("/tmp/counter", &counter()?)?;
    let count = "chmod +x /tmp/counter; /tmp/counter; /tmp/counter; rm /tmp/counter";
    assert_eq!(vm.sh(count)?, "started 0 times before\nstarted 1 times before\n");
    // Something is to be kept, so `systemctl kexec` may begin.
    assert_eq!(vm.run(["cat", "/sys/kernel/kexec_loaded"])?.trim(), "1");
    dpkg(&mut vm, "--purge libpkram-dev libpkram0")?;
    vm.sh("rm -r /etc/pkram/pkram.toml.d; systemctl reload pkramd")?;
    is_up(&mut vm)?;

    dpkg(&mut vm, "--remove pkram")?;
    is_down(&mut vm)?;
    vm.run(["test", "-e", "/etc/pkram/pkram.toml"])?;
    dpkg(&mut vm, "--purge pkram")?;
    nothing_is_left(&mut vm)?;

    dpkg(&mut vm, "--install /opt/packages/pkram_*.deb")?;
    is_up(&mut vm)?;
    // At once, without a removal before it.
    dpkg(&mut vm, "--purge pkram")?;
    is_down(&mut vm)?;
    nothing_is_left(&mut vm)
}

fn dpkg(vm: &mut Vm, arguments: &str) -> Result<()> {
    let said = vm.program(["sh", "-c", &format!("dpkg {arguments} 2>&1")]).limit(LIMIT).run()?;
    // bookworm's systemd has its folders below /lib, which is the same place by another name, so that
    // dpkg takes those below /usr/lib for ours alone.
    let is_other_name = |line: &str| {
        line.contains("directory '/usr/lib/systemd") && line.ends_with("not empty so not removed")
    };
    for line in said.lines().filter(|line| !is_other_name(line)) {
        assert!(!line.contains("warning") && !line.contains("error"), "{said}");
    }
    Ok(())
}

/// The library's example, compiled with nothing but its packages.
fn counter() -> Result<Vec<u8>> {
    let dir = tempfile::tempdir()?;
    for package in &packages()[1..] {
        let unpacked = Command::new("dpkg-deb").arg("-x").arg(package).arg(dir.path()).status()?;
        ensure!(unpacked.success(), "dpkg-deb: {unpacked}");
    }
    let at = |place: &str| dir.path().join(place);
    let compiled = Command::new("cc")
        .arg(at("usr/share/doc/libpkram-dev/examples/counter.c"))
        .arg("-I")
        .arg(at("usr/include"))
        .arg("-L")
        .arg(at("usr/lib/x86_64-linux-gnu"))
        .args(["-lpkram", "-o"])
        .arg(at("counter"))
        .status()
        .context("cc")?;
    ensure!(compiled.success(), "cc: {compiled}");
    Ok(std::fs::read(at("counter"))?)
}

fn is_up(vm: &mut Vm) -> Result<()> {
    for unit in UNITS {
        assert_eq!(vm.run(["systemctl", "is-active", unit])?.trim(), "active", "{unit}");
        assert_eq!(vm.run(["systemctl", "is-enabled", unit])?.trim(), "enabled", "{unit}");
    }
    vm.run(["pkram", "--version"])?;
    // Files are as dpkg knows them.
    assert_eq!(vm.sh("dpkg --verify pkram | grep -v /usr/share/ || :")?, "");
    vm.await_running()
}

fn is_down(vm: &mut Vm) -> Result<()> {
    for unit in UNITS {
        assert_eq!(property(vm, unit, "LoadState")?, "not-found", "{unit}");
        assert_eq!(property(vm, unit, "ActiveState")?, "inactive", "{unit}");
    }
    assert_eq!(vm.run(["cat", "/sys/kernel/kexec_loaded"])?.trim(), "0");
    assert_eq!(vm.sh("pgrep -x pkramd || :")?, "");
    vm.await_running()
}

fn nothing_is_left(vm: &mut Vm) -> Result<()> {
    let left = vm.sh("find / -xdev -iname '*pkram*' ! -name 'pkram-test-agent*'")?;
    assert_eq!(left, "");
    Ok(())
}
