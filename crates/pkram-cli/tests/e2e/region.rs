//! What can be done with a region in the next kernel: damage is found, memory is given back.

use crate::common::{REGION, hop, meminfo, memory_map, mount, number};
use anyhow::{Context, Result, ensure};
use physmem::E820Type;
use serde_json::Value;
use testbed::Vm;

const DEVICE: &str = "/dev/pmem";

/// Flips one bit of a device.
fn flip(vm: &mut Vm, device: &str, offset: u64) -> Result<()> {
    vm.sh(&format!(
        "byte=$(od -An -tu1 -j{offset} -N1 {device}); \
         printf \"\\\\$(printf %o $((byte ^ 1)))\" | dd of={device} bs=1 seek={offset} conv=notrunc"
    ))?;
    Ok(())
}

#[test]
fn damage_is_found_and_memory_comes_back() -> Result<()> {
    let Some(bed) = testbed::e2e("damage_is_found_and_memory_comes_back") else { return Ok(()) };
    let mut vm = bed.vm("region", bed.kernel("6.12")?).memory_mib(1536).boot()?;
    vm.sh("mount -o remount,size=80% /dev/shm && head -c 500M /dev/zero > /dev/shm/big && head -c 5000 /dev/urandom >> /dev/shm/big")?;
    hop(&mut vm, bed.kernel("6.1")?, &["big=/dev/shm/big"])?;

    let list: Value = vm.exec(["pkram", "list", "--json"])?.json()?;
    let region = &list["regions"][0];
    let uuid = region["uuid"].as_str().context("no region")?.to_owned();
    let device = region["spans"][0]["device"].as_str().context("no device")?.to_owned();
    ensure!(device.starts_with(DEVICE), "{device}");
    ensure!(vm.exec(["pkram", "verify"])?.code == Some(0), "whole, and yet verify finds fault");
    let whole = vm.sh(&format!("head -c 16M {device} | sha256sum"))?;

    // Superblock, group descriptors, the first bitmap, the root directory's inode.
    for offset in [1024 + 200, 4096 + 40, 3 * 4096 + 7, 1024 + 0x78] {
        flip(&mut vm, &device, offset)?;
        let found = vm.exec(["pkram", "verify", "--json"])?;
        ensure!(found.code == Some(1), "verify does not see byte {offset} of the metadata");
        flip(&mut vm, &device, offset)?;
    }
    ensure!(
        vm.exec(["pkram", "verify"])?.code == Some(0),
        "the bits are back, but verify finds fault"
    );

    // A damaged head: reported, not mounted, not released, nothing written.
    flip(&mut vm, &device, 50)?;
    let damaged = vm.sh(&format!("head -c 16M {device} | sha256sum"))?;
    let list: Value = vm.exec(["pkram", "list", "--json"])?.json()?;
    let error = list["damaged"][0]["error"].as_str().context("the damage is not reported")?;
    ensure!(error.contains("damaged"), "{error}");
    for (words, code) in [
        (&["pkram", "mount", "/mnt"][..], 1),
        (&["pkram", "release", &uuid], 1),
        // Which region it is cannot be told any more.
        (&["pkram", "verify"], 2),
    ] {
        let refused = vm.exec(words.iter().copied())?;
        ensure!(refused.code == Some(code), "{words:?} goes on with a damaged head: {refused:?}");
    }
    ensure!(
        vm.sh(&format!("head -c 16M {device} | sha256sum"))? == damaged,
        "something was written"
    );
    flip(&mut vm, &device, 50)?;
    ensure!(vm.sh(&format!("head -c 16M {device} | sha256sum"))? == whole, "the test lost its way");

    // Mounted: not released. Unmounted: as much comes back as was promised.
    vm.run(["mkdir", "-p", "/mnt/r"])?;
    vm.run(["pkram", "mount", "/mnt/r"])?;
    let manifest: Value = serde_json::from_slice(&vm.read_file("/mnt/r/.pkram/manifest.json")?)?;
    let busy = vm.exec(["pkram", "release", &uuid])?;
    ensure!(busy.code == Some(1) && busy.stderr.contains("in use"), "{busy:?}");
    vm.run(["umount", "/mnt/r"])?;
    let before = meminfo(&mut vm, "MemTotal")?;
    let released: Value = vm.exec(["pkram", "release", "--json", &uuid])?.json()?;
    let promised = number(&manifest, "/plan/returnable")?;
    ensure!(promised >= 256 << 20, "a plan that gives back {promised} of 500 MiB is a poor one");
    ensure!(number(&released, "/returned")? == promised, "{released}, promised {promised}");
    let risen = meminfo(&mut vm, "MemTotal")? - before;
    ensure!(risen == promised, "MemTotal rose by {risen}, promised {promised}");
    let list: Value = vm.exec(["pkram", "list", "--json"])?.json()?;
    ensure!(list["regions"].as_array().is_some_and(Vec::is_empty), "{list}");

    // To the next kernel all of the released memory is RAM, what could not come back here among it.
    vm.sh("echo small > /dev/shm/small")?;
    hop(&mut vm, bed.kernel("6.12")?, &["small=/dev/shm/small"])?;
    let spans = memory_map(&mut vm)?.of_type(E820Type::Pram);
    let manifest = mount(&mut vm)?;
    let region = number(&manifest, "/plan/region")?;
    ensure!(spans.bytes() == region, "{} bytes are spans, the region has {region}", spans.bytes());
    ensure!(region <= 8 << 20, "a file of 6 bytes takes {region} bytes");

    // A span that nobody can read any more goes when it is asked for by name and by force.
    let list: Value = vm.exec(["pkram", "list", "--json"])?.json()?;
    let device = list["regions"][0]["spans"][0]["device"].as_str().context("no device")?.to_owned();
    vm.run(["umount", REGION])?;
    flip(&mut vm, &device, 50)?;
    ensure!(vm.exec(["pkram", "release", &device])?.code == Some(1), "released without force");
    vm.run(["pkram", "release", "--force", &device])?;
    let list: Value = vm.exec(["pkram", "list", "--json"])?.json()?;
    ensure!(list["damaged"] == list["regions"], "{list}");
    ensure!(number(&list["released"][0], "/bytes")? == region, "{list}");
    Ok(())
}
