//! What each way to reboot does while pkramd runs, as pkram.toml(5) tells it. The next kernel is another
//! one: its release tells whether the machine went into it, or through its firmware.

use crate::common::{HOP, came_by_pkram, configure, journal, package};
use anyhow::{Result, ensure};
use testbed::{APPEND, DEBIAN_ROOT, Kernel, Suite, Vm, e2e};

const CONFIG: &str = "
[source.words]
path = '/dev/shm/words'
";

#[test]
#[ignore = "many reboots: cargo xtask long"]
fn go_where_the_manual_says_on_bookworm() -> Result<()> {
    let Some(bed) = e2e("reboots_bookworm") else { return Ok(()) };
    let [old, new] = [bed.kernel("6.1")?, bed.kernel("6.12")?];
    let packages = [vec![package()?], bed.kexec_tools(Suite::Bookworm)?].concat();
    let machine = bed.debian("reboots-bookworm", Suite::Bookworm, old)?.install(&packages);
    let mut vm = machine.resets(true).boot()?;
    configure(&mut vm, new, CONFIG)?;

    // The placeholder is no kernel to jump into.
    goes(&mut vm, &["kexec", "-e"], old, None)?;
    goes(&mut vm, &["systemctl", "reboot"], old, None)?;
    goes(&mut vm, &["shutdown", "-r", "now"], new, Some("kept"))?;
    configure(&mut vm, new, &format!("{CONFIG}[shutdown]\nreboot = 'kexec'\n"))?;
    goes(&mut vm, &["reboot"], new, Some("kept"))?;

    // What was loaded by hand goes, into the kernel that was named then, and nothing else does.
    vm.sh("echo hand > /dev/shm/hand")?;
    let (image, initrd) = (old.guest_image(), old.debian_initrd());
    let append = format!("{APPEND} {DEBIAN_ROOT}");
    let load = ["pkram", "kexec", "--load-only", "--kernel", &image, "--initrd", &initrd];
    vm.run(load.into_iter().chain(["--append", &append, "hand=/dev/shm/hand"]))?;
    goes(&mut vm, &["systemctl", "kexec"], old, None)?;
    let list = vm.run(["pkram", "list"])?;
    ensure!(list.contains("hand  from /dev/shm/hand"), "{list}");
    Ok(())
}

/// From systemd 254 on `systemctl reboot` is a kexec by itself, where anything is loaded.
#[test]
#[ignore = "many reboots: cargo xtask long"]
fn go_where_the_manual_says_on_trixie() -> Result<()> {
    let Some(bed) = e2e("reboots_trixie") else { return Ok(()) };
    let [old, new] = [bed.kernel("6.12")?, bed.kernel("7.3")?];
    let machine = bed.debian("reboots-trixie", Suite::Trixie, old)?.install(&[package()?]);
    let mut vm = machine.resets(true).boot()?;
    configure(&mut vm, new, CONFIG)?;
    goes(&mut vm, &["systemctl", "reboot"], new, Some("kept"))?;

    configure(&mut vm, new, &format!("{CONFIG}[shutdown]\nreboot = 'firmware'\n"))?;
    ensure!(vm.exec(["systemctl", "kexec"])?.code != Some(0), "something is loaded");
    goes(&mut vm, &["pkramd", "kexec"], new, Some("kept"))?;
    goes(&mut vm, &["systemctl", "reboot"], old, None)
}

/// Goes down by a command, and comes up in `into`; what came of the words is `kept`.
fn goes(vm: &mut Vm, command: &[&str], into: &Kernel, kept: Option<&str>) -> Result<()> {
    vm.sh("mkdir -p /dev/shm/words; echo kept > /dev/shm/words/word; sync")?;
    let hop = vm.kexec_into(command.iter().copied(), HOP)?;
    vm.await_running()?;
    let said = format!("{command:?}: {}\n{}", journal(vm, "-1"), journal(vm, "0"));
    ensure!(hop.to.release == into.release, "came out in {}; {said}", hop.to.release);
    let word = vm.exec(["cat", "/dev/shm/words/word"])?;
    let came = (word.code == Some(0)).then(|| word.text()).transpose()?.map(str::trim);
    ensure!(came == kept, "{came:?}; {said}");
    ensure!(kept.is_none() || came_by_pkram(vm)?, "{said}");
    Ok(())
}
