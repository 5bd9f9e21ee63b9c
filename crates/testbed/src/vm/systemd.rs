//! What only machines with systemd can do.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Vm;

/// From the agent's hello until systemd has started everything.
const BOOT_LIMIT: Duration = Duration::from_secs(300);

/// Maintainer scripts may well make three initramfs images.
const INSTALL_LIMIT: Duration = Duration::from_secs(900);

impl Vm {
    /// Waits until systemd has started everything, and expects that nothing failed.
    ///
    /// # Errors
    /// Units failed, which the message names, or it takes minutes.
    pub fn await_running(&mut self) -> Result<()> {
        let wait = ["systemctl", "is-system-running", "--wait"];
        let output = self.program(wait).limit(BOOT_LIMIT).exec()?;
        match output.text()?.trim() {
            "running" => Ok(()),
            state => {
                let failed = self.run(["systemctl", "list-units", "--failed", "--no-pager"])?;
                bail!("systemd says {state:?} {}\n{failed}", output.stderr)
            }
        }
    }

    /// Installs the packages on the luggage disk, as an operator would.
    pub(super) fn install_luggage(&mut self) -> Result<()> {
        self.await_running().context("before packages are installed")?;
        self.program(["sh", "-c", "exec dpkg --install /opt/packages/*.deb"])
            .limit(INSTALL_LIMIT)
            .run()
            .map(drop)
    }
}
