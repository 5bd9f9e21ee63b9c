//! The artifacts disk: a read-only ext4 image that every guest mounts.
//!
//! ```text
//! /usr               Debian's programs: kexec, memcached, e2fsck, modprobe, sh, qemu-system-x86_64, …
//! /boot/vmlinuz-RELEASE  /boot/config-RELEASE  /boot/initrd.img  /boot/inner.img
//! /lib/modules       what guests load on demand
//! ```

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::artifacts::Artifacts;
use crate::run::run;

/// Room for ext4's own blocks beside the files, in KiB.
const SPARE_KIB: u64 = 32 * 1024;

/// Makes the image at `path`: `initrds` go to `/boot`, `modules` is a folder that holds
/// `lib/modules`.
pub(crate) fn write(
    path: &Path,
    artifacts: &Artifacts,
    initrds: &[&Path],
    modules: &Path,
) -> Result<()> {
    let parent = path.parent().context("an image without a folder")?;
    let stage = tempfile::tempdir_in(parent)?;
    run(Command::new("cp")
        .args(["-a", "--reflink=auto"])
        .args([artifacts.root().join("usr"), modules.join("lib")])
        .arg(stage.path()))?;
    let shell = stage.path().join("usr/bin/sh");
    if !shell.exists() {
        // Debian makes this link in a maintainer script, which unpacking does not run.
        std::os::unix::fs::symlink("dash", shell)?;
    }
    let boot = stage.path().join("boot");
    fs::create_dir(&boot)?;
    for kernel in &artifacts.kernels {
        fs::copy(&kernel.image, boot.join(format!("vmlinuz-{}", kernel.release)))?;
        fs::copy(&kernel.config, boot.join(format!("config-{}", kernel.release)))?;
    }
    for initrd in initrds {
        fs::copy(initrd, boot.join(initrd.file_name().context("an initrd without a name")?))?;
    }

    ext4(path, stage.path(), &Ext4 { label: "artifacts", journal: false, spare_kib: SPARE_KIB })
}

/// What an image is to be like.
pub(crate) struct Ext4 {
    pub(crate) label: &'static str,
    pub(crate) journal: bool,
    /// Room for ext4's own blocks and whatever is written later.
    pub(crate) spare_kib: u64,
}

/// Makes an image at `path` that carries the folder `tree`.
pub(crate) fn ext4(path: &Path, tree: &Path, kind: &Ext4) -> Result<()> {
    let used = run(Command::new("du").args(["-sk", "--apparent-size"]).arg(tree))?;
    let used: u64 = used.split_whitespace().next().context("du's output")?.parse()?;
    let partial = path.with_extension("partial");
    let _ = fs::remove_file(&partial);
    // Small files fill whole blocks, hence the fifth on top.
    let size = format!("{}k", used + used / 5 + kind.spare_kib);
    run(Command::new("mke2fs")
        .args(["-q", "-t", "ext4", "-b", "4096", "-m", "0", "-L", kind.label])
        .args(["-O", if kind.journal { "has_journal" } else { "^has_journal" }, "-d"])
        .arg(tree)
        .arg(&partial)
        .arg(size)
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin"))?;
    fs::rename(&partial, path).with_context(|| format!("finish {}", path.display()))
}
