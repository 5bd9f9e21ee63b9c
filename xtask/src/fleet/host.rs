//! The machine as a host of a fleet: reached by ssh, configured, with memory to keep.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use testbed::{Hop, Kernel, Suite, Testbed, Vm};

use crate::guest::digest;

/// What is kept.
const WORDS: &str = "/dev/shm/words";

/// One shutdown, kexec or reset, and boot, under emulation.
pub(super) const HOP: Duration = Duration::from_secs(400);

/// systemd-networkd gives the one device the address that the testbed forwards to.
const NETWORK: &str =
    "[Match]\nType=ether\n[Network]\nAddress=10.0.2.15/24\nLinkLocalAddressing=no\n";

/// A host.
pub(super) struct Host {
    pub(super) vm: Vm,
    pub(super) port: u16,
    folder: TempDir,
    next: Kernel,
}

impl Host {
    /// Boots it, with our package, and lets root in by a key.
    pub(super) fn boot(
        bed: &Testbed,
        suite: Suite,
        [from, next]: [&Kernel; 2],
        package: &Path,
    ) -> Result<Self> {
        // Free when QEMU takes it, but for an unlucky moment.
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let folder = tempfile::tempdir()?;
        let machine = bed.debian("fleet", suite, from)?.install(&[package]).resets(true).ssh(port);
        let mut host = Self { vm: machine.boot()?, port, folder, next: next.clone() };
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(host.key())
            .status()
            .context("start ssh-keygen")?;
        ensure!(made.success(), "ssh-keygen: {made}");
        let key = fs::read(host.key().with_extension("pub"))?;
        let vm = &mut host.vm;
        vm.write_file("/etc/systemd/network/fleet.network", NETWORK.as_bytes())?;
        vm.sh("mkdir -p -m 700 /root/.ssh")?;
        vm.write_file("/root/.ssh/authorized_keys", &key)?;
        vm.sh("chmod 600 /root/.ssh/authorized_keys
               systemctl enable --quiet --now systemd-networkd ssh")?;
        Ok(host)
    }

    /// The private key.
    pub(super) fn key(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    /// Keeps the words, and what else `more` says.
    pub(super) fn configure(&mut self, more: &str) -> Result<()> {
        let (image, initrd) = (self.next.guest_image(), self.next.debian_initrd());
        let text = format!(
            "[kernel]\nimage = '{image}'\ninitrd = '{initrd}'\n\
             [source.words]\npath = '{WORDS}'\nrequired = true\n{more}"
        );
        self.vm.write_file("/etc/pkram/pkram.toml", text.as_bytes())?;
        self.vm.run(["systemctl", "reload", "pkramd"]).map(drop)
    }

    /// Writes the words, which nobody has written before, and says what they are.
    pub(super) fn write_words(&mut self) -> Result<String> {
        self.vm.sh(&format!(
            "rm -rf {WORDS}; mkdir {WORDS}; head -c 48M /dev/urandom > {WORDS}/new"
        ))?;
        self.words()
    }

    /// What the words are.
    pub(super) fn words(&mut self) -> Result<String> {
        digest(&mut self.vm, WORDS)
    }

    /// Whether there are any.
    pub(super) fn has_words(&mut self) -> Result<bool> {
        Ok(self.vm.exec(["test", "-e", WORDS])?.code == Some(0))
    }

    /// Which boot this is.
    pub(super) fn boot_id(&mut self) -> Result<String> {
        Ok(self.vm.run(["cat", "/proc/sys/kernel/random/boot_id"])?.trim().to_owned())
    }

    /// The kexec or reset that somebody has brought about meanwhile.
    pub(super) fn hopped(&mut self) -> Result<Hop> {
        let hop = self.vm.await_kernel(HOP)?;
        self.vm.await_running().with_context(|| self.journal())?;
        Ok(hop)
    }

    /// That it came out in the next kernel, by pkram.
    pub(super) fn came_by_pkram(&mut self, hop: &Hop) -> Result<()> {
        let report: serde_json::Value = self.vm.exec(["pkram", "report", "--json"])?.json()?;
        let by_pkram = !report["jump"].is_null();
        ensure!(by_pkram && hop.to.release == self.next.release, "{report}\n{}", self.journal());
        Ok(())
    }

    /// What pkram said in this boot.
    pub(super) fn journal(&mut self) -> String {
        let units = "-u pkramd -u pkram-arrive -u pkram-shutdown -u 'pkram-source@*'";
        let both = format!("for b in -1 0; do journalctl --no-pager -b $b {units} || true; done");
        self.vm.sh(&both).unwrap_or_else(|error| format!("{error:#}"))
    }
}
