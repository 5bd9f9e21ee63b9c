//! Makes a root image: packages by mmdebstrap, kernels by dpkg, so that all is as Debian makes it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Root, Suite};
use crate::apt::{self, Apt};
use crate::artifacts::Artifacts;
use crate::disk::{Ext4, ext4};
use crate::run::run;

/// What tests need beside what every Debian system has.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,udev,initramfs-tools,zstd,kmod,e2fsprogs,procps,\
                        memcached,redis-server,python3,python3-systemd,openssh-server,\
                        dracut-core";

/// What no test reads, and drivers: nearly all of them are for hardware that no machine has.
const LEFT_OUT: [&str; 9] = [
    "/usr/lib/x86_64-linux-gnu/gconv/*",
    "/usr/share/bash-completion/*",
    "/usr/share/bug/*",
    "/usr/share/doc/*",
    "/usr/share/lintian/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
    "*/modules/*/kernel/drivers/*",
    "*/modules/*/kernel/sound/*",
];

/// The drivers that come along.
const DRIVERS: [&str; 12] = [
    "acpi/*",
    "ata/*",
    "block/*",
    "char/*",
    "dax/*",
    "firmware/*",
    "md/*",
    "net/net_failover.ko*",
    "net/virtio_net.ko*",
    "nvdimm/*",
    "scsi/*",
    "virtio/*",
];

/// Room for what tests install and write, in KiB; it costs time whenever the image is checked.
const SPARE_KIB: u64 = 192 * 1024;

/// Writes the root filesystem and its initramfs for each kernel.
pub(super) fn image(root: &Root, artifacts: &Artifacts, suite: Suite) -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "only root can: run this once as root");
    let stage = tempfile::tempdir_in(&root.folder)?;
    let tree = stage.path().join("root");
    let packages = stage.path().join("packages");
    kernel_packages(artifacts, suite, &packages)?;
    let system = stage.path().join("system.sh");
    fs::write(&system, include_str!("system.sh"))?;
    fs::set_permissions(&system, Permissions::from_mode(0o755))?;

    let mut command = Command::new("mmdebstrap");
    command
        .args(["--mode=root", "--variant=minbase", "--format=directory"])
        .arg(format!("--include={PACKAGES}"))
        .arg("--aptopt=Acquire::Languages \"none\"");
    for path in LEFT_OUT {
        command.arg(format!("--dpkgopt=path-exclude={path}"));
    }
    for name in DRIVERS {
        command.arg(format!("--dpkgopt=path-include=*/modules/*/kernel/drivers/{name}"));
    }
    // mmdebstrap runs a file that it can execute with the root folder as its argument.
    command
        .arg(format!("--customize-hook={}", system.display()))
        .arg(suite.name())
        .arg(&tree)
        .arg(apt::source(suite.name())?)
        .env("PACKAGES", &packages)
        .env("KEXEC_TOOLS", root.folder.join("kexec-tools"))
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
    run(&mut command)?;

    for kernel in &artifacts.kernels {
        let from = tree.join(kernel.debian_initrd().trim_start_matches('/'));
        fs::copy(&from, root.initrd(kernel)).with_context(|| format!("copy {}", from.display()))?;
    }
    let kind = Ext4 { label: "debian", journal: true, spare_kib: SPARE_KIB };
    ext4(&root.image(), &tree, &kind)
}

/// All kernels, and the tools that the newest of them asks for from the suite's backports.
fn kernel_packages(artifacts: &Artifacts, suite: Suite, folder: &Path) -> Result<()> {
    let backports = format!("{}-backports", suite.name());
    let apt = Apt::open(&artifacts.folder.join("apt").join(&backports), &backports)?;
    apt.download(&["linux-base".to_owned()], folder)?;
    for kernel in &artifacts.kernels {
        for package in artifacts.packages(&kernel.version)? {
            let name = package.file_name().context("a package without a name")?;
            fs::copy(&package, folder.join(name))?;
        }
    }
    Ok(())
}
