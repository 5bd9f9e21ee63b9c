//! Debian systems boot whole, take packages, and keep their disk over kexecs.

use std::time::{Duration, Instant};

use anyhow::Result;
use testbed::{APPEND, DEBIAN_ROOT, Kernel, Suite, Vm, e2e};

const LIMIT: Duration = Duration::from_secs(400);

#[test]
fn bookworm_keeps_its_disk_over_systemctl_kexec() -> Result<()> {
    systemctl_kexec("bookworm_keeps_its_disk", Suite::Bookworm, ["6.1", "6.12"], "252")
}

#[test]
fn trixie_keeps_its_disk_over_systemctl_kexec() -> Result<()> {
    systemctl_kexec("trixie_keeps_its_disk", Suite::Trixie, ["6.12", "7.3"], "257")
}

fn systemctl_kexec(test: &str, suite: Suite, kernels: [&str; 2], systemd: &str) -> Result<()> {
    let Some(bed) = e2e(test) else { return Ok(()) };
    let [old, new] = [bed.kernel(kernels[0])?, bed.kernel(kernels[1])?];
    let start = Instant::now();
    let mut vm = bed.debian(test, suite, old)?.install(&bed.kexec_tools(suite)?).boot()?;
    eprintln!("{test}: installed after {:?}", start.elapsed());
    assert_eq!(vm.hello().release, old.release);
    assert!(vm.run(["systemctl", "--version"])?.starts_with(&format!("systemd {systemd}")));
    assert!(vm.run(["dpkg-query", "-W", "-f", "${Status}", "kexec-tools"])?.contains("installed"));
    is_whole(&mut vm, bed.kernels())?;
    vm.write_file("/var/tmp/word", b"kept")?;

    let initrd = format!("--initrd={}", new.debian_initrd());
    let append = format!("--append={APPEND} {DEBIAN_ROOT} hop=2");
    vm.run(["kexec", "-l", &new.guest_image(), &initrd, &append])?;
    let hop = vm.kexec_into(["systemctl", "kexec"], LIMIT)?;
    assert_eq!(hop.to.release, new.release);
    assert!(hop.to.cmdline.ends_with("hop=2"), "{}", hop.to.cmdline);
    vm.await_running()?;
    eprintln!(
        "{test}: {:?} from systemctl kexec to the agent, {:?} in all",
        hop.total,
        start.elapsed()
    );
    assert_eq!(vm.read_file("/var/tmp/word")?, b"kept");
    let boots = vm.run(["journalctl", "--list-boots", "--no-pager"])?;
    for id in [&hop.from.boot_id, &hop.to.boot_id] {
        assert!(boots.contains(&id.replace('-', "")), "{id} is not in\n{boots}");
    }
    let before = vm.run(["journalctl", "-b", "-1", "-u", "systemd-journald", "--no-pager"])?;
    assert!(before.contains("Journal stopped"), "{before}");
    a_unit_that_failed_is_named(&mut vm)
}

/// Everything that an image is made for.
fn is_whole(vm: &mut Vm, kernels: &[Kernel]) -> Result<()> {
    vm.await_running()?;
    for kernel in kernels {
        for file in [kernel.guest_image(), kernel.debian_initrd()] {
            vm.run(["test", "-s", &file])?;
        }
        vm.run(["dpkg-query", "-W", &format!("linux-image-{}", kernel.release)])?;
        vm.run(["modprobe", "-n", "-S", &kernel.release, "nd_pmem"])?;
    }
    for unit in ["memcached.service", "redis-server.service"] {
        assert_eq!(vm.exec(["systemctl", "is-enabled", unit])?.text()?.trim(), "disabled");
        vm.run(["systemctl", "start", unit])?;
    }
    assert_eq!(vm.run(["redis-cli", "ping"])?.trim(), "PONG");
    assert_eq!(
        vm.run(["python3", "-c", "import json, mmap, systemd.daemon; print('loads')"])?.trim(),
        "loads"
    );
    Ok(())
}

fn a_unit_that_failed_is_named(vm: &mut Vm) -> Result<()> {
    let broken = vm.exec(["systemd-run", "--unit=broken-on-purpose", "--wait", "false"])?;
    assert_eq!(broken.code, Some(1), "{}", broken.stderr);
    let error = format!("{:#}", vm.await_running().unwrap_err());
    assert!(error.contains("degraded") && error.contains("broken-on-purpose"), "{error}");
    Ok(())
}
