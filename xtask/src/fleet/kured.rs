//! The reboot command of `docs/fleet/kured.yaml`, run as kured runs it: from a container with a root
//! filesystem and namespaces of its own, in the host's process namespace.

use anyhow::{Context, Result};

const ARGUMENTS: &str = include_str!("../../../docs/fleet/kured.yaml");

/// A container's root filesystem. It has Debian's programs, but nothing of the host's `/run`, `/etc`
/// and `/dev`; the sentinel is where kured's DaemonSet has it.
const CONTAINER: &str = "
mkdir /run/container
mount -t tmpfs container /run/container
cd /run/container
mkdir usr proc sentinel
mount --bind /usr usr
mount -t proc proc proc
mount --bind /run sentinel
for dir in bin sbin lib lib64; do ln -s usr/$dir $dir; done
";

/// kured 1.23.0: `pkg/reboot/command.go`, `NewCommandRebooter()`. Its splitting, `google/shlex`, is that
/// of a shell, as Python's is.
const REBOOT: &str = "
import os, shlex, sys
assert os.path.exists('/sentinel/reboot-required') and not os.path.exists('/run')
nsenter = ['/usr/bin/nsenter', '-m/proc/1/ns/mnt', '--'] + shlex.split(sys.argv[1])
os.execv(nsenter[0], nsenter)
";

/// What makes the container, for a shell in the host.
pub(super) const fn container() -> &'static str {
    CONTAINER
}

/// The command that kured's container runs, for the host.
pub(super) fn reboot() -> Result<Vec<String>> {
    let argument = ARGUMENTS.lines().find_map(|line| line.strip_prefix("- --reboot-command="));
    let command = argument.context("docs/fleet/kured.yaml has no --reboot-command")?;
    let unshare = "unshare --mount --uts --ipc --net --cgroup --root=/run/container python3 -c";
    Ok(unshare.split(' ').chain([REBOOT, command]).map(str::to_owned).collect())
}
