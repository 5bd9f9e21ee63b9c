//! What operators and units have the daemon do while the system runs.

use crate::control::{Ask, Reply, ask};
use anyhow::{Context as _, bail};
use std::process::{Command, ExitCode};
use std::time::Duration;

/// Loading a placeholder takes no time; under Secure Boot it is a whole kernel.
const PATIENCE: Duration = Duration::from_secs(60);

/// Has the configuration read anew.
pub(crate) fn reload() -> anyhow::Result<()> {
    order(Ask::Reload)
}

/// Begins a kexec where the configuration keeps systemd from beginning one by itself.
pub(crate) fn kexec() -> anyhow::Result<ExitCode> {
    order(Ask::Begin)?;
    let systemctl = Command::new("systemctl").arg("kexec").status().context("start systemctl")?;
    if !systemctl.success() {
        // What is loaded would make a kexec of a later reboot.
        order(Ask::Settle)?;
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn order(what: Ask) -> anyhow::Result<()> {
    match ask(what, PATIENCE).context("pkramd does not answer")? {
        Reply::Failed(why) => bail!(why),
        Reply::Done | Reply::NotOurs => Ok(()),
    }
}
