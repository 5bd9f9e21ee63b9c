//! What a machine boots through, up to its first kernel.
//!
//! ```text
//! Bios, Uefi   QEMU's own loader puts kernel, initramfs and command line into place
//! SecureBoot   OVMF ─ shim ─ GRUB ─ kernel, each checks the next one's signature, from a disk:
//!              /EFI/BOOT/BOOTX64.EFI, grubx64.efi   Debian's, signed
//!              /EFI/debian/grub.cfg                 what to boot
//!              /vmlinuz, /initrd.img
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::append::APPEND;
use super::machine::{Machine, read_only};
use crate::host::OVMF_DIR;

/// What a machine boots through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Firmware {
    /// SeaBIOS, and QEMU's own loader.
    Bios,
    /// OVMF, and QEMU's own loader.
    Uefi,
    /// OVMF with Microsoft's keys, and Debian's signed boot loaders, found below this root.
    SecureBoot(PathBuf),
}

/// Adds it to QEMU's command line; what belongs to this machine alone is put into `run`.
pub(super) fn add(command: &mut Command, machine: &Machine, run: &Path) -> Result<()> {
    let append = format!("{APPEND} {}", machine.append);
    if machine.firmware == Firmware::Uefi {
        flash(command, run, "OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd")?;
    }
    let Firmware::SecureBoot(root) = &machine.firmware else {
        command.arg("-kernel").arg(&machine.kernel.image);
        command.arg("-initrd").arg(&machine.initrd).args(["-append", append.trim_end()]);
        return Ok(());
    };
    flash(command, run, "OVMF_CODE_4M.secboot.fd", "OVMF_VARS_4M.ms.fd")?;
    let disk = run.join("boot-disk");
    write_disk(&disk, root, machine, append.trim_end()).context("make the disk to boot from")?;
    // QEMU shows the folder as a disk with a FAT filesystem.
    let disk = format!("fat:{}", disk.display());
    command
        // Only the firmware may write its variables, in system management mode.
        .args(["-machine", "smm=on"])
        .args(["-global", "driver=cfi.pflash01,property=secure,value=on"])
        .args(["-drive", &format!("if=none,id=boot,{}", read_only(Path::new(&disk)))])
        .args(["-device", "virtio-blk-pci,drive=boot,bootindex=0"]);
    Ok(())
}

/// The firmware and its variables.
fn flash(command: &mut Command, run: &Path, code: &str, variables: &str) -> Result<()> {
    let own = run.join("uefi-variables.fd");
    fs::copy(Path::new(OVMF_DIR).join(variables), &own).context("copy OVMF's variables")?;
    let code = Path::new(OVMF_DIR).join(code);
    command.args(["-drive", &format!("if=pflash,{}", read_only(&code))]);
    command.args(["-drive", &format!("if=pflash,format=raw,file={}", own.display())]);
    Ok(())
}

fn write_disk(disk: &Path, root: &Path, machine: &Machine, append: &str) -> Result<()> {
    let (boot, debian) = (disk.join("EFI/BOOT"), disk.join("EFI/debian"));
    fs::create_dir_all(&boot)?;
    fs::create_dir_all(&debian)?;
    let signed = root.join("usr/lib");
    fs::copy(signed.join("shim/shimx64.efi.signed"), boot.join("BOOTX64.EFI"))?;
    let grub = signed.join("grub/x86_64-efi-signed/grubx64.efi.signed");
    fs::copy(grub, boot.join("grubx64.efi"))?;
    fs::copy(&machine.kernel.image, disk.join("vmlinuz"))?;
    fs::copy(&machine.initrd, disk.join("initrd.img"))?;
    // GRUB expands `$` and splits at `;` and `&`; no word of ours has any of them.
    let orders = format!("linux /vmlinuz {append}\ninitrd /initrd.img\nboot\n");
    Ok(fs::write(debian.join("grub.cfg"), orders)?)
}
