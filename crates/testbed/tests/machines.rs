//! The harness notices what goes wrong in a machine, and machines can be made in all their kinds.

use std::time::Duration;

use anyhow::Result;
use testbed::e2e;

#[test]
fn uefi_machines_have_their_runtime_services() -> Result<()> {
    let Some(bed) = e2e("uefi_machines_have_their_runtime_services") else { return Ok(()) };
    let mut vm = bed.vm("uefi", bed.kernel("6.12")?).uefi(true).boot()?;
    assert_eq!(vm.sh("cat /sys/firmware/efi/fw_platform_size")?.trim(), "64");
    let mut vm = bed.vm("bios", bed.kernel("6.12")?).boot()?;
    assert_eq!(vm.sh("ls /sys/firmware")?.find("efi"), None);
    Ok(())
}

#[test]
fn a_reset_is_an_error_that_shows_the_console() -> Result<()> {
    let Some(bed) = e2e("a_reset_is_an_error_that_shows_the_console") else { return Ok(()) };
    let mut vm = bed.vm("expected-reset", bed.kernel("6.1")?).boot()?;
    let jump = ["sh", "-c", "echo MARK-7 > /dev/kmsg; echo c > /proc/sysrq-trigger"];
    let error = match vm.kexec_into(jump, Duration::from_secs(60)) {
        Ok(hop) => anyhow::bail!("a crash was taken for a kexec: {hop:?}"),
        Err(error) => format!("{error:#}"),
    };
    for word in ["guest-reset", "MARK-7", "Kernel panic", "logs: "] {
        assert!(error.contains(word), "not in the error: {word}\n{error}");
    }
    Ok(())
}

#[test]
fn programs_are_bounded_and_report_in_full() -> Result<()> {
    let Some(bed) = e2e("programs_are_bounded_and_report_in_full") else { return Ok(()) };
    let mut vm = bed.vm("programs", bed.kernel("7.3")?).cpus(2).memory_mib(768).boot()?;
    assert_eq!(vm.run(["nproc"])?.trim(), "2");

    let output = vm
        .program(["sh", "-c", "cat; echo $WORD; pwd; echo oops >&2; exit 3"])
        .stdin([0xff, 0, b'\n'])
        .env("WORD", "a b")
        .cwd("/dev/shm")
        .exec()?;
    assert_eq!(output.stdout, b"\xff\0\na b\n/dev/shm\n");
    assert_eq!((output.code, output.stderr.as_str()), (Some(3), "oops\n"));

    let slow = vm.program(["sleep", "60"]).limit(Duration::from_secs(1)).exec();
    assert!(format!("{:#}", slow.unwrap_err()).contains("still running after 1000 ms"));
    let error = vm.exec(["no-such-program"]).unwrap_err();
    assert!(format!("{error:#}").contains("no-such-program"), "{error:#}");

    let blob: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    vm.write_file("/tmp/blob", &blob)?;
    assert!(vm.read_file("/tmp/blob")? == blob, "a file came back different");

    let pid = vm.spawn(["sleep", "60"], "/run/log")?;
    vm.kill(pid, 15)?;
    assert_eq!(vm.wait(pid, Duration::from_secs(10))?.signal, Some(15));
    Ok(())
}
