//! A daemon that needs nothing of the disks: it runs from a copy of itself in memory.
//!
//! At the end of a shutdown disks are unmounted or made read-only, and a program that runs from one
//! stands in the way. Its first argument begins with `@` then, so that the final killing spree
//! spares it (systemd: `src/shared/killall.c`, `ignore_proc()`).

use crate::journal::Event;
use anyhow::Context as _;
use rustix::fs::{MemfdFlags, memfd_create};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Goes on in such a copy, if this is none yet.
pub(crate) fn stand_alone() -> anyhow::Result<()> {
    let mut args = std::env::args_os();
    let own_name = args.next().unwrap_or_default();
    if own_name.as_bytes().starts_with(b"@") {
        return Ok(());
    }
    let again = |program: &OsStr| -> io::Error {
        Command::new(program).arg0("@pkramd").args(std::env::args_os().skip(1)).exec()
    };
    let copy = copy_to_memory().context("copy /proc/self/exe into a memfd")?;
    let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
    let refused = again(OsStr::new(&path));
    // vm.memfd_noexec=2 forbids it; then from where it is.
    let text = format!("cannot run from memory ({refused}): disks may not be unmounted cleanly");
    Event::Note.tell(&text);
    Err(again(OsStr::new("/proc/self/exe")).into())
}

fn copy_to_memory() -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC;
    // Kernels before 6.3 do not know the flag.
    let memory = memfd_create("pkramd", flags | MemfdFlags::EXEC)
        .or_else(|_| memfd_create("pkramd", flags))?;
    let mut memory = File::from(memory);
    io::copy(&mut File::open("/proc/self/exe")?, &mut memory)?;
    Ok(memory)
}
