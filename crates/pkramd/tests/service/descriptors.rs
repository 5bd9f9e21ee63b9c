//! A service that speaks nothing but sd_notify gets its memfd back.

use crate::common::{journal, machine, systemctl_kexec};
use anyhow::{Result, ensure};
use testbed::services::keeper;
use testbed::{Suite, e2e};

#[test]
fn a_memfd_comes_back_under_its_name() -> Result<()> {
    let Some(bed) = e2e("descriptors") else { return Ok(()) };
    let [old, new] = [bed.kernel("6.1")?, bed.kernel("6.12")?];
    let mut vm = machine(bed, "descriptors", Suite::Bookworm, [old, new], keeper::CONFIG, false)?;
    keeper::start(&mut vm)?;
    let made = keeper::said(&mut vm)?;
    ensure!(made.how == "made" && made.memory.ends_with(" seals 6"), "{made:?}");
    // A daemon that is started anew still has it.
    vm.run(["systemctl", "kill", "--signal=KILL", "pkramd"])?;
    vm.run(["sh", "-c", "sleep 1; until systemctl is-active --quiet pkramd; do sleep 1; done"])?;

    systemctl_kexec(&mut vm, new)?;
    let took = keeper::said(&mut vm)?;
    ensure!(took.how == "took" && took.memory == made.memory, "{took:?} of {made:?}");
    // What was copied out of its region needs no region.
    let list = vm.run(["pkram", "list"])?;
    ensure!(!list.contains("fdstore-keeper"), "{list}{}", journal(&mut vm, "0"));
    Ok(())
}
