//! Loads the kernel modules that a real system's udev would have loaded.
//!
//! The host writes `/lib/modules/RELEASE/load` into the initramfs: paths of modules, each after
//! those it depends on. The usual `modules.dep` lies next to it for `modprobe`.

use std::fs::File;

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::system::{finit_module, uname};

/// Loads everything on the list and tells what did not load; a machine without one module is
/// still worth talking to.
pub(crate) fn load_all() -> Vec<String> {
    let folder = format!("/lib/modules/{}", uname().release().to_string_lossy());
    let list = match std::fs::read_to_string(format!("{folder}/load")) {
        Ok(list) => list,
        Err(error) => return vec![format!("no module list for this kernel in {folder}: {error}")],
    };
    list.lines()
        .filter_map(|path| load(&format!("{folder}/{path}")).err())
        .map(|error| format!("{error:#}"))
        .collect()
}

fn load(path: &str) -> Result<()> {
    let module = File::open(path).with_context(|| format!("open {path}"))?;
    match finit_module(&module, c"", 0) {
        // What a module is for may be absent: efivarfs under BIOS, crc32c-intel on an older
        // processor. They decline with `ENODEV`, and are loaded at a guess by real systems too.
        Ok(()) | Err(Errno::EXIST | Errno::NODEV) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("load {path}")),
    }
}
