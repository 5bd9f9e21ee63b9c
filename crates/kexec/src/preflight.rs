//! Whether this machine lets anybody load a kernel now.
//!
//! | asked | where |
//! |---|---|
//! | may we | `/proc/self/status` CapEff, bit `CAP_SYS_BOOT` |
//! | can the kernel | `/sys/kernel/kexec_loaded` exists |
//! | is it switched off | `/proc/sys/kernel/kexec_load_disabled`, `kexec_load_limit_reboot` |
//! | is it locked down | `/sys/kernel/security/lockdown` |
//! | is memory encrypted | `/proc/cpuinfo`, `/proc/cmdline`, `/sys/devices/system/cpu/sev` |

use crate::files;
use std::path::Path;

/// Bit of `CAP_SYS_BOOT` in a capability set (`include/uapi/linux/capability.h`).
const CAP_SYS_BOOT: u32 = 22;

/// Something that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// No `CAP_SYS_BOOT`.
    #[error("loading a kernel needs CAP_SYS_BOOT")]
    NotPrivileged,
    /// No kexec in this kernel.
    #[error("this kernel is built without CONFIG_KEXEC (no /sys/kernel/kexec_loaded)")]
    NoKexec,
    /// `kexec_load_disabled` is set.
    #[error("kernel.kexec_load_disabled is 1, which only a reboot clears")]
    Disabled,
    /// `kexec_load_limit_reboot` is used up.
    #[error("kernel.kexec_load_limit_reboot is 0: no more kernels may be loaded in this boot")]
    LimitUsedUp,
    /// Lockdown.
    #[error("the kernel is locked down ({mode}), which forbids kexec_load")]
    LockedDown {
        /// `integrity` or `confidentiality`.
        mode: String,
    },
    /// SME, SEV or TDX.
    #[error("memory is encrypted ({how}): preserved pages would read as noise in the next kernel")]
    EncryptedMemory {
        /// What encrypts it.
        how: &'static str,
    },
}

impl Obstacle {
    /// How to get it out of the way.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NotPrivileged => "run as root (in a container: grant the capability)",
            Self::NoKexec => "boot a kernel that has it",
            Self::Disabled | Self::LimitUsedUp => {
                "find what sets it (often a file in /etc/sysctl.d) and reboot once"
            }
            Self::LockedDown { .. } => {
                "switch Secure Boot off, or remove lockdown= from the kernel command line, and \
                 reboot once; or set memory aside at boot, which needs no kexec_load: see \
                 `pkram reserve`"
            }
            Self::EncryptedMemory { how: "SME" } => "boot with mem_encrypt=off",
            Self::EncryptedMemory { .. } => "none: pkram cannot work here",
        }
    }
}

/// All that stands in the way on the machine whose root folder is `root` (`/`). Empty is good.
/// What cannot be read is not held against the machine: `kexec_load` itself has the last word.
pub fn obstacles(root: &Path) -> Vec<Obstacle> {
    let text = |path: &str| files::read_text(&root.join(path)).ok();
    let is = |path: &str, value: &str| text(path).is_some_and(|t| t.trim() == value);
    let mut found = Vec::new();
    if text("proc/self/status").is_some_and(|status| !may_boot(&status)) {
        found.push(Obstacle::NotPrivileged);
    }
    if root.join("sys/kernel").is_dir() && !root.join("sys/kernel/kexec_loaded").exists() {
        found.push(Obstacle::NoKexec);
    }
    if is("proc/sys/kernel/kexec_load_disabled", "1") {
        found.push(Obstacle::Disabled);
    }
    // -1 is no limit.
    if is("proc/sys/kernel/kexec_load_limit_reboot", "0") {
        found.push(Obstacle::LimitUsedUp);
    }
    if let Some(mode) = text("sys/kernel/security/lockdown").as_deref().and_then(lockdown_mode) {
        found.push(Obstacle::LockedDown { mode: mode.to_owned() });
    }
    let cpuinfo = text("proc/cpuinfo").unwrap_or_default();
    let cmdline = text("proc/cmdline").unwrap_or_default();
    let has_sev_folder = root.join("sys/devices/system/cpu/sev").exists();
    found.extend(encryption(&cpuinfo, &cmdline, has_sev_folder));
    found
}

/// Whether a kernel is loaded on the machine with `sysfs` (`/sys`).
pub fn is_loaded(sysfs: &Path) -> Result<bool, files::FileError> {
    Ok(files::read_text(&sysfs.join("kernel/kexec_loaded"))?.trim() == "1")
}

fn may_boot(status: &str) -> bool {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .is_none_or(|set| set >> CAP_SYS_BOOT & 1 == 1)
}

/// The chosen word of `none [integrity] confidentiality`, unless it is `none`.
fn lockdown_mode(text: &str) -> Option<&str> {
    let chosen = text.split_once('[')?.1.split_once(']')?.0;
    (chosen != "none").then_some(chosen)
}

fn encryption(cpuinfo: &str, cmdline: &str, has_sev_folder: bool) -> Option<Obstacle> {
    let flags = cpuinfo.lines().find(|l| l.starts_with("flags")).unwrap_or("");
    let has = |flag: &str| flags.split_ascii_whitespace().any(|f| f == flag);
    let how = if has("tdx_guest") {
        "TDX"
    } else if has_sev_folder || (has("sev") && has("hypervisor")) {
        // On bare metal the flag only says that guests could be encrypted.
        "SEV"
    } else if has("sme") && cmdline.split_ascii_whitespace().any(|p| p == "mem_encrypt=on") {
        "SME"
    } else {
        return None;
    };
    Some(Obstacle::EncryptedMemory { how })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A machine on which all is well, with some files changed (empty: removed).
    fn machine(changes: &[(&str, &str)]) -> Vec<Obstacle> {
        let root = tempfile::tempdir().unwrap();
        let good = [
            ("proc/self/status", "Name:\tpkram\nCapInh:\t0\nCapEff:\t000001ffffffffff\n"),
            ("sys/kernel/kexec_loaded", "0\n"),
            ("proc/sys/kernel/kexec_load_disabled", "0\n"),
            ("proc/sys/kernel/kexec_load_limit_reboot", "-1\n"),
            ("sys/kernel/security/lockdown", "[none] integrity confidentiality\n"),
            ("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu sme sev sev_es pdpe1gb\n"),
            ("proc/cmdline", "quiet\n"),
        ];
        for (path, text) in good.iter().chain(changes) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if text.is_empty() { fs::remove_file(path) } else { fs::write(path, text) }.unwrap();
        }
        obstacles(root.path())
    }

    #[test]
    fn nothing_stands_in_the_way() {
        assert_eq!(machine(&[]), []);
        // Older kernels without the limit, or without securityfs mounted.
        assert_eq!(machine(&[("proc/sys/kernel/kexec_load_limit_reboot", "")]), []);
        assert_eq!(machine(&[("sys/kernel/security/lockdown", "")]), []);
    }

    #[test]
    fn names_each_obstacle() {
        let without_cap = "Name:\tpkram\nCapEff:\t000001ffffbfffff\n";
        let in_guest = "flags\t\t: fpu hypervisor sev\n";
        let locked = "none [integrity] confidentiality\n";
        let mode = "integrity".to_owned();
        for (path, text, want) in [
            ("proc/self/status", without_cap, Obstacle::NotPrivileged),
            ("sys/kernel/kexec_loaded", "", Obstacle::NoKexec),
            ("proc/sys/kernel/kexec_load_disabled", "1\n", Obstacle::Disabled),
            ("proc/sys/kernel/kexec_load_limit_reboot", "0\n", Obstacle::LimitUsedUp),
            ("sys/kernel/security/lockdown", locked, Obstacle::LockedDown { mode }),
            ("proc/cpuinfo", in_guest, Obstacle::EncryptedMemory { how: "SEV" }),
            ("proc/cpuinfo", "flags\t\t: tdx_guest\n", Obstacle::EncryptedMemory { how: "TDX" }),
            ("proc/cmdline", "mem_encrypt=on\n", Obstacle::EncryptedMemory { how: "SME" }),
        ] {
            assert_eq!(machine(&[(path, text)]), [want]);
        }
    }
}
