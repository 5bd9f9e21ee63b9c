//! A release that is killed at any of its steps leaves a region that is whole, or one that is
//! released and can be finished.

use crate::common::{hop, meminfo, number, region_of, whole};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use testbed::Vm;

/// More steps than a release has.
const STEPS: u32 = 60;

/// Runs `pkram release` until it is killed, as `guest killat` is told; `false` if it ended before.
fn killed(vm: &mut Vm, when: &[&str], region: Option<&str>) -> Result<bool> {
    let argv = ["guest", "killat"].iter().chain(when).copied();
    let argv = argv.chain(["--", "pkram", "release"]).chain(region);
    let output = vm.exec(argv)?;
    match output.code {
        Some(9) => Ok(true),
        Some(0) => Ok(false),
        _ => bail!("{output:?}"),
    }
}

/// Whether the region is there; if it is not, then it is released, and in any case not damaged.
fn stands(vm: &mut Vm, uuid: &str) -> Result<bool> {
    let list: Value = vm.exec(["pkram", "list", "--json"])?.json()?;
    ensure!(list["damaged"] == json!([]), "{list}");
    let regions = list["regions"].as_array().context("no regions")?;
    let region = regions.iter().find(|r| r["uuid"] == uuid);
    ensure!(region.is_none_or(|r| r["missing"] == json!([])), "{list}");
    Ok(region.is_some())
}

#[test]
fn a_killed_release_leaves_all_or_nothing() -> Result<()> {
    let Some(bed) = testbed::e2e("a_killed_release_leaves_all_or_nothing") else { return Ok(()) };
    let mut vm = bed.vm("killed", bed.kernel("6.12")?).memory_mib(1024).boot()?;
    vm.sh("head -c 1M /dev/urandom > /dev/shm/small")?;
    hop(&mut vm, bed.kernel("6.12")?, &["small=/dev/shm/small"])?;
    vm.sh("head -c 300M /dev/urandom > /dev/shm/big")?;
    hop(&mut vm, bed.kernel("6.1")?, &["big=/dev/shm/big"])?;
    let (small, big) = (region_of(&mut vm, "small")?, region_of(&mut vm, "big")?);

    // A region without a whole memory block: every system call from the mark on. What the mark
    // replaced is put back each time.
    let list: Value = vm.exec(["pkram", "list", "--json"])?.json()?;
    let regions = list["regions"].as_array().into_iter().flatten();
    let spans = regions.filter(|r| r["uuid"] == small.as_str()).map(|r| &r["spans"][0]["device"]);
    let device = spans.filter_map(Value::as_str).next().context("no device")?.to_owned();
    vm.sh(&format!("head -c 4096 {device} > /tmp/head"))?;
    let mut released = 0;
    for then in (0..STEPS).map(|n| n.to_string()) {
        let ended = !killed(&mut vm, &["--call", "pwrite64", "--then", &then], Some(&small))?;
        if stands(&mut vm, &small)? {
            ensure!(then == "0", "{then} calls after the mark the region still stands");
            whole(&mut vm, Some(&small))?;
            vm.sh(&format!(
                "[ \"$(head -c 4096 {device} | sha256sum)\" = \"$(sha256sum < /tmp/head)\" ]"
            ))?;
        } else {
            ensure!(then != "0", "released before it was marked");
            released += 1;
        }
        if ended {
            break;
        }
        vm.sh(&format!("dd if=/tmp/head of={device} bs=4k conv=notrunc,fsync"))?;
    }
    ensure!((3..STEPS - 1).contains(&released), "killed only {released} times after the mark");
    ensure!(!stands(&mut vm, &small)?, "the last release was not killed, and is not done");

    // One with memory blocks: killed once marked, and then at each step of handing it back.
    let before = meminfo(&mut vm, "MemTotal")?;
    ensure!(killed(&mut vm, &["--call", "pwrite64", "--then", "1"], Some(&big))?, "not killed");
    let mut steps = 0;
    for nth in (1..STEPS).map(|n| n.to_string()) {
        ensure!(!stands(&mut vm, &big)?, "the region is back");
        if !killed(&mut vm, &["--call", "write", "--nth", &nth], None)? {
            break;
        }
        steps += 1;
    }
    ensure!((6..STEPS - 1).contains(&steps), "killed only {steps} times on the way back");
    let list: Value = vm.exec(["pkram", "list", "--json"])?.json()?;
    let mut given_back = 0;
    for span in list["released"].as_array().context("no list")? {
        given_back += number(span, "/given_back")?;
    }
    ensure!(given_back >= 128 << 20, "{list}");
    let after = meminfo(&mut vm, "MemTotal")?;
    ensure!(
        after == before + given_back,
        "MemTotal was {before}, is {after}; {given_back} is back"
    );
    Ok(())
}
