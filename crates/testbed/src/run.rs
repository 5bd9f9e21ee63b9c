//! Running a program of this machine and saying clearly how it failed.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a program to its end and returns what it printed.
///
/// # Errors
/// When it cannot be started or does not succeed; the message carries its standard error.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).with_context(|| format!("{command:?} printed no UTF-8"))
}

/// The same as [`run`], with input.
///
/// # Errors
/// As [`run`].
pub(crate) fn pipe(from: &mut Command, to: &mut Command) -> Result<()> {
    let mut source = from
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {from:?}"))?;
    let stdout = source.stdout.take().context("no pipe")?;
    let output = to.stdin(stdout).output().with_context(|| format!("start {to:?}"))?;
    let status = source.wait()?;
    if !status.success() || !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{from:?} ({status}) into {to:?} ({}): {said}", output.status);
    }
    Ok(())
}
