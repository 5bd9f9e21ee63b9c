//! Whether the firmware is asked to wipe memory at the next reset, and taking that back.
//!
//! TCG *PC Client Platform Reset Attack Mitigation*: bit 0 of the EFI variable
//! `MemoryOverwriteRequestControl`. Kernels with `CONFIG_RESET_ATTACK_MITIGATION`, Debian's among them,
//! set it in every boot through UEFI (`efi_enable_reset_attack_mitigation()`,
//! `drivers/firmware/efi/libstub/tpm.c`) where the firmware has the variable, for the sake of secrets
//! in RAM. A reserved region goes with the rest then.

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use serde::Serialize;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

const VARIABLE: &str =
    "sys/firmware/efi/efivars/MemoryOverwriteRequestControl-e20939be-32d4-41be-a150-897f85d49829";

/// Attributes come first in a file of efivarfs (`Documentation/filesystems/efivarfs.rst`).
const ATTRIBUTES: usize = 4;

/// What will become of memory at the next reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wipe {
    /// No such request can be made here; what firmware does on its own nobody tells.
    NotAsked,
    /// The firmware is asked to wipe.
    Requested,
    /// efivarfs cannot be read: is it mounted?
    Unknown,
}

impl Wipe {
    /// On the machine whose root folder is `root` (`/`).
    pub fn look(root: &Path) -> Self {
        let variables = root.join("sys/firmware/efi/efivars");
        if !root.join("sys/firmware/efi").exists() {
            return Self::NotAsked;
        }
        match fs::read(root.join(VARIABLE)) {
            Ok(bytes) if bytes.get(ATTRIBUTES).is_some_and(|value| value & 1 == 1) => {
                Self::Requested
            }
            Ok(bytes) if bytes.len() > ATTRIBUTES => Self::NotAsked,
            // Other variables are always there.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let mounted = fs::read_dir(variables).is_ok_and(|mut dir| dir.next().is_some());
                if mounted { Self::NotAsked } else { Self::Unknown }
            }
            _ => Self::Unknown,
        }
    }
}

/// Why the request cannot be taken back.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source} (if the firmware has locked the variable, only its setup can change it)", path = .path.display())]
pub struct WipeError {
    path: PathBuf,
    source: io::Error,
}

/// Takes the request back, for the next reset only: the next boot makes it again.
pub fn withdraw_wipe(root: &Path) -> Result<(), WipeError> {
    if Wipe::look(root) != Wipe::Requested {
        return Ok(());
    }
    let path = root.join(VARIABLE);
    withdraw(&path).map_err(|source| WipeError { path, source })
}

fn withdraw(path: &Path) -> io::Result<()> {
    let mut bytes = fs::read(path)?;
    let value = bytes.get_mut(ATTRIBUTES).ok_or(io::ErrorKind::UnexpectedEof)?;
    *value &= !1;
    // Variables that efivarfs does not know are guarded against `rm -rf`.
    let file = File::open(path)?;
    if let Ok(flags) = ioctl_getflags(&file)
        && flags.contains(IFlags::IMMUTABLE)
    {
        ioctl_setflags(&file, flags - IFlags::IMMUTABLE)?;
    }
    // One write is one SetVariable(); the file must not be truncated, which would delete it.
    io::Write::write_all(&mut File::options().write(true).open(path)?, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_clears_the_lowest_bit() {
        let root = tempfile::tempdir().unwrap();
        let look = || Wipe::look(root.path());
        assert_eq!(look(), Wipe::NotAsked);
        let path = root.path().join(VARIABLE);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        assert_eq!(look(), Wipe::Unknown);
        fs::write(path.with_file_name("Boot0000"), [0; 9]).unwrap();
        assert_eq!(look(), Wipe::NotAsked);
        for (bytes, before, after) in [
            (&[7, 0, 0, 0, 0x11][..], Wipe::Requested, 0x10),
            (&[7, 0, 0, 0, 0x10], Wipe::NotAsked, 0x10),
            (&[7, 0, 0, 0, 1], Wipe::Requested, 0),
        ] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(look(), before);
            withdraw_wipe(root.path()).unwrap();
            assert_eq!(look(), Wipe::NotAsked);
            assert_eq!(fs::read(&path).unwrap(), [7, 0, 0, 0, after]);
        }
        fs::write(&path, [7, 0]).unwrap();
        assert_eq!(look(), Wipe::Unknown);
    }
}
