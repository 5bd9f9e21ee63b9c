//! Regions of several generations beside each other: made, mounted, aged, released.

use crate::common::{hop, meminfo, memory_map, plain_hop, region_of, whole};
use anyhow::{Context, Result, ensure};
use physmem::E820Type;
use serde_json::Value;
use testbed::Vm;

/// What `pkram list` says of the region with source `name`.
fn listed(vm: &mut Vm, name: &str) -> Result<Value> {
    let list: Value = vm.exec(["pkram", "list", "--json"])?.json()?;
    let carries = |r: &&Value| r["sources"][0]["name"] == name;
    let region = list["regions"].as_array().into_iter().flatten().find(carries);
    Ok(region.with_context(|| format!("no region carries {name}: {list}"))?.clone())
}

/// Each region with its age in kernels is there, and older ones are older in seconds.
fn ages(vm: &mut Vm, expected: &[(&str, u64)], at_least: bool) -> Result<()> {
    let mut seconds = u64::MAX;
    for (name, kernels) in expected {
        let region = listed(vm, name)?;
        ensure!(region["kernels"] == *kernels, "{name} should count {kernels} kernels: {region}");
        ensure!(region["kernels_at_least"] == at_least, "{name}: {region}");
        let age = region["seconds"].as_u64().context("no age in seconds")?;
        ensure!(age > 0 && age < seconds, "{name} is not older than those after it: {region}");
        seconds = age;
    }
    Ok(())
}

/// A file of random bytes that grows in names and sizes from one to the next; its digest.
fn source(vm: &mut Vm, name: &str, mib: u64) -> Result<String> {
    vm.sh(&format!(
        "mkdir /dev/shm/{name} && head -c {mib}M /dev/urandom > /dev/shm/{name}/bytes"
    ))?;
    vm.run(["guest", "digest", &format!("/dev/shm/{name}")])
}

/// RAM and spans in bytes.
fn memory(vm: &mut Vm) -> Result<(u64, u64)> {
    let map = memory_map(vm)?;
    Ok((map.ram().bytes(), map.of_type(E820Type::Pram).bytes()))
}

#[test]
fn three_regions_from_three_kernels() -> Result<()> {
    let Some(bed) = testbed::e2e("three_regions_from_three_kernels") else { return Ok(()) };
    let mut vm = bed.vm("generations", bed.kernel("6.1")?).memory_mib(1024).boot()?;
    let (all, _) = memory(&mut vm)?;
    let mut digests = Vec::new();
    let mut first_6_12 = None;
    for (name, mib, next) in [("a", 40, "6.12"), ("b", 150, "7.3"), ("c", 20, "6.1")] {
        digests.push((name, source(&mut vm, name, mib)?));
        hop(&mut vm, bed.kernel(next)?, &[&format!("{name}=/dev/shm/{name}")])?;
        if next == "6.12" {
            first_6_12 = Some((meminfo(&mut vm, "MemTotal")?, memory(&mut vm)?.1));
        }
    }
    ages(&mut vm, &[("a", 3), ("b", 2), ("c", 1)], false)?;

    // All at once, each with its bytes.
    for (name, _) in &digests {
        let uuid = region_of(&mut vm, name)?;
        vm.sh(&format!("mkdir -p /mnt/{name} && pkram mount {uuid} /mnt/{name}"))?;
    }
    for (name, digest) in &digests {
        let found = vm.run(["guest", "digest", &format!("/mnt/{name}/{name}")])?;
        ensure!(found == *digest, "{name} is not what it was");
    }

    // Looked at while they are written to, they are whole afterwards: what was read of a span
    // before is not taken for what it carries now.
    listed(&mut vm, "a")?;
    vm.sh("for n in a b c; do echo new > /mnt/$n/new; umount /mnt/$n; done")?;
    for (name, _) in &digests {
        let uuid = region_of(&mut vm, name)?;
        whole(&mut vm, Some(&uuid))?;
    }

    // The middle one goes. To the next kernel all of it is RAM, beside three regions.
    let middle = region_of(&mut vm, "b")?;
    vm.run(["pkram", "release", &middle])?;
    source(&mut vm, "d", 1)?;
    hop(&mut vm, bed.kernel("6.12")?, &["d=/dev/shm/d"])?;
    ages(&mut vm, &[("a", 4), ("c", 2), ("d", 1)], false)?;
    let (ram, spans) = memory(&mut vm)?;
    ensure!(ram + spans == all, "{ram} bytes of RAM and {spans} of spans are not {all}");
    let mut sizes = 0;
    for name in ["a", "c", "d"] {
        sizes += listed(&mut vm, name)?["bytes"].as_u64().context("no size")?;
    }
    ensure!(sizes == spans, "three regions have {sizes} bytes, but {spans} are set aside");
    let (before, spans_before) = first_6_12.context("no figures")?;
    let total = meminfo(&mut vm, "MemTotal")?;
    let gone = (before + spans_before).abs_diff(total + spans);
    ensure!(
        gone < 1 << 20,
        "MemTotal was {before} beside {spans_before}, is {total} beside {spans}"
    );

    // Other tools do not pass the count on, and pkram says so.
    plain_hop(&mut vm, bed.kernel("7.3")?, "-s")?;
    ages(&mut vm, &[("a", 2), ("c", 2), ("d", 2)], true)?;
    for (name, digest) in digests.iter().filter(|(name, _)| *name != "b") {
        let uuid = region_of(&mut vm, name)?;
        vm.sh(&format!("mkdir -p /mnt/{name} && pkram mount {uuid} /mnt/{name}"))?;
        let found = vm.run(["guest", "digest", &format!("/mnt/{name}/{name}")])?;
        ensure!(found == *digest, "{name} is not what it was, five kernels later");
    }
    Ok(())
}
