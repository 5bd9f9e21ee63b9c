//! The boot loader's part: the kernel parameter, and GRUB's drop-in that carries it.

use super::state::write_whole;
use physmem::PhysRange;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The drop-in. `grub-mkconfig` reads what ends in `.cfg` here after `/etc/default/grub`.
const DROP_IN: &str = "/etc/default/grub.d/pkram.cfg";

/// Why the boot loader cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum GrubError {
    /// No GRUB.
    #[error(
        "there is no /etc/default/grub, so the boot loader is not GRUB; say --print, and put the \
         parameter on the kernel's command line yourself"
    )]
    NotGrub,
    /// A file.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `update-grub` fails.
    #[error(
        "update-grub: {0}; run it yourself (on some systems: grub-mkconfig -o /boot/grub/grub.cfg)"
    )]
    Update(String),
}

/// `memmap=SIZE!START` (`Documentation/admin-guide/kernel-parameters.txt`).
pub fn parameter(range: PhysRange) -> String {
    let (len, unit) = if range.len().is_multiple_of(1 << 20) {
        (range.len() >> 20, "M")
    } else {
        (range.len(), "")
    };
    format!("memmap={len}{unit}!{:#x}", range.start())
}

/// A shell fragment. `!` means nothing to `sh`, nor to GRUB within a word. It goes into
/// `GRUB_CMDLINE_LINUX` because recovery entries have to keep off the range as well.
fn drop_in(range: PhysRange) -> String {
    format!(
        "# Written by `pkram reserve`; `pkram reserve --remove` takes it away.\n\
         # Keeps a range of memory out of RAM, so that what lies there outlives reboots.\n\
         GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX {}\"\n",
        parameter(range)
    )
}

pub(super) fn write(range: PhysRange) -> Result<PathBuf, GrubError> {
    if !Path::new("/etc/default/grub").exists() {
        return Err(GrubError::NotGrub);
    }
    let path = PathBuf::from(DROP_IN);
    match write_whole(&path, drop_in(range).as_bytes()) {
        Ok(()) => Ok(path),
        Err(source) => Err(GrubError::Io { path, source }),
    }
}

/// Removes the drop-in; answers with its path if there was one.
pub(super) fn remove() -> Result<Option<PathBuf>, GrubError> {
    let path = PathBuf::from(DROP_IN);
    match fs::remove_file(&path) {
        Ok(()) => Ok(Some(path)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(GrubError::Io { path, source }),
    }
}

/// Runs `update-grub`.
pub fn update() -> Result<(), GrubError> {
    let output = Command::new("update-grub").output();
    let output = output.map_err(|e| GrubError::Update(e.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(GrubError::Update(format!("{}\n{said}", output.status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameter_is_read_back() {
        for (start, len) in [(0x17e0_0000, 514 << 20), (1 << 32, 2 << 20), (4096, 4096)] {
            let range = PhysRange::from_len(start, len).unwrap();
            assert_eq!(kexec::cmdline::persistent(&parameter(range)), [range]);
        }
        let range = PhysRange::from_len(0x17e0_0000, 514 << 20).unwrap();
        assert_eq!(parameter(range), "memmap=514M!0x17e00000");
    }

    /// What the shell makes of it, and what GRUB's own parser says of the line in `grub.cfg`.
    #[test]
    fn shell_and_grub_take_it_as_it_is() {
        let range = PhysRange::from_len(0x17e0_0000, 514 << 20).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pkram.cfg");
        fs::write(&file, drop_in(range)).unwrap();
        let script =
            format!("GRUB_CMDLINE_LINUX=quiet; . {}; echo \"$GRUB_CMDLINE_LINUX\"", file.display());
        let said = Command::new("sh").args(["-c", &script]).output().unwrap();
        let line = String::from_utf8(said.stdout).unwrap();
        assert_eq!(line, "quiet memmap=514M!0x17e00000\n");

        let entry = folder.path().join("grub.cfg");
        fs::write(&entry, format!("menuentry 'x' {{\n linux /vmlinuz root=/dev/vda {line}}}\n"))
            .unwrap();
        match Command::new("grub-script-check").arg(&entry).status() {
            Ok(status) => assert!(status.success(), "{line}"),
            Err(e) => {
                let required = std::env::var_os("PKRAM_TEST_REQUIRE").is_some_and(|v| v == "1");
                assert!(!required, "grub-script-check: {e} (apt-get install grub-common)");
                eprintln!("skipped in part: grub-script-check: {e} (apt-get install grub-common)");
            }
        }
    }
}
