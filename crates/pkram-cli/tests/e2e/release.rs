//! Memory comes back, now or at the next kexec, whatever started the kernel in between; and not
//! while anybody uses it.

use crate::common::{REGION, hop, meminfo, memory_map, number, plain_hop, region_of};
use anyhow::{Context, Result, ensure};
use physmem::{E820Type, MemoryMap, PhysRange, RangeSet};
use serde_json::{Value, json};
use testbed::Vm;

const FILE: &str = "/mnt/region/big/big file";

/// `pkram release` of the region refuses, and says all of `says`; the region stays whole.
fn refused(vm: &mut Vm, uuid: &str, says: &[&str]) -> Result<()> {
    let output = vm.exec(["pkram", "release", uuid])?;
    ensure!(output.code == Some(1), "released, although {says:?}: {output:?}");
    for word in says {
        ensure!(output.stderr.contains(word), "no {word:?} in {}", output.stderr);
    }
    let list: Value = vm.exec(["pkram", "list", "--json"])?.json()?;
    ensure!(list["regions"][0]["uuid"] == uuid, "refused, and yet the region is gone: {list}");
    Ok(())
}

/// Starts a program and waits until it has become `command`.
fn start(vm: &mut Vm, script: &str, command: &str) -> Result<u32> {
    let pid = vm.spawn(["sh", "-euc", script], "/tmp/log")?;
    vm.sh(&format!(
        "n=0; until [ \"$(cat /proc/{pid}/comm)\" = {command} ]; do \
         n=$((n+1)); [ $n -lt 300 ] || {{ cat /tmp/log >&2; exit 1; }}; sleep 0.1; done"
    ))?;
    Ok(pid)
}

fn stop(vm: &mut Vm, pid: u32) -> Result<()> {
    vm.kill(pid, 9)?;
    vm.wait(pid, crate::common::HOP).map(drop)
}

/// Everybody who uses a region is named.
fn users_are_named(vm: &mut Vm, uuid: &str) -> Result<()> {
    let list: Value = vm.exec(["pkram", "list", "--json"])?.json()?;
    let device = list["regions"][0]["spans"][0]["device"].as_str().context("no device")?;
    vm.run(["mkdir", "-p", REGION])?;
    let mount = |vm: &mut Vm| vm.run(["pkram", "mount", uuid, REGION]);

    mount(vm)?;
    refused(vm, uuid, &["in use", "mounted on /mnt/region"])?;
    vm.sh(&format!("cp /bin/sleep {REGION}/big/"))?;
    let pid = start(vm, &format!("exec sleep 1000 < '{FILE}'"), "sleep")?;
    let process = format!("process {pid} (sleep)");
    refused(vm, uuid, &["mounted on", &process, "big/big file open"])?;
    // Out of sight of every mount table, but not gone.
    vm.run(["umount", "-l", REGION])?;
    refused(vm, uuid, &[&process, "big file open"])?;
    stop(vm, pid)?;

    mount(vm)?;
    let pid = start(vm, &format!("exec {REGION}/big/sleep 1000"), "sleep")?;
    vm.run(["umount", "-l", REGION])?;
    refused(vm, uuid, &[&format!("process {pid} (sleep) maps"), "big/sleep"])?;
    stop(vm, pid)?;

    mount(vm)?;
    let pid = start(vm, &format!("cd {REGION}/big; exec sleep 1000"), "sleep")?;
    vm.run(["umount", "-l", REGION])?;
    refused(vm, uuid, &[&format!("process {pid} (sleep) is in"), "big"])?;
    stop(vm, pid)?;

    let hidden = format!("pkram mount {uuid} {REGION}; exec sleep 1000");
    let pid = start(vm, &format!("exec unshare -m sh -euc '{hidden}'"), "sleep")?;
    let elsewhere = format!("{REGION} in the mount namespace of process {pid} (sleep)");
    refused(vm, uuid, &["mounted on", &elsewhere])?;
    stop(vm, pid)?;

    let pid = start(vm, &format!("exec sleep 1000 < {device}"), "sleep")?;
    refused(vm, uuid, &[&format!("process {pid} (sleep) has the device {device} open")])?;
    stop(vm, pid)
}

/// What is memory, in use or not, above the first MiB, of which every loader has its own idea.
fn memory(map: &MemoryMap) -> RangeSet {
    let low = PhysRange::new(0, 1 << 20).map(RangeSet::from).unwrap_or_default();
    map.ram().union(&map.of_type(E820Type::Pram)).subtract(&low)
}

#[test]
fn released_memory_is_never_lost() -> Result<()> {
    let Some(bed) = testbed::e2e("released_memory_is_never_lost") else { return Ok(()) };
    let mut vm = bed.vm("release", bed.kernel("6.12")?).memory_mib(1024).boot()?;
    let all = memory(&memory_map(&mut vm)?);
    vm.sh("mkdir /dev/shm/big && head -c 300M /dev/urandom > '/dev/shm/big/big file'")?;
    hop(&mut vm, bed.kernel("6.1")?, &["big=/dev/shm/big"])?;
    let uuid = region_of(&mut vm, "big")?;
    users_are_named(&mut vm, &uuid)?;

    // Nobody uses it: as much comes back as memory blocks are whole in it.
    let without = meminfo(&mut vm, "MemTotal")?;
    let released: Value = vm.exec(["pkram", "release", "--json", &uuid])?.json()?;
    let (returned, left) = (number(&released, "/returned")?, number(&released, "/left")?);
    ensure!(returned >= 128 << 20, "{released}");
    ensure!(released["troubles"] == json!([]), "{released}");
    ensure!(meminfo(&mut vm, "MemTotal")? == without + returned, "MemTotal");
    let again: Value = vm.exec(["pkram", "release", "--json"])?.json()?;
    ensure!(number(&again, "/returned")? == 0 && number(&again, "/left")? == left, "{again}");

    // Another tool's kexec sets it aside again; it is still known, and comes back.
    plain_hop(&mut vm, bed.kernel("7.3")?, "-s")?;
    let list: Value = vm.exec(["pkram", "list", "--json"])?.json()?;
    ensure!(list["regions"] == json!([]), "{list}");
    let spans = list["released"].as_array().into_iter().flatten();
    let aside: u64 = spans.map(|span| span["bytes"].as_u64().unwrap_or(0)).sum();
    ensure!(aside == returned + left, "{list}");
    let without = meminfo(&mut vm, "MemTotal")?;
    let finished: Value = vm.exec(["pkram", "release", "--json"])?.json()?;
    ensure!(number(&finished, "/returned")? == returned, "{finished}");
    ensure!(meminfo(&mut vm, "MemTotal")? == without + returned, "MemTotal");

    // And to a kernel that pkram starts all of it is RAM, also what that other tool had set aside
    // because 6.1 called it its own: our setup_data.
    vm.sh("echo small > /dev/shm/small")?;
    hop(&mut vm, bed.kernel("6.12")?, &["small=/dev/shm/small"])?;
    let map = memory_map(&mut vm)?;
    let spans = map.of_type(E820Type::Pram);
    ensure!(spans.bytes() <= 8 << 20, "{} bytes are set aside for one small file", spans.bytes());
    ensure!(memory(&map) == all, "before:\n{all:?}\nafter:\n{:?}", memory(&map));
    Ok(())
}
