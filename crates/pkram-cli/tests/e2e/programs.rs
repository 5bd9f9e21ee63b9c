//! A program that keeps its own memory, by the library alone.

use crate::common::HOP;
use anyhow::{Context, Result, ensure};
use testbed::{APPEND, GUEST_INITRD, Vm};

const WARM: &str = "100000 of 100000 were there\n";

#[test]
fn a_program_finds_its_cache_warm() -> Result<()> {
    let Some(bed) = testbed::e2e("a_program_finds_its_cache_warm") else { return Ok(()) };
    let next = bed.kernel("6.12")?;
    let mut vm = bed.vm("warm", bed.kernel("6.1")?).boot()?;
    ensure!(vm.run(["warm_cache"])? == "0 of 100000 were there\n", "warm from the start");
    let jump = ["warm_cache", &next.guest_image(), GUEST_INITRD, &APPEND];
    let hop = vm.kexec_into(jump, HOP)?;
    ensure!(hop.to.release == next.release, "arrived in {}", hop.to.release);
    // Loading destroys nothing.
    for _ in 0..2 {
        ensure!(vm.run(["warm_cache"])? == WARM, "the cache is cold");
    }
    damage_something_else(&mut vm)?;
    ensure!(vm.exec(["pkram", "verify"])?.code == Some(1), "the damage was not found");
    ensure!(vm.run(["warm_cache"])? == WARM, "damage elsewhere cost the cache");
    let mounts = vm.sh("grep /run/pkram/regions /proc/mounts")?;
    ensure!(mounts.contains(" ro,"), "a damaged region is mounted for writing: {mounts}");
    Ok(())
}

/// Flips a bit in the inode of the old kernel's log.
fn damage_something_else(vm: &mut Vm) -> Result<()> {
    vm.sh("umount /run/pkram/regions/*")?;
    let said = vm.sh("debugfs -R 'imap /.pkram/dmesg' /dev/pmem0")?;
    let number = |after: &str| -> Result<u64> {
        let (_, rest) = said.split_once(after).with_context(|| said.clone())?;
        let word = rest.trim_start().split([',', '\n', ' ']).next().unwrap_or_default();
        Ok(match word.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16)?,
            None => word.parse()?,
        })
    };
    let at = number("located at block")? * 4096 + number("offset")?;
    // The low byte of its owner.
    vm.sh(&format!("printf '\\252' | dd of=/dev/pmem0 bs=1 seek={} conv=notrunc 2>&1", at + 2))?;
    Ok(())
}
