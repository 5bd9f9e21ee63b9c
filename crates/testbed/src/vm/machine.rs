//! What a test machine is made of, and QEMU's command line for it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::Vm;
use super::disks::{self, Disks};
use super::firmware::{self, Firmware};
use crate::accel::Accel;
use crate::artifacts::Kernel;
use crate::debian::{DEBIAN_ROOT, Root};
use crate::testbed::Testbed;

/// Where guests find the initramfs for the next kernel.
pub const GUEST_INITRD: &str = "/boot/initrd.img";

impl Kernel {
    /// Where guests find this kernel's bzImage.
    #[must_use]
    pub fn guest_image(&self) -> String {
        format!("/boot/vmlinuz-{}", self.release)
    }
}

/// Everything that a machine is made of.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) kernel: Kernel,
    pub(crate) initrd: PathBuf,
    pub(crate) disks: Disks,
    pub(crate) accel: Accel,
    pub(crate) memory_mib: u32,
    pub(crate) cpus: u32,
    pub(crate) firmware: Firmware,
    pub(crate) nodes: u32,
    pub(crate) nvdimm_mib: Option<u32>,
    pub(crate) append: String,
    pub(crate) resets: bool,
    pub(crate) ssh: Option<u16>,
    /// From QEMU's start to the agent's hello.
    pub(crate) limit: Duration,
}

/// Chooses what a machine is made of; see [`Testbed::vm`].
#[derive(Debug)]
pub struct Builder<'a> {
    bed: &'a Testbed,
    machine: Machine,
    packages: Vec<PathBuf>,
    installs: bool,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(bed: &'a Testbed, name: &str, kernel: &Kernel) -> Self {
        let machine = Machine {
            name: name.to_owned(),
            kernel: kernel.clone(),
            initrd: bed.images.initrd.clone(),
            disks: Disks::Artifacts(bed.images.disk.clone()),
            accel: bed.accel,
            memory_mib: 1024,
            cpus: 1,
            firmware: Firmware::Bios,
            nodes: 1,
            nvdimm_mib: None,
            append: String::new(),
            resets: false,
            ssh: None,
            limit: Duration::from_secs(180),
        };
        Self { bed, machine, packages: Vec::new(), installs: false }
    }

    pub(crate) fn debian(bed: &'a Testbed, name: &str, kernel: &Kernel, root: &Root) -> Self {
        let mut builder = Self::new(bed, name, kernel);
        let machine = &mut builder.machine;
        machine.initrd = root.initrd(kernel);
        machine.disks =
            Disks::Debian { root: root.image(), guest: bed.guest.clone(), packages: Vec::new() };
        machine.limit = Duration::from_secs(300);
        builder.append("")
    }

    /// Memory in MiB; 1024 unless told.
    #[must_use]
    pub fn memory_mib(mut self, memory_mib: u32) -> Self {
        self.machine.memory_mib = memory_mib;
        self
    }

    /// Processors; 1 unless told.
    #[must_use]
    pub fn cpus(mut self, cpus: u32) -> Self {
        self.machine.cpus = cpus;
        self
    }

    /// Boots through UEFI (OVMF) rather than SeaBIOS.
    #[must_use]
    pub fn uefi(mut self, uefi: bool) -> Self {
        self.machine.firmware = if uefi { Firmware::Uefi } else { Firmware::Bios };
        self
    }

    /// Boots through UEFI with Secure Boot: OVMF with Microsoft's keys takes Debian's shim, that
    /// takes GRUB, that takes the kernel, each for its signature; the kernel locks itself down.
    #[must_use]
    pub fn secure_boot(mut self) -> Self {
        self.machine.firmware = Firmware::SecureBoot(self.bed.artifacts.root());
        self
    }

    /// NUMA nodes, each with an equal share of memory, the processors all on the first; 1 unless told.
    #[must_use]
    pub fn nodes(mut self, nodes: u32) -> Self {
        self.machine.nodes = nodes;
        self
    }

    /// Puts in an NVDIMM, which the firmware describes in an NFIT; none unless told.
    #[must_use]
    pub fn nvdimm_mib(mut self, nvdimm_mib: u32) -> Self {
        self.machine.nvdimm_mib = Some(nvdimm_mib);
        self
    }

    /// Adds words to the kernel command line of the first boot.
    #[must_use]
    pub fn append(mut self, words: &str) -> Self {
        let root = match self.machine.disks {
            Disks::Artifacts(_) => "",
            Disks::Debian { .. } => DEBIAN_ROOT,
        };
        self.machine.append = [root, words].join(" ").trim().to_owned();
        self
    }

    /// Lets the machine go through its firmware at a reset, and boot its first kernel again with
    /// memory as it was, instead of ending. [`Vm::kexec_into`] waits for that as well.
    #[must_use]
    pub fn resets(mut self, resets: bool) -> Self {
        self.machine.resets = resets;
        self
    }

    /// Connects the machine to this host alone, as 10.0.2.15/24 on its one Ethernet device, with
    /// this port of 127.0.0.1 leading to its port 22.
    #[must_use]
    pub fn ssh(mut self, port: u16) -> Self {
        self.machine.ssh = Some(port);
        self
    }

    /// Installs Debian packages once the system runs, all at once; only Debian machines can.
    #[must_use]
    pub fn install(mut self, packages: &[impl AsRef<Path>]) -> Self {
        self.installs = true;
        self.carry(packages)
    }

    /// Takes Debian packages along, in `/opt/packages`, for whoever installs them there; only Debian
    /// machines can.
    #[must_use]
    pub fn carry(mut self, packages: &[impl AsRef<Path>]) -> Self {
        self.packages.extend(packages.iter().map(|package| package.as_ref().to_owned()));
        self
    }

    /// Starts the machine and waits until its agent answers, and where there are packages to
    /// install, until they are.
    ///
    /// # Errors
    /// QEMU does not start, or the kernel does not come up in time, or a package does not install;
    /// the message shows the end of the console.
    pub fn boot(mut self) -> Result<Vm> {
        if let Disks::Debian { packages, .. } = &mut self.machine.disks {
            packages.clone_from(&self.packages);
        } else {
            ensure!(self.packages.is_empty(), "only Debian machines take packages");
        }
        let mut vm = Vm::boot(&self.machine, &self.bed.runs)?;
        if self.installs {
            vm.install_luggage()?;
        }
        Ok(vm)
    }
}

/// QEMU's command line. Sockets are in `sockets`, logs in `run`.
pub(super) fn command(machine: &Machine, run: &Path, sockets: &Path) -> Result<Command> {
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(["-nodefaults", "-no-user-config", "-display", "none"])
        .args(machine.accel.arguments())
        .args(["-smp", &machine.cpus.to_string()])
        .args(memory(machine))
        // kexec resets nothing: a reset is a crash, and the machine must not boot again unless that
        // is what is tested.
        .args(["-action", if machine.resets { "reboot=reset" } else { "reboot=shutdown" }])
        .args(["-chardev", &format!("file,id=console,path={}", run.join("serial.log").display())])
        .args(["-serial", "chardev:console"])
        // QEMU starts the guest once we are connected, so no word of it is lost.
        .args(["-chardev", &socket("agent", "on", sockets), "-serial", "chardev:agent"])
        .args(["-chardev", &socket("qmp", "off", sockets), "-mon", "chardev=qmp,mode=control"]);
    if let Some(port) = machine.ssh {
        let leads = format!("hostfwd=tcp:127.0.0.1:{port}-10.0.2.15:22");
        command.args(["-netdev", &format!("user,id=net,restrict=on,{leads}")]);
        command.args(["-device", "virtio-net-pci,netdev=net,romfile="]);
    }
    disks::add(&mut command, &machine.disks, run)?;
    firmware::add(&mut command, machine, run)?;
    Ok(command)
}

/// The board with its memory; an NVDIMM needs a slot and addresses above the RAM.
fn memory(machine: &Machine) -> Vec<String> {
    let ram = machine.memory_mib;
    let words = match machine.nvdimm_mib {
        None => format!("-machine q35 -m {ram}M"),
        Some(mib) => format!(
            "-machine q35,nvdimm=on -m {ram}M,slots=1,maxmem={}M \
             -object memory-backend-ram,id=nvdimm,size={mib}M -device nvdimm,memdev=nvdimm",
            ram + mib
        ),
    };
    let mut words: Vec<_> = words.split(' ').map(str::to_owned).collect();
    for node in (0..machine.nodes).filter(|_| machine.nodes > 1) {
        let share = ram / machine.nodes;
        let cpus = if node == 0 { format!(",cpus=0-{}", machine.cpus - 1) } else { String::new() };
        words.extend([
            "-object".to_owned(),
            format!("memory-backend-ram,id=node{node},size={share}M"),
            "-numa".to_owned(),
            format!("node,nodeid={node},memdev=node{node}{cpus}"),
        ]);
    }
    words
}

/// A drive that nobody writes to.
pub(super) fn read_only(path: &Path) -> String {
    format!("format=raw,readonly=on,file={}", path.display())
}

fn socket(name: &str, wait: &str, sockets: &Path) -> String {
    let path = sockets.join(name);
    format!("socket,id={name},server=on,wait={wait},path={}", path.display())
}
