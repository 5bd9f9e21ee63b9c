//! Programs of ours, built as static executables: those that run in guests, and those of the package.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::run::run;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Names a static `pkram` to test instead of the one in this tree, such as an older release.
const PKRAM_BIN: &str = "PKRAM_BIN";

/// What goes into the initramfs.
pub(crate) struct Programs {
    pub(crate) guest: PathBuf,
    pub(crate) pkram: PathBuf,
    /// The library's example of a program that takes its memory along.
    pub(crate) warm_cache: PathBuf,
}

/// Builds them in a target folder of their own, so that nothing else is built anew.
pub(crate) fn build(folder: &Path, progress: &dyn Fn(&str)) -> Result<Programs> {
    progress("building the guest's programs");
    let given = std::env::var_os(PKRAM_BIN).map(PathBuf::from);
    let mut packages = vec!["guest", "pkram"];
    if given.is_none() {
        packages.push("pkram-cli");
    }
    let built = static_programs(folder, &packages, &["warm_cache"])?;
    let pkram = given.unwrap_or_else(|| built.join("pkram"));
    ensure!(pkram.exists(), "no pkram at {} (from ${PKRAM_BIN}?)", pkram.display());
    let warm_cache = built.join("examples/warm_cache");
    Ok(Programs { guest: built.join("guest"), pkram, warm_cache })
}

/// Builds the programs of `packages` and these examples as static executables, in a target folder
/// of their own. Returns the folder that they are in.
///
/// # Errors
/// They do not build.
pub fn static_programs(folder: &Path, packages: &[&str], examples: &[&str]) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--release", "--bins", "--locked", "--target", TARGET])
        .args(packages.iter().flat_map(|package| ["-p", package]))
        .args(examples.iter().flat_map(|example| ["--example", example]))
        .arg("--config")
        .arg(format!("target.{TARGET}.rustflags=['-Ctarget-feature=+crt-static']"))
        // Every machine carries them through every kexec, and with debug information they are most
        // of what it carries.
        .args(["--config", "profile.release.debug=false"])
        .args(["--config", "profile.release.strip='debuginfo'"])
        .arg("--target-dir")
        .arg(folder)
        .current_dir(workspace()?);
    // They would win over the flags above.
    for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS"] {
        command.env_remove(variable);
    }
    run(&mut command)?;
    Ok(folder.join(TARGET).join("release"))
}

/// The folder of the workspace that this crate was built in.
///
/// # Errors
/// The crate was moved out of it.
pub fn workspace() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map(Path::to_owned).context("the crate lies outside the workspace")
}
