//! Machines of rarer kinds: several NUMA nodes, more entries in the memory map than the zero page holds,
//! huge pages of 1 GiB, and some that have to move.

use crate::common::{HOP, REGION, frames, hop, memory_map, mount, number, pkram, region_of, whole};
use anyhow::{Context, Result, bail, ensure};
use physmem::{E820Type, PhysRange, RangeSet};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use testbed::Vm;

const MIB: u64 = 1 << 20;
const PAGE: u64 = 4096;
const HUGE: u64 = 2 * MIB;

/// What the zero page holds (`E820_MAX_ENTRIES_ZEROPAGE`, `arch/x86/include/uapi/asm/bootparam.h`).
const ZERO_PAGE: usize = 128;

/// The memory of a NUMA node, from its memory blocks.
fn node(vm: &mut Vm, node: u32) -> Result<RangeSet> {
    let dir = "/sys/devices/system";
    let block = vm.sh(&format!("cat {dir}/memory/block_size_bytes"))?;
    let block = u64::from_str_radix(block.trim(), 16)?;
    let names = vm.sh(&format!("cd {dir}/node/node{node} && ls -d memory[0-9]*"))?;
    let index = |name: &str| name.strip_prefix("memory").and_then(|i| i.parse::<u64>().ok());
    let range = |i| PhysRange::from_len(i * block, block);
    Ok(names.lines().filter_map(index).map(range).collect::<Result<_, _>>()?)
}

/// The spans that the running kernel was given.
fn spans(vm: &mut Vm) -> Result<Vec<PhysRange>> {
    let map = memory_map(vm)?;
    let spans = map.entries().iter().filter(|e| e.kind == E820Type::Pram);
    Ok(spans.map(|e| e.range).collect())
}

/// MemTotal of a node in bytes.
fn total(vm: &mut Vm, node: u32) -> Result<u64> {
    let text = vm.sh(&format!("cat /sys/devices/system/node/node{node}/meminfo"))?;
    let line = text.lines().find_map(|line| line.split_once("MemTotal:"));
    let kib = line.and_then(|(_, rest)| rest.trim().strip_suffix(" kB"));
    Ok(kib.context("no MemTotal")?.parse::<u64>()? * 1024)
}

#[test]
fn spans_stay_on_their_nodes() -> Result<()> {
    let Some(bed) = testbed::e2e("spans_stay_on_their_nodes") else { return Ok(()) };
    let vm = bed.vm("nodes", bed.kernel("6.1")?).memory_mib(1536).nodes(2);
    let mut vm = vm.boot()?;
    let nodes = [node(&mut vm, 0)?, node(&mut vm, 1)?];
    // Every second page on each.
    vm.sh("mkdir /run/both && mount -t tmpfs -o mpol=interleave:0-1,size=80% none /run/both && \
           guest pattern write /run/both/file --size 629145600")?;
    hop(&mut vm, bed.kernel("6.12")?, &["both=/run/both"])?;
    let found = spans(&mut vm)?;
    for span in &found {
        let on = nodes.iter().filter(|node| node.overlaps(*span)).count();
        ensure!(on == 1, "{span} is on {on} nodes");
    }
    for node in &nodes {
        ensure!(found.iter().any(|span| node.overlaps(*span)), "no span on {node:?}: {found:?}");
    }
    mount(&mut vm)?;
    vm.sh(&format!("guest pattern check {REGION}/both/file --size 629145600"))?;
    vm.run(["umount", REGION])?;

    let region = region_of(&mut vm, "both")?;
    // Memory comes back to the node that it is on.
    let before = [total(&mut vm, 0)?, total(&mut vm, 1)?];
    let released: Value = vm.exec(["pkram", "release", "--json", &region])?.json()?;
    let returned = number(&released, "/returned")?;
    let after = [total(&mut vm, 0)?, total(&mut vm, 1)?];
    let back = [after[0] - before[0], after[1] - before[1]];
    ensure!(
        back.iter().all(|&b| b >= 128 * MIB) && back[0] + back[1] == returned,
        "{back:?}, {released}"
    );
    Ok(())
}

/// Makes a pool of huge pages of 2 MiB, a file on each, and removes all but every fourth as they lie
/// in memory. Returns where those are.
fn islands(vm: &mut Vm, dir: &str, pool: u64) -> Result<BTreeSet<u64>> {
    vm.sh(&format!(
        "echo {pool} > /proc/sys/vm/nr_hugepages && \
         test $(cat /proc/sys/vm/nr_hugepages) = {pool} && \
         mkdir -p {dir} && mount -t hugetlbfs -o pagesize=2M none {dir} && \
         guest pattern write $(seq -f {dir}/%g {pool}) --size {HUGE}"
    ))?;
    let mut found: Vec<_> = starts(frames(vm, dir)?).collect();
    found.sort();
    let (mut kept, mut others) = (BTreeSet::new(), String::new());
    for (i, (at, name)) in found.into_iter().enumerate() {
        if i % 4 == 1 {
            kept.insert(at);
        } else {
            others += &format!(" {dir}/{name}");
        }
    }
    vm.sh(&format!("rm {others}"))?;
    Ok(kept)
}

/// Where each file begins.
fn starts(frames: BTreeMap<(String, u64), u64>) -> impl Iterator<Item = (u64, String)> {
    let first = frames.into_iter().filter(|((_, page), _)| *page == 0);
    first.map(|((file, _), frame)| (frame * PAGE, file.replace(['"', '.', '/'], "")))
}

/// Mounts the region with node `name` and checks every file; returns where they are.
fn check_islands(vm: &mut Vm, name: &str) -> Result<BTreeSet<u64>> {
    let uuid = region_of(vm, name)?;
    vm.sh(&format!(
        "mkdir -p {REGION} && pkram mount {uuid} {REGION} && cd {REGION}/{name} && \
         guest pattern check * --size {HUGE}"
    ))?;
    let found = starts(frames(vm, &format!("{REGION}/{name}"))?).map(|(at, _)| at).collect();
    vm.run(["umount", REGION])?;
    whole(vm, Some(&uuid))?;
    Ok(found)
}

/// `--reserve-ram` that leaves so much for spans.
fn reserve(vm: &mut Vm, spans: u64) -> Result<String> {
    Ok((memory_map(vm)?.ram().bytes() - spans).to_string())
}

#[test]
fn more_spans_than_the_zero_page_holds() -> Result<()> {
    let Some(bed) = testbed::e2e("more_spans_than_the_zero_page_holds") else { return Ok(()) };
    let mut vm = bed.vm("islands", bed.kernel("6.12")?).memory_mib(1024).boot()?;
    // 70 pages, each with its head at least 4 MiB of span, and one with the metadata.
    let before = islands(&mut vm, "/dev/islands", 280)?;
    let next = bed.kernel("7.3")?;
    let few = reserve(&mut vm, 200 * MIB)?;
    let refused = vm.exec(pkram("check", next, &["--reserve-ram", &few, "kept=/dev/islands"]))?;
    let why = String::from_utf8_lossy(&refused.stdout).into_owned() + &refused.stderr;
    ensure!(refused.code == Some(1) && why.contains("too little memory"), "{why}");
    let enough = reserve(&mut vm, 330 * MIB)?;
    hop(&mut vm, next, &["--reserve-ram", &enough, "kept=/dev/islands"])?;
    let entries = memory_map(&mut vm)?.entries().len();
    ensure!(entries > ZERO_PAGE, "only {entries} entries in the memory map");
    ensure!(spans(&mut vm)?.len() > 50, "{:?}", spans(&mut vm)?);
    ensure!(check_islands(&mut vm, "kept")? == before, "huge pages have moved");

    // Beside that region, with less room than pages that may not move need.
    let before = islands(&mut vm, "/dev/more", 80)?;
    let few = reserve(&mut vm, 72 * MIB)?;
    let next = bed.kernel("6.1")?;
    let more = ["--reserve-ram", &few, "--move-huge", "moved=/dev/more"];
    let refused = vm.exec(pkram("check", next, &[more[0], more[1], more[3]]))?;
    ensure!(refused.code == Some(1), "{refused:?}");
    hop(&mut vm, next, &more)?;
    let after = check_islands(&mut vm, "moved")?;
    ensure!(after.iter().all(|at| at.is_multiple_of(HUGE)), "not aligned: {after:x?}");
    let stay = after.intersection(&before).count();
    ensure!(stay < before.len() && after.len() == before.len(), "{before:x?} {after:x?}");
    check_islands(&mut vm, "kept")?;
    Ok(())
}

#[test]
fn huge_pages_of_a_gibibyte_stay() -> Result<()> {
    let Some(bed) = testbed::e2e("huge_pages_of_a_gibibyte_stay") else { return Ok(()) };
    let vm = bed.vm("giant", bed.kernel("6.12")?).memory_mib(5120);
    let mut vm = vm.append("hugepagesz=1G hugepages=2").boot()?;
    vm.sh("mkdir /dev/giant && mount -t hugetlbfs -o pagesize=1G none /dev/giant && \
           cd /dev/giant && fallocate -l 1G a && fallocate -l 1G b")?;
    // Below the first byte of RAM above 4 GiB is no room for a head: a page there would have to move.
    let mut found: Vec<_> = starts(frames(&mut vm, "/dev/giant")?).collect();
    found.sort();
    let [(_, low), (high, kept)] = &found[..] else { bail!("{found:?}") };
    ensure!(*high > 4 << 30, "{found:x?}");
    vm.sh(&format!("cd /dev/giant && rm {low} && mv {kept} vm"))?;
    let file = |dir: &str, verb| {
        ["guest", "pattern", verb, &format!("{dir}/vm"), "--size", "1073741824"].map(str::to_owned)
    };
    vm.program(file("/dev/giant", "write")).limit(HOP).run()?;
    let before: Vec<_> = starts(frames(&mut vm, "/dev/giant")?).collect();
    hop(&mut vm, bed.kernel("6.1")?, &["giant=/dev/giant"])?;
    let manifest = mount(&mut vm)?;
    ensure!(number(&manifest, "/plan/moved")? == 0, "{manifest}");
    let dir = format!("{REGION}/giant");
    vm.program(file(&dir, "check")).limit(HOP).run()?;
    let after: Vec<_> = starts(frames(&mut vm, &dir)?).collect();
    ensure!(before == after && before[0].0.is_multiple_of(1 << 30), "{before:x?} {after:x?}");
    let faults: Value = vm.exec(["guest", "pattern", "faults", &format!("{dir}/vm")])?.json()?;
    ensure!(number(&faults, "/faults")? < 520, "{faults}: it is not mapped huge");
    Ok(())
}
