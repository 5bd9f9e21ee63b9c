//! What the boot loader says of itself, in EFI variables.
//!
//! Source: The Boot Loader Interface (`systemd.io/BOOT_LOADER_INTERFACE`): UTF-16, ended by zero,
//! behind the four bytes of attributes that efivarfs shows first
//! (`Documentation/filesystems/efivarfs.rst`).

use crate::files;
use std::path::Path;

/// The vendor of the variables.
const VENDOR: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// GRUB's configuration.
const GRUB: [&str; 2] = ["boot/grub/grub.cfg", "boot/grub2/grub.cfg"];

/// A variable's text.
pub(super) fn variable(root: &Path, name: &str) -> Option<String> {
    let file = root.join("sys/firmware/efi/efivars").join(format!("{name}-{VENDOR}"));
    let bytes = files::read(&file).ok()?;
    let (units, _) = bytes.get(4..)?.as_chunks();
    let units: Vec<_> =
        units.iter().map(|&u| u16::from_le_bytes(u)).take_while(|&u| u != 0).collect();
    String::from_utf16(&units).ok()
}

/// Whether boot loader entries decide what is booted. GRUB says who it is since 2.12; any other one
/// than these two is not known, and is taken to read entries where there is nothing that GRUB reads.
pub(super) fn reads_entries(root: &Path) -> bool {
    match variable(root, "LoaderInfo") {
        Some(loader) if loader.starts_with("systemd-boot") => true,
        Some(loader) if loader.starts_with("GRUB") => false,
        _ => !GRUB.iter().any(|file| root.join(file).exists()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::fs;

    pub(in super::super) fn set(root: &Path, name: &str, text: &str) {
        let dir = root.join("sys/firmware/efi/efivars");
        fs::create_dir_all(&dir).unwrap();
        let text = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
        let bytes: Vec<_> = [6, 0, 0, 0].into_iter().chain(text).collect();
        fs::write(dir.join(format!("{name}-{VENDOR}")), bytes).unwrap();
    }

    #[test]
    fn reads_variables() {
        let root = tempfile::tempdir().unwrap();
        set(root.path(), "LoaderInfo", "systemd-boot 257.9 ü");
        assert_eq!(variable(root.path(), "LoaderInfo").as_deref(), Some("systemd-boot 257.9 ü"));
        assert_eq!(variable(root.path(), "LoaderEntryDefault"), None);
        let file = root.path().join(format!("sys/firmware/efi/efivars/Odd-{VENDOR}"));
        for odd in [&b"\x06\0"[..], b"\x06\0\0\0\0\xd8\0\xd8"] {
            fs::write(&file, odd).unwrap();
            assert_eq!(variable(root.path(), "Odd"), None);
        }
        fs::write(&file, b"\x06\0\0\0a\0b").unwrap();
        assert_eq!(variable(root.path(), "Odd").as_deref(), Some("a"));
    }
}
