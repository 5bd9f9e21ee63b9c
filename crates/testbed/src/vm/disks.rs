//! The disks of a machine.
//!
//! | machine | disk | written to |
//! |---|---|---|
//! | of the testbed | artifacts: programs, kernels, modules | never |
//! | Debian | root: the system | yes: a copy that lasts as long as QEMU |
//! | | luggage, at `/opt`: `bin/guest`, `packages/*.deb` | never |

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::machine::read_only;
use crate::disk::{Ext4, ext4};

/// Room for ext4's own blocks on the luggage disk, in KiB.
const SPARE_KIB: u64 = 4 * 1024;

/// What a machine has for disks.
#[derive(Debug, Clone)]
pub(crate) enum Disks {
    /// The artifacts disk, which machines share.
    Artifacts(PathBuf),
    /// A Debian system.
    Debian { root: PathBuf, guest: PathBuf, packages: Vec<PathBuf> },
}

/// Adds them to QEMU's command line; what belongs to this machine alone is put into `run`.
pub(super) fn add(command: &mut Command, disks: &Disks, run: &Path) -> Result<()> {
    let mut add = |id: &str, drive: String| {
        command.args(["-drive", &format!("if=none,id={id},{drive}")]);
        command.args(["-device", &format!("virtio-blk-pci,drive={id}")]);
    };
    match disks {
        Disks::Artifacts(disk) => add("art", read_only(disk)),
        Disks::Debian { root, guest, packages } => {
            // QEMU writes to a file of its own in /var/tmp, which is gone with it.
            add("root", format!("format=raw,snapshot=on,file={}", root.display()));
            let luggage = run.join("luggage.img");
            pack(&luggage, guest, packages).context("make the luggage disk")?;
            add("luggage", read_only(&luggage));
        }
    }
    Ok(())
}

fn pack(path: &Path, guest: &Path, packages: &[PathBuf]) -> Result<()> {
    let stage = tempfile::tempdir()?;
    let (bin, debs) = (stage.path().join("bin"), stage.path().join("packages"));
    fs::create_dir(&bin)?;
    fs::create_dir(&debs)?;
    fs::copy(guest, bin.join("guest"))?;
    for package in packages {
        let name = package.file_name().context("a package without a name")?;
        fs::copy(package, debs.join(name)).with_context(|| package.display().to_string())?;
    }
    ext4(path, stage.path(), &Ext4 { label: "luggage", journal: false, spare_kib: SPARE_KIB })
}
