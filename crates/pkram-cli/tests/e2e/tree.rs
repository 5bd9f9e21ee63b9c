//! A random tree with everything in it, over real kexecs between stock kernels.

use crate::common::{REGION, frames, hop, memory_map, mount, number, whole};
use anyhow::{Context, Result, ensure};
use physmem::{E820Type, MemoryMap};
use std::collections::BTreeSet;
use testbed::Vm;

/// Grows the tree, goes from one kernel to the other, and compares every attribute and byte, and
/// every page frame.
fn tree_survives(name: &str, from: &str, to: &str, uefi: bool) -> Result<()> {
    let Some(bed) = testbed::e2e(name) else { return Ok(()) };
    let mut vm = bed.vm(name, bed.kernel(from)?).memory_mib(1536).uefi(uefi).boot()?;
    vm.run(["mkdir", "/dev/shm/tree"])?;
    vm.run(["guest", "mktree", "--seed", "7", "--total", "300", "/dev/shm/tree"])?;
    let before = vm.run(["guest", "digest", "/dev/shm/tree"])?;
    let frames_before = frames(&mut vm, "/dev/shm/tree")?;
    let map_before = memory_map(&mut vm)?;

    hop(&mut vm, bed.kernel(to)?, &["tree=/dev/shm/tree"])?;
    let manifest = mount(&mut vm)?;
    let tree = format!("{REGION}/tree");
    let after = vm.run(["guest", "digest", &tree])?;
    for (a, b) in before.lines().zip(after.lines()) {
        ensure!(a == b, "before: {a}\nafter:  {b}");
    }
    ensure!(before == after, "the trees have different numbers of paths");

    let frames_after = frames(&mut vm, &tree)?;
    ensure!(frames_before.len() == frames_after.len(), "pages came or went");
    // Several names may lead to one page.
    let elsewhere: BTreeSet<_> = frames_before
        .iter()
        .filter(|(page, frame)| frames_after.get(page) != Some(frame))
        .map(|(_, frame)| frame)
        .collect();
    let (elsewhere, moved) = (elsewhere.len() as u64, number(&manifest, "/plan/moved")? / 4096);
    ensure!(elsewhere == moved, "{elsewhere} pages lie elsewhere, {moved} were to move");
    seen_from_outside(&mut vm, &tree)?;
    same_memory(&map_before, &memory_map(&mut vm)?)?;
    if uefi {
        vm.run(["test", "-d", "/sys/firmware/efi/runtime-map"])?;
        vm.run(["test", "-s", "/sys/firmware/efi/systab"])?;
    }
    vm.run(["umount", REGION])?;
    whole(&mut vm, None)?;
    can_be_written(&mut vm)
}

/// The next kernel writes to the region as to any ext4, and e2fsck finds it clean afterwards.
fn can_be_written(vm: &mut Vm) -> Result<()> {
    vm.run(["pkram", "mount", REGION])?;
    let mounts = vm.read_file("/proc/mounts")?;
    let mounts = String::from_utf8_lossy(&mounts).into_owned();
    let line = mounts.lines().find(|l| l.split(' ').nth(1) == Some(REGION));
    let line = line.with_context(|| format!("{REGION} is not mounted: {mounts}"))?;
    ensure!(line.contains("dax=always"), "mounted without DAX: {line}");
    let device = line.split(' ').next().unwrap_or_default();
    vm.sh(&format!(
        "cd {REGION} && mkdir new && for i in $(seq 200); do echo $i > new/$i; done && rm new/1* && \
         head -c 3M /dev/urandom > new/large && truncate -s 1M new/large && \
         ln new/large new/link && ln -s large new/symlink && setfattr -n user.x -v y new/large && \
         find tree -type f -size +1M -print0 | head -zn3 | xargs -0n1 sh -c 'echo more >> \"$0\"' && \
         find tree -type f -size +64k -print0 | head -zn5 | xargs -0 rm -f -- && \
         sync && cd / && umount {REGION}"
    ))?;
    let check = vm.program(["e2fsck", "-fn", device]).limit(crate::common::HOP).exec()?;
    let said = String::from_utf8_lossy(&check.stdout);
    ensure!(check.code == Some(0), "e2fsck finds fault: {said}{}", check.stderr);
    whole(vm, None)
}

/// The bytes of the largest file lie in physical memory where the guest says, as QEMU sees it.
fn seen_from_outside(vm: &mut Vm, tree: &str) -> Result<()> {
    let largest = vm.sh(&format!(
        "cd {tree} && find . -type f -printf '%s %p\\0' | sort -znr | head -zn1 | cut -zd' ' -f2- | tr -d '\\0'"
    ))?;
    let script = format!("cd {tree} && guest frames -- \"$FILE\"");
    let frames = vm.program(["sh", "-euc", &script]).env("FILE", &largest).run()?;
    let frames: serde_json::Value = serde_json::from_str(&frames)?;
    let first = &frames["extents"][0];
    let (page, frame) = (number(first, "/page")?, number(first, "/frame")?);
    let pages = number(first, "/count")?.min(64);
    let outside = vm.read_physical(frame * 4096, usize::try_from(pages * 4096)?)?;
    let (skip, take) = (page * 4096 + 1, pages * 4096);
    let script =
        format!("cd {tree} && tail -c +{skip} -- \"$FILE\" | head -c {take} > /tmp/inside");
    vm.program(["sh", "-euc", &script]).env("FILE", &largest).run()?;
    let mut inside = vm.read_file("/tmp/inside")?;
    inside.resize(outside.len(), 0);
    ensure!(inside == outside, "physical memory at frame {frame:#x} holds something else");
    Ok(())
}

/// What was no RAM is as it was; what was RAM is RAM or span.
fn same_memory(before: &MemoryMap, after: &MemoryMap) -> Result<()> {
    let memory = |kind| matches!(kind, E820Type::Ram | E820Type::Pram);
    let rest = |map: &MemoryMap| -> Vec<_> {
        map.entries().iter().copied().filter(|e| !memory(e.kind)).collect()
    };
    ensure!(rest(before) == rest(after), "before:\n{before}after:\n{after}");
    let all = |map: &MemoryMap| map.ram().union(&map.of_type(E820Type::Pram));
    ensure!(all(before) == all(after), "before:\n{before}after:\n{after}");
    ensure!(after.ram().bytes() < before.ram().bytes(), "no RAM became a span");
    Ok(())
}

#[test]
fn tree_from_6_1_to_6_12() -> Result<()> {
    tree_survives("tree_from_6_1_to_6_12", "6.1", "6.12", false)
}

#[test]
fn tree_from_6_12_to_7_3() -> Result<()> {
    tree_survives("tree_from_6_12_to_7_3", "6.12", "7.3", false)
}

#[test]
fn tree_from_6_12_to_7_3_under_uefi() -> Result<()> {
    tree_survives("tree_from_6_12_to_7_3_under_uefi", "6.12", "7.3", true)
}

#[test]
fn tree_from_7_3_to_6_1() -> Result<()> {
    tree_survives("tree_from_7_3_to_6_1", "7.3", "6.1", false)
}

#[test]
fn tree_from_6_1_to_7_3() -> Result<()> {
    tree_survives("tree_from_6_1_to_7_3", "6.1", "7.3", false)
}
