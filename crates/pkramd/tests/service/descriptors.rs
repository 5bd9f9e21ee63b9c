//! A service that speaks nothing but sd_notify gets its memfd back.

use crate::common::{journal, machine, systemctl_kexec};
use anyhow::{Context as _, Result};
use testbed::{Suite, Vm, e2e};

const CONFIG: &str = "
[[handover]]
unit = 'keeper.service'
max-size = '1M'
";

/// Makes a sealed memfd and stores it, or says what it was started with. It is ready for systemd
/// through the same socket.
const KEEPER: &str = r#"
import fcntl, os, signal, socket
F_ADD_SEALS, F_GET_SEALS, SHRINK_GROW = 1033, 1034, 2 | 4
to = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
to.connect(os.environ["NOTIFY_SOCKET"])
names = os.environ.get("LISTEN_FDNAMES", "").split(":")
if "book" in names:
    book = 3 + names.index("book")
    said = f"took {os.pread(book, 100, 0).decode()} {fcntl.fcntl(book, F_GET_SEALS)}"
else:
    book = os.memfd_create("book", os.MFD_ALLOW_SEALING)
    os.write(book, b"forty-two")
    fcntl.fcntl(book, F_ADD_SEALS, SHRINK_GROW)
    socket.send_fds(to, [b"FDSTORE=1\nFDNAME=book"], [book])
    said = "made"
with open("/run/keeper", "w") as out:
    out.write(said)
to.send(b"READY=1")
signal.pause()
"#;

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

#[test]
fn a_memfd_comes_back_under_its_name() -> Result<()> {
    let Some(bed) = e2e("descriptors") else { return Ok(()) };
    let [old, new] = [bed.kernel("6.1")?, bed.kernel("6.12")?];
    let mut vm = machine(bed, "descriptors", Suite::Bookworm, [old, new], CONFIG, false)?;
    vm.write_file("/usr/local/bin/keeper", KEEPER.as_bytes())?;
    vm.write_file("/etc/systemd/system/keeper.service", UNIT.as_bytes())?;
    vm.run(["systemctl", "daemon-reload"])?;
    vm.run(["systemctl", "enable", "--quiet", "--now", "keeper"]).with_context(|| both(&mut vm))?;
    assert_eq!(said(&mut vm)?, "made", "{}", both(&mut vm));
    // A daemon that is started anew still has it.
    vm.run(["systemctl", "kill", "--signal=KILL", "pkramd"])?;
    vm.run(["sh", "-c", "sleep 1; until systemctl is-active --quiet pkramd; do sleep 1; done"])?;

    systemctl_kexec(&mut vm, new)?;
    assert_eq!(said(&mut vm)?, "took forty-two 6", "{}", both(&mut vm));
    // What was copied out of its region needs no region.
    let list = vm.run(["pkram", "list"])?;
    assert!(!list.contains("fdstore-keeper"), "{list}{}", both(&mut vm));
    Ok(())
}

fn said(vm: &mut Vm) -> Result<String> {
    Ok(String::from_utf8(vm.read_file("/run/keeper")?)?)
}

fn both(vm: &mut Vm) -> String {
    let keeper = ["journalctl", "--no-pager", "--boot", "0", "--unit", "keeper"];
    let keeper = vm.run(keeper).unwrap_or_else(|error| format!("{error:#}"));
    format!("{keeper}\n{}", journal(vm, "0"))
}
