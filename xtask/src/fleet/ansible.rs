//! `ansible-playbook` on this side, with the host in the inventory under two names.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::host::Host;

const PLAYBOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/fleet/kexec.yml");

/// What a run of the playbook came to.
#[derive(Debug)]
pub(super) struct Played {
    /// 0 where every host was done, or left as asked.
    pub(super) code: Option<i32>,
    /// All that was printed.
    pub(super) text: String,
}

impl Played {
    /// Whether a host was begun with: it is in the recap then.
    pub(super) fn reached(&self, host: &str) -> bool {
        let recap = self.text.split("PLAY RECAP").nth(1).unwrap_or_default();
        recap.lines().any(|line| line.split_whitespace().next() == Some(host))
    }
}

/// Installs Ansible where it is missing (Debian, root), and says which it is.
pub(super) fn ensure(say: &dyn Fn(&str)) -> Result<String> {
    let version = || Command::new("ansible-playbook").arg("--version").output();
    if version().is_err() {
        say("installing ansible-core");
        let install =
            ["install", "--yes", "--no-install-recommends", "ansible-core", "openssh-client"];
        let status = Command::new("apt-get")
            .args(install)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .status()
            .context("start apt-get")?;
        ensure!(status.success(), "apt-get install ansible-core: {status}");
    }
    let told = String::from_utf8(version().context("start ansible-playbook")?.stdout)?;
    let first = told.lines().next().context("ansible-playbook says no version")?;
    Ok(first.replace("ansible-playbook", "Ansible").replace(['[', ']'], ""))
}

/// Runs the playbook for hosts of these names, in this order.
pub(super) fn play(host: &Host, names: &[&str], if_not: &str) -> Result<Played> {
    let key = host.key();
    let folder = key.parent().context("the key lies nowhere")?;
    let inventory = folder.join("inventory");
    let line = |name: &&str| {
        format!(
            "{name} ansible_host=127.0.0.1 ansible_port={} ansible_user=root \
             ansible_python_interpreter=/usr/bin/python3 ansible_ssh_private_key_file={} \
             ansible_ssh_common_args='-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null'\n",
            host.port,
            key.display()
        )
    };
    fs::write(&inventory, names.iter().map(line).collect::<String>())?;
    let output = Command::new("ansible-playbook")
        .arg("--inventory")
        .arg(&inventory)
        .args(["--extra-vars", &format!("pkram_if_not={if_not}"), PLAYBOOK])
        .current_dir(Path::new("/"))
        // Of this user nothing else; emulated machines are slow.
        .env("ANSIBLE_HOME", folder)
        .env("ANSIBLE_LOCAL_TEMP", folder.join("tmp"))
        .env("ANSIBLE_SSH_CONTROL_PATH_DIR", folder.join("cp"))
        .env("ANSIBLE_TIMEOUT", "60")
        .env("ANSIBLE_NOCOLOR", "1")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .context("start ansible-playbook")?;
    let text =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    let text = text.join("\n");
    eprintln!("{text}");
    Ok(Played { code: output.status.code(), text })
}
