//! Each stock kernel boots, answers, and can be replaced by plain kexec-tools.

use std::time::Duration;

use anyhow::Result;
use testbed::{APPEND, GUEST_INITRD, Testbed, e2e};

#[test]
fn every_kernel_boots_and_answers() -> Result<()> {
    let Some(bed) = e2e("every_kernel_boots_and_answers") else { return Ok(()) };
    for kernel in bed.kernels() {
        let mut vm = bed.vm("boots", kernel).boot()?;
        assert_eq!(vm.hello().release, kernel.release);
        assert_eq!(vm.hello().troubles, Vec::<String>::new());
        assert_eq!(vm.run(["uname", "-r"])?.trim(), kernel.release);
        eprintln!("{}: {:?}", kernel.release, vm.hello());
    }
    Ok(())
}

#[test]
fn plain_kexec_works_with_both_system_calls() -> Result<()> {
    let Some(bed) = e2e("plain_kexec_works_with_both_system_calls") else { return Ok(()) };
    plain_kexec(bed, "-c")?;
    plain_kexec(bed, "-s")
}

fn plain_kexec(bed: &Testbed, call: &str) -> Result<()> {
    let (old, new) = (bed.kernel("6.1")?, bed.kernel("6.12")?);
    let mut vm = bed.vm("plain-kexec", old).boot()?;
    let initrd = format!("--initrd={GUEST_INITRD}");
    let append = format!("--append={APPEND} hop=2");
    let image = new.guest_image();
    vm.run(["kexec", call, "-l", &image, &initrd, &append])?;
    let hop = vm.kexec_into(["kexec", "-e"], Duration::from_secs(120))?;
    assert_eq!(hop.from.release, old.release);
    assert_eq!(hop.to.release, new.release);
    assert!(hop.to.cmdline.ends_with("hop=2"), "{}", hop.to.cmdline);
    assert_eq!(hop.to.troubles, Vec::<String>::new());
    eprintln!("{call}: {:?}", hop.total);
    Ok(())
}
