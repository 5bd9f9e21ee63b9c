//! KVM where it really runs a guest, else TCG.
//!
//! A `/dev/kvm` that exists and opens may still hang with a stock kernel, so one is booted, with
//! a time limit. The verdict holds until this machine boots again.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::artifacts::Kernel;
use crate::testbed::Images;
use crate::vm::{Disks, Firmware, Machine, Vm};

const PROBE_LIMIT: Duration = Duration::from_secs(20);

/// Who executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accel {
    /// The processor.
    Kvm,
    /// QEMU's translator, in one thread: with several, QEMU 7.2 trips over kernels that patch
    /// their own code.
    Tcg,
}

impl Accel {
    pub(crate) fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => ["-accel", "tcg,thread=single", "-cpu", "max"],
        }
    }
}

/// Decides, by the verdict on file or by a probe with this kernel.
pub(crate) fn choose(
    folder: &Path,
    kernel: Option<&Kernel>,
    images: &Images,
    progress: &dyn Fn(&str),
) -> Result<Accel> {
    let Some(kernel) = kernel.filter(|_| Path::new("/dev/kvm").exists()) else {
        return Ok(Accel::Tcg);
    };
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let path = folder.join("kvm-verdict");
    let known = fs::read_to_string(&path).unwrap_or_default();
    let works = match known.strip_prefix(boot.as_str()) {
        Some(verdict) => verdict == "works",
        None => {
            progress("probing /dev/kvm");
            let works = probe(folder, kernel, images);
            fs::write(&path, format!("{boot}{}", if works { "works" } else { "fails" }))?;
            works
        }
    };
    Ok(if works { Accel::Kvm } else { Accel::Tcg })
}

fn probe(folder: &Path, kernel: &Kernel, images: &Images) -> bool {
    let machine = Machine {
        name: "kvm-probe".to_owned(),
        kernel: kernel.clone(),
        initrd: images.initrd.clone(),
        disks: Disks::Artifacts(images.disk.clone()),
        accel: Accel::Kvm,
        memory_mib: 512,
        nvdimm_mib: None,
        cpus: 1,
        firmware: Firmware::Bios,
        nodes: 1,
        append: String::new(),
        resets: false,
        ssh: None,
        limit: PROBE_LIMIT,
    };
    let Ok(mut vm) = Vm::boot(&machine, &folder.join("runs")) else { return false };
    vm.run(["true"]).is_ok()
}
