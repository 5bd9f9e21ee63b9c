//! Memory that a service cannot do without.

use crate::common::{HOP, journal, machine, mount_more, systemctl_kexec};
use anyhow::{Result, ensure};
use testbed::{Suite, e2e};

const CONFIG: &str = "
[source.ledger]
path = '/run/ledger'
arrival = 'in-place'
required = true
";

/// `RequiresMountsFor=` is all that it needs: the mount unit is made from the configuration.
const SET_UP: &str = "
set -eu
cat > /etc/systemd/system/teller.service <<END
[Unit]
RequiresMountsFor=/run/ledger
[Service]
ExecStart=sleep infinity
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload
systemctl enable --quiet --now teller
mkdir -p /run/ledger
echo 42 > /run/ledger/balance
";

#[test]
fn a_service_does_not_start_without_it_and_says_why() -> Result<()> {
    let Some(bed) = e2e("required") else { return Ok(()) };
    let kernel = bed.kernel("6.12")?;
    let mut vm = machine(bed, "required", Suite::Trixie, [kernel, kernel], CONFIG, true)?;
    mount_more(&mut vm)?;
    // Memory that never was is not missing.
    vm.sh(SET_UP)?;
    systemctl_kexec(&mut vm, kernel)?;
    assert_eq!(vm.run(["cat", "/run/ledger/balance"])?.trim(), "42", "{}", journal(&mut vm, "0"));
    assert_eq!(
        vm.run(["systemctl", "is-active", "run-ledger.mount", "teller"])?,
        "active\nactive\n"
    );

    // Through the firmware it is lost. From 254 on systemd makes a kexec of every reboot where
    // something is loaded, unless it is told not to.
    let reboot = ["env", "SYSTEMCTL_SKIP_AUTO_KEXEC=1", "systemctl", "reboot"];
    let hop = vm.kexec_into(reboot, HOP)?;
    ensure!(hop.to.boot_id != hop.from.boot_id);
    let state = vm.exec(["systemctl", "is-system-running", "--wait"])?;
    assert_eq!(state.text()?.trim(), "degraded");
    let failed = vm.run(["systemctl", "--failed", "--plain", "--no-legend"])?;
    ensure!(failed.contains("pkram-source@ledger.service"), "{failed}");
    assert_eq!(vm.exec(["systemctl", "is-active", "teller"])?.text()?.trim(), "inactive");
    let said = journal(&mut vm, "0");
    ensure!(said.contains("source ledger is missing"), "{said}");
    ensure!(said.contains("pkramd forget ledger"), "{said}");

    vm.run(["pkramd", "forget", "ledger"])?;
    vm.run(["systemctl", "start", "teller"])?;
    Ok(())
}
