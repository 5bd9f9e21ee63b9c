//! The Debian package, on Debian systems: its life there, and what its initramfs hooks do.

mod early;
mod life;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::Result;
use testbed::Vm;

/// The package itself.
fn package() -> PathBuf {
    packages()[0].clone()
}

/// The packages that `cargo xtask deb` makes, with lintian content.
fn packages() -> Vec<PathBuf> {
    static PACKAGES: OnceLock<Vec<PathBuf>> = OnceLock::new();
    let make = || {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("deb");
        let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
        let output =
            xtask.args(["deb", "--lint", "--out"]).arg(out).output().expect("xtask starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}\n{said}", output.status);
        let packages = String::from_utf8(output.stdout).expect("UTF-8");
        let packages: Vec<_> = packages.lines().map(PathBuf::from).collect();
        assert!(
            packages.len() == 3 && packages.iter().all(|p| p.is_file()),
            "{packages:?}\n{said}"
        );
        packages
    };
    PACKAGES.get_or_init(make).clone()
}

/// The systemd property of a unit.
fn property(vm: &mut Vm, unit: &str, name: &str) -> Result<String> {
    let value = vm.run(["systemctl", "show", "--value", "--property", name, unit])?;
    Ok(value.trim().to_owned())
}
