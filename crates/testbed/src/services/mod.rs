//! Services of Debian machines whose memory pkram keeps: stock units, a drop-in, and `pkram.toml`.
//!
//! | service | what is kept | how it comes back |
//! |---|---|---|
//! | memcached | a file on a tmpfs of its own | in place |
//! | Redis | what it writes to its runtime directory when it stops | copied |
//! | keeper, of our own | a sealed memfd, handed over by nothing but `sd_notify(3)` | as a new memfd |

pub mod caches;
pub mod keeper;

use anyhow::Result;

use crate::artifacts::Kernel;
use crate::vm::Vm;

/// Writes `pkram.toml` and has it read; the next kernel is `next`.
///
/// # Errors
/// The configuration is wrong, or the package is not installed.
pub fn configure(vm: &mut Vm, next: &Kernel, config: &str) -> Result<()> {
    let (image, initrd) = (next.guest_image(), next.debian_initrd());
    let kernel = format!("[kernel]\nimage = '{image}'\ninitrd = '{initrd}'\n");
    vm.write_file("/etc/pkram/pkram.toml", format!("{kernel}{config}").as_bytes())?;
    vm.run(["pkram", "config", "check"])?;
    vm.run(["systemctl", "daemon-reload"])?;
    vm.run(["systemctl", "reload", "pkramd"]).map(drop)
}

/// What pkram said in a boot, by its number from now; or why that cannot be told.
pub fn journal(vm: &mut Vm, boot: &str) -> String {
    let units = ["pkramd", "pkram-arrive", "pkram-shutdown", "pkram-source@*", "keeper"];
    let mut words = vec!["journalctl", "--no-pager", "--output=short-monotonic", "--boot", boot];
    words.extend(units.iter().flat_map(|unit| ["--unit", unit]));
    vm.run(words).unwrap_or_else(|error| format!("{error:#}"))
}
