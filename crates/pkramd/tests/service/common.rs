//! What the tests of the service share: a Debian machine with our package, configured.

use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;
use testbed::{Hop, Kernel, Suite, Testbed, Vm};

pub(crate) use testbed::services::{configure, journal};

/// One shutdown, kexec and boot of a Debian system, under emulation.
pub(crate) const HOP: Duration = Duration::from_secs(400);

/// The Debian package, made once.
pub(crate) fn package() -> Result<PathBuf> {
    static PACKAGE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let made = PACKAGE.get_or_init(|| make_package().map_err(|error| format!("{error:#}")));
    made.clone().map_err(anyhow::Error::msg)
}

fn make_package() -> Result<PathBuf> {
    let out = tempfile::Builder::new().prefix("pkram-deb-").tempdir()?.keep();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let args = ["run", "--quiet", "--locked", "-p", "xtask", "--", "deb", "--out"];
    let made = Command::new(cargo).args(args).arg(&out).output().context("start cargo")?;
    ensure!(made.status.success(), "cargo xtask deb: {}", String::from_utf8_lossy(&made.stderr));
    // The first line names it; the others are the library's.
    let said = String::from_utf8(made.stdout)?;
    Ok(PathBuf::from(said.lines().next().context("cargo xtask deb made no package")?))
}

/// A Debian machine with pkram installed and configured, bookworm's with BIOS and trixie's with UEFI.
/// The next kernel is `next`.
pub(crate) fn machine(
    bed: &Testbed,
    test: &str,
    suite: Suite,
    [from, next]: [&Kernel; 2],
    config: &str,
    resets: bool,
) -> Result<Vm> {
    let builder = bed.debian(test, suite, from)?.install(&[package()?]).resets(resets);
    let builder = builder.uefi(suite == Suite::Trixie);
    let mut vm = builder.boot()?;
    configure(&mut vm, next, config)?;
    Ok(vm)
}

/// What many systems have on disks of their own: the kernels, and pkram's notes.
const MOUNTS: &str = "
for folder in boot var; do
    mv /$folder /srv/$folder
    mkdir /$folder
    echo /srv/$folder /$folder none bind 0 0 >> /etc/fstab
    mount /$folder
done
";

/// Mounts them.
pub(crate) fn mount_more(vm: &mut Vm) -> Result<()> {
    vm.sh(MOUNTS).map(drop)
}

/// `systemctl kexec`, and that it came out in `next` with nothing failed.
pub(crate) fn systemctl_kexec(vm: &mut Vm, next: &Kernel) -> Result<Hop> {
    let hop = vm.kexec_into(["systemctl", "kexec"], HOP)?;
    ensure!(hop.to.release == next.release, "came out in {}", hop.to.release);
    vm.await_running().with_context(|| journal(vm, "0"))?;
    Ok(hop)
}

/// Whether the kernel came up from a jump by pkram.
pub(crate) fn came_by_pkram(vm: &mut Vm) -> Result<bool> {
    let status: serde_json::Value = vm.exec(["pkram", "status", "--json"])?.json()?;
    Ok(!status["arrival"].is_null())
}
