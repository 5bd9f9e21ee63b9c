//! PID 1: from the kernel's first breath to an agent that answers.
//!
//! ```text
//! mount proc, sys, dev, tmpfs ─► load modules ─► mount the artifacts disk ─► agent ─► reap for ever
//! ```
//!
//! The root stays the initramfs; `/usr` and `/boot` are links to the artifacts disk, so that
//! Debian's programs run as they do at home.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::mount::{MountFlags, mount};
use rustix::process::{WaitOptions, wait};

use crate::modules;

/// Where the agent finds what went wrong during boot, one trouble a line.
pub(crate) const TROUBLES: &str = "/run/boot-troubles";

/// The artifacts disk is the first virtio disk of every test machine.
const ARTIFACTS_DISK: &str = "/dev/vda";
const ARTIFACTS_DIR: &str = "/mnt/art";
const DISK_DEADLINE: Duration = Duration::from_secs(30);

const MOUNTS: [(&str, &str, &str); 7] = [
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", ""),
    ("tmpfs", "/run", "mode=755"),
    ("tmpfs", "/tmp", "mode=1777,size=100%"),
    ("tmpfs", "/dev/shm", "mode=1777,size=100%"),
    ("devpts", "/dev/pts", ""),
];

/// Runs the machine; returns only to end it.
pub(crate) fn run() -> Result<()> {
    mount_kernel_filesystems()?;
    let mut troubles = modules::load_all();
    if let Err(error) = mount_artifacts() {
        troubles.push(format!("{error:#}"));
    }
    fs::write(TROUBLES, troubles.join("\n")).context("write the boot troubles")?;
    let agent = start_agent()?;
    reap_until(agent)
}

fn mount_kernel_filesystems() -> Result<()> {
    for (kind, target, options) in MOUNTS {
        fs::create_dir_all(target).with_context(|| format!("make {target}"))?;
        let options = (!options.is_empty()).then(|| std::ffi::CString::new(options)).transpose()?;
        mount(kind, target, kind, MountFlags::empty(), options.as_deref())
            .with_context(|| format!("mount {kind} on {target}"))?;
    }
    Ok(())
}

/// Mounts the artifacts disk read-only; several machines share it.
fn mount_artifacts() -> Result<()> {
    let deadline = Instant::now() + DISK_DEADLINE;
    while !Path::new(ARTIFACTS_DISK).exists() {
        if Instant::now() > deadline {
            bail!("{ARTIFACTS_DISK} did not appear within {DISK_DEADLINE:?}");
        }
        sleep(Duration::from_millis(20));
    }
    fs::create_dir_all(ARTIFACTS_DIR)?;
    mount(ARTIFACTS_DISK, ARTIFACTS_DIR, "ext4", MountFlags::RDONLY, None)
        .with_context(|| format!("mount {ARTIFACTS_DISK} on {ARTIFACTS_DIR}"))?;
    symlink("/proc/self/fd", "/dev/fd").context("link /dev/fd")
}

fn start_agent() -> Result<rustix::process::Pid> {
    let child = Command::new("/proc/self/exe")
        .arg("agent")
        .env("PATH", "/opt/bin:/usr/sbin:/usr/bin")
        .env("HOME", "/root")
        .env("TERM", "dumb")
        .current_dir("/")
        .spawn()
        .context("start the agent")?;
    Ok(rustix::process::Pid::from_child(&child))
}

/// Orphans become children of PID 1 and are waited for here, until the agent itself ends.
fn reap_until(agent: rustix::process::Pid) -> Result<()> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == agent => bail!("the agent ended: {status:?}"),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("wait for children"),
        }
    }
}
