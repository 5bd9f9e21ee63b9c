//! What this machine must have before a test machine can run.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::run::run;

/// A file that must exist, looked for in these places, and the Debian package that brings it.
const NEEDS: [(&str, &str); 17] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("OVMF_CODE_4M.fd", "ovmf"),
    ("mke2fs", "e2fsprogs"),
    ("xz", "xz-utils"),
    ("dpkg-deb", "dpkg"),
    ("apt-get", "apt"),
    ("mmdebstrap", "mmdebstrap"),
    ("tar", "tar"),
    ("sha256sum", "coreutils"),
    // Oracles of the loader's tests.
    ("kexec", "kexec-tools"),
    ("gdb", "gdb"),
    ("grub-script-check", "grub-common"),
    // Those of the package's.
    ("systemd-notify", "systemd"),
    ("objcopy", "binutils"),
    ("python3", "python3-minimal"),
    ("lintian", "lintian"),
    ("lexgrog", "man-db"),
];

const PLACES: [&str; 5] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", OVMF_DIR];

/// Where Debian's `ovmf` package has its images.
pub(crate) const OVMF_DIR: &str = "/usr/share/OVMF";

/// Installs the missing Debian packages when root, else says which to install.
///
/// # Errors
/// Something is missing and cannot be installed from here.
pub(crate) fn ensure_tools(progress: &dyn Fn(&str)) -> Result<()> {
    let missing = missing_packages();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !rustix::process::geteuid().is_root() || !Path::new("/usr/bin/apt-get").exists() {
        bail!("missing on this machine; install it with: apt-get install {list}");
    }
    progress(&format!("installing {list}"));
    apt_get(&["update"])?;
    apt_get(&[&["install", "--yes", "--no-install-recommends"], missing.as_slice()].concat())?;
    match missing_packages().as_slice() {
        [] => Ok(()),
        still => bail!("installed, yet still not found: {}", still.join(" ")),
    }
}

/// The Debian packages whose files are not here.
#[must_use]
pub fn missing_packages() -> Vec<&'static str> {
    NEEDS.iter().filter(|(file, _)| find(file).is_none()).map(|(_, package)| *package).collect()
}

fn find(file: &str) -> Option<PathBuf> {
    PLACES.iter().map(|place| Path::new(place).join(file)).find(|path| path.exists())
}

fn apt_get(arguments: &[&str]) -> Result<String> {
    run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
}
