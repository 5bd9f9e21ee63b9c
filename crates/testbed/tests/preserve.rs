//! A tree with everything in it is the same, attribute for attribute and byte for byte, after
//! pkram replaced the kernel.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use testbed::{APPEND, GUEST_INITRD, Hop, Kernel, Testbed, Vm, e2e};

const TREE: &str = "/run/tree";
const REGION: &str = "/mnt/region";
const KEPT: &str = "/mnt/region/tree";

/// Slow machines translate every instruction.
const LIMIT: Duration = Duration::from_secs(400);

#[test]
fn a_tree_survives_6_1_to_6_12() -> Result<()> {
    survives("6.1", "6.12", false)
}

#[test]
fn a_tree_survives_6_12_to_7_3() -> Result<()> {
    survives("6.12", "7.3", false)
}

#[test]
fn a_tree_survives_7_3_to_6_1() -> Result<()> {
    survives("7.3", "6.1", false)
}

#[test]
fn a_tree_survives_6_1_to_7_3() -> Result<()> {
    survives("6.1", "7.3", false)
}

#[test]
fn a_tree_survives_under_uefi() -> Result<()> {
    survives("6.12", "6.1", true)
}

fn survives(from: &str, to: &str, uefi: bool) -> Result<()> {
    let name = format!("tree-{from}-{to}{}", if uefi { "-uefi" } else { "" });
    let Some(bed) = e2e(&name) else { return Ok(()) };
    let to = bed.kernel(to)?;
    let mut vm = bed.vm(&name, bed.kernel(from)?).memory_mib(1536).uefi(uefi).boot()?;
    grow(&mut vm, &["--seed=11", "--total=200"])?;
    let before = digest(&mut vm, TREE)?;
    let largest = frames_of_largest(&mut vm, TREE)?;

    let hop = jump(&mut vm, to)?;
    assert_eq!(hop.to.release, to.release);
    vm.run(["pkram", "mount", REGION])?;
    let after = digest(&mut vm, KEPT)?;
    assert_equal(&before, &after)?;

    let list: Value = vm.exec(["pkram", "list", "--json"])?.json()?;
    assert_eq!(list["regions"].as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!(list["damaged"], Value::Array(Vec::new()), "{list}");
    let plan = manifest(&mut vm)?["plan"].clone();
    let moved = frames_of_largest(&mut vm, KEPT)?
        .iter()
        .filter(|(page, frame)| largest.get(page) != Some(frame))
        .count();
    let allowed = plan["moved"].as_u64().context("plan.moved")? / 4096;
    assert!(u64::try_from(moved)? <= allowed, "{moved} pages moved, the plan says {allowed}");
    let firmware = vm.exec(["test", "-d", "/sys/firmware/efi/efivars"])?.code == Some(0);
    assert_eq!(firmware, uefi, "/sys/firmware/efi in the next kernel");
    Ok(())
}

#[test]
fn a_tree_in_ten_thousand_extents_survives() -> Result<()> {
    let Some(bed) = e2e("a_tree_in_ten_thousand_extents_survives") else { return Ok(()) };
    let mut vm = bed.vm("fragments", bed.kernel("6.12")?).memory_mib(1024).boot()?;
    vm.sh("echo 0 > /proc/sys/vm/compaction_proactiveness")?;
    vm.program(["guest", "fragment", "--leave-free=220"]).limit(LIMIT).run()?;
    grow(&mut vm, &["--files=400", "--max-size=64", "--total=160"])?;
    vm.sh("umount -l /run/ballast; echo 1 > /proc/sys/vm/drop_caches")?;
    let before = digest(&mut vm, TREE)?;
    jump(&mut vm, bed.kernel("6.1")?)?;
    vm.run(["pkram", "mount", REGION])?;
    let extents = manifest(&mut vm)?["plan"]["extents"].as_u64();
    assert!(extents > Some(10_000), "only {extents:?} extents: the scene is wrong");
    assert_equal(&before, &digest(&mut vm, KEPT)?)
}

#[test]
fn a_region_outlives_two_plain_kexecs() -> Result<()> {
    let Some(bed) = e2e("a_region_outlives_two_plain_kexecs") else { return Ok(()) };
    let mut vm = bed.vm("chain", bed.kernel("6.1")?).boot()?;
    grow(&mut vm, &["--files=200", "--max-size=8", "--total=30"])?;
    let before = digest(&mut vm, TREE)?;
    jump(&mut vm, bed.kernel("6.12")?)?;
    for (call, version) in [("-c", "7.3"), ("-s", "6.1")] {
        plain_jump(&mut vm, bed, call, version).with_context(|| format!("kexec {call}"))?;
    }
    vm.run(["pkram", "mount", REGION])?;
    assert_equal(&before, &digest(&mut vm, KEPT)?)
}

fn plain_jump(vm: &mut Vm, bed: &Testbed, call: &str, version: &str) -> Result<Hop> {
    let image = bed.kernel(version)?.guest_image();
    let (initrd, append) = (format!("--initrd={GUEST_INITRD}"), format!("--append={APPEND}"));
    vm.run(["kexec", call, "-l", &image, &initrd, &append])?;
    vm.kexec_into(["kexec", "-e"], LIMIT)
}

fn grow(vm: &mut Vm, options: &[&str]) -> Result<()> {
    vm.sh(&format!("mkdir {TREE} && mount -t tmpfs -o size=100%,mode=755 none {TREE}"))?;
    let argv = ["guest", "mktree"].iter().chain(options).chain(&[TREE]);
    vm.program(argv.copied()).limit(LIMIT).run().map(drop)
}

fn jump(vm: &mut Vm, to: &Kernel) -> Result<Hop> {
    let image = to.guest_image();
    let argv = ["pkram", "kexec", "--kernel", &image, "--initrd", GUEST_INITRD];
    let source = format!("tree={TREE}");
    vm.kexec_into(argv.into_iter().chain(["--append", APPEND, &source]), LIMIT)
}

fn digest(vm: &mut Vm, folder: &str) -> Result<String> {
    vm.program(["guest", "digest", folder]).limit(LIMIT).run()
}

fn manifest(vm: &mut Vm) -> Result<Value> {
    let text = vm.read_file(&format!("{REGION}/.pkram/manifest.json"))?;
    serde_json::from_slice(&text).context("the manifest")
}

/// The frames of the tree's largest file, page by page.
fn frames_of_largest(vm: &mut Vm, folder: &str) -> Result<BTreeMap<u64, u64>> {
    let largest = format!("find {folder} -xdev -type f -printf '%s %p\\0' | sort -znr | head -zn1");
    let line = vm.sh(&largest)?;
    let (_, path) = line.trim_end_matches('\0').split_once(' ').context("no file")?;
    let frames: Value = vm.exec(["guest", "frames", path])?.json()?;
    let mut places = BTreeMap::new();
    for extent in frames["extents"].as_array().context("extents")? {
        let number = |name: &str| extent[name].as_u64().context("a number");
        for index in 0..number("count")? {
            places.insert(number("page")? + index, number("frame")? + index);
        }
    }
    Ok(places)
}

/// Equal, or the first lines that differ.
fn assert_equal(before: &str, after: &str) -> Result<()> {
    if before == after {
        return Ok(());
    }
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (before, after) = (lines(before), lines(after));
    let differ = before.iter().zip(&after).filter(|(before, after)| before != after);
    let shown: Vec<_> = differ.take(5).map(|(b, a)| format!("- {b}\n+ {a}")).collect();
    bail!("{} lines before, {} after:\n{}", before.len(), after.len(), shown.join("\n"))
}
