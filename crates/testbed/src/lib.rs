//! Boots stock Debian kernels in QEMU and drives scenarios in them from outside.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let bed = testbed::Testbed::prepare(false, &|step| eprintln!("{step}"))?;
//! let mut vm = bed.vm("hello", bed.kernel("6.1")?).memory_mib(768).boot()?;
//! assert!(vm.run(["uname", "-r"])?.starts_with("6.1."));
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod accel;
mod apt;
mod artifacts;
mod debian;
mod disk;
mod e2e;
mod forget;
mod host;
mod initramfs;
mod memcached;
mod modules;
mod programs;
mod run;
pub mod services;
mod sha256;
mod testbed;
mod vm;

pub use artifacts::{KERNELS, Kernel};
pub use debian::{DEBIAN_ROOT, Suite};
pub use e2e::e2e;
pub use guest::protocol::Hello;
pub use host::missing_packages;
pub use memcached::{Checked, Items};
pub use programs::{static_programs, workspace};
pub use testbed::{Testbed, folder};
pub use vm::{APPEND, Builder, GUEST_INITRD, Hop, Output, Program, Vm};
