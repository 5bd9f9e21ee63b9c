//! A service that keeps a sealed memfd full of random bytes, and knows nothing of pkram but the address
//! that it gets for `sd_notify(3)`.

use anyhow::{Context, Result};

use super::journal;
use crate::vm::Vm;

/// For `pkram.toml`.
pub const CONFIG: &str = "
[[handover]]
unit = 'keeper.service'
max-size = '16M'
";

const UNIT: &str = "[Unit]
Requires=pkramd.service
After=pkramd.service
[Service]
Type=notify
NotifyAccess=all
FileDescriptorStoreMax=4
Environment=NOTIFY_SOCKET=/run/pkram/notify
ExecStart=pkram take -- python3 /usr/local/bin/keeper
[Install]
WantedBy=multi-user.target
";

/// What the service says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// `made` its memory in this boot, or `took` it from before.
    pub how: String,
    /// How many bytes it has, their SHA-256, and the memfd's seals.
    pub memory: String,
}

/// Installs and starts it.
///
/// # Errors
/// It does not start.
pub fn start(vm: &mut Vm) -> Result<()> {
    vm.write_file("/usr/local/bin/keeper", include_bytes!("keeper.py"))?;
    vm.write_file("/etc/systemd/system/keeper.service", UNIT.as_bytes())?;
    vm.run(["systemctl", "daemon-reload"])?;
    let started = vm.run(["systemctl", "enable", "--quiet", "--now", "keeper"]);
    started.with_context(|| journal(vm, "0")).map(drop)
}

/// Asks it.
///
/// # Errors
/// It has not said anything yet.
pub fn said(vm: &mut Vm) -> Result<Said> {
    let text = String::from_utf8(vm.read_file("/run/keeper")?)?;
    let (how, memory) = text.split_once(' ').with_context(|| text.clone())?;
    Ok(Said { how: how.to_owned(), memory: memory.to_owned() })
}
