//! Copies back to where everything came from.

use crate::common::{HOP, hop, meminfo, memory_map, number};
use anyhow::{Context, Result, bail, ensure};
use physmem::{E820Type, PhysRange};
use serde_json::Value;
use std::ops::Range;
use testbed::Vm;

/// Bytes of data: five files and a small tree.
const DATA: u64 = 5 * FILE + (20 << 20);
const FILE: u64 = 216 << 20;

/// What a restore may take besides the region, one part in so many of the data.
const PART: u64 = 4;

/// What the measure is off by, in bytes: kernels keep some memory to themselves for every processor.
const NOISE: u64 = 16 << 20;

/// Notes how much memory is available, in KiB, until killed.
const WATCH: &str = "while :; do while read -r k v u; do case $k in \
    MemAvailable:) echo $v; break;; esac; done < /proc/meminfo; sleep 0.1; done";

/// Where restores are killed, as `guest killat` is told: with a span copied and not marked; with one
/// marked and still aside; amid the hand-back of a later one.
const KILLS: [&[&str]; 3] = [
    &["--call", "pwrite64"],
    &["--call", "pwrite64", "--then", "1"],
    &["--call", "write", "--nth", "25"],
];

/// The system's SysV segments: identifier; key, mode and size.
fn segments(vm: &mut Vm) -> Result<Vec<(String, String)>> {
    let list = vm.read_file("/proc/sysvipc/shm")?;
    let list = String::from_utf8_lossy(&list);
    let line = |line: &str| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [key, id, mode, size, ..] => Ok((id.to_owned(), format!("{key} {mode} {size}"))),
        _ => bail!("a line of {line:?}"),
    };
    list.lines().skip(1).map(line).collect()
}

#[test]
fn restore_needs_little_more_than_the_data() -> Result<()> {
    let Some(bed) = testbed::e2e("restore_needs_little_more_than_the_data") else { return Ok(()) };
    let mut vm = bed.vm("peak", bed.kernel("6.12")?).memory_mib(2048).boot()?;
    let all = meminfo(&mut vm, "MemTotal")?;
    let pattern = |verb| {
        format!(
            "for i in 1 2 3 4 5; do \
             guest pattern {verb} /dev/shm/tree/$i --size {FILE} --seed $i; done"
        )
    };
    let tree = "mount -o remount,size=80% /dev/shm && mkdir /dev/shm/tree /dev/shm/tree/small && \
                guest mktree --seed 11 --files 100 --total 20 /dev/shm/tree/small";
    let write = format!("{tree} && {}", pattern("write"));
    vm.program(["sh", "-euc", &write]).limit(HOP).run()?;
    let small = vm.run(["guest", "digest", "/dev/shm/tree/small"])?;

    hop(&mut vm, bed.kernel("7.3")?, &["--pieces", &PART.to_string(), "tree=/dev/shm/tree"])?;
    let list: Value = vm.exec(["pkram", "list", "--json"])?.json()?;
    let spans = list["regions"][0]["spans"].as_array().context("no spans")?.clone();
    let region: u64 = spans.iter().map(|span| span["bytes"].as_u64().unwrap_or(0)).sum();
    ensure!(region >= DATA && spans.len() as u64 >= PART, "{list}");
    let (total, rest) = (meminfo(&mut vm, "MemTotal")?, meminfo(&mut vm, "MemAvailable")?);
    ensure!(rest < DATA, "{rest} bytes are free: that is room for a second copy of {DATA}");
    vm.sh("mount -o remount,size=30% /dev/shm")?;
    let refused = vm.exec(["pkram", "restore"])?;
    ensure!(refused.stderr.contains("are to be copied there"), "{}", refused.stderr);
    vm.sh("mount -o remount,size=1500M /dev/shm")?;

    // Killed at three places, it begins again each time.
    let watch = vm.spawn(["sh", "-c", WATCH], "/run/watch.log")?;
    let mut left = Vec::new();
    for when in KILLS {
        let argv = ["guest", "killat"].iter().chain(when).chain(&["--", "pkram", "restore"]);
        let killed = vm.program(argv.copied()).limit(HOP).exec()?;
        ensure!(killed.code == Some(9), "not killed at {when:?}: {killed:?}");
        let list: Value = vm.exec(["pkram", "list", "--json"])?.json()?;
        left.push(list["regions"][0]["spans"].as_array().context("no spans left")?.len());
    }
    ensure!(left[0] == spans.len() && left[1] < left[0] && left[2] < left[1], "{left:?}");
    let said = vm.program(["pkram", "restore", "--json"]).limit(HOP).run()?;
    vm.kill(watch, 9)?;
    let said: Value = serde_json::from_str(&said)?;
    ensure!(said["nodes"][0]["place"] == "/dev/shm/tree", "{said}");
    ensure!(vm.run(["pkram", "list"])?.contains("no regions"), "a region is left");
    vm.program(["sh", "-euc", &pattern("check")]).limit(HOP).run()?;
    ensure!(vm.run(["guest", "digest", "/dev/shm/tree/small"])? == small, "the trees differ");

    let log = vm.read_file("/run/watch.log")?;
    let log = String::from_utf8_lossy(&log);
    let available = |line: &str| line.trim().parse::<u64>().ok().map(|kib| kib * 1024);
    let least = log.lines().filter_map(available).min().context("nothing was watched")?;
    // Before the restore all that was not available was the region's and the system's.
    let system = all - rest - region;
    let most = all - least - system;
    eprintln!("{DATA} bytes of data, {region} of region, {most} at the peak");
    ensure!(most <= region + DATA / PART + NOISE, "{most} bytes at the peak, {region} of region");
    // Every whole memory block behind the first 2 MiB of a span is memory again.
    let map = memory_map(&mut vm)?;
    let blocks = |span: PhysRange| PhysRange::new(span.start() + (2 << 20), span.end()).ok();
    let aside = map.entries().iter().filter(|e| e.kind == E820Type::Pram);
    let whole = aside.filter_map(|e| blocks(e.range));
    let whole: u64 = whole.filter_map(|s| s.align_inward(128 << 20)).map(PhysRange::len).sum();
    let now = meminfo(&mut vm, "MemTotal")?;
    ensure!(now == total + whole, "MemTotal was {total}, is {now}; {whole} bytes in blocks");
    ensure!(region - whole <= DATA / PART, "{whole} of {region} bytes came back");
    Ok(())
}

/// Where restores are killed that make a file and segments: at the `nth` of these calls, and at so
/// many calls after it.
const BIRTHS: [(&str, &str, Range<u32>); 4] = [
    ("linkat", "1", 0..3),
    ("ftruncate", "1", 0..1),
    ("shmget", "1", 0..14),
    ("shmget", "3", 0..7),
];

#[test]
fn a_restore_killed_as_it_makes_things_makes_them_once() -> Result<()> {
    let name = "a_restore_killed_as_it_makes_things_makes_them_once";
    let Some(bed) = testbed::e2e(name) else { return Ok(()) };
    let mut vm = bed.vm("births", bed.kernel("6.12")?).memory_mib(768).boot()?;
    let shape = |seed: u32| format!("--size 300000 --seed {seed}");
    vm.sh(&format!("guest pattern write /dev/shm/one {}", shape(1)))?;
    // Those without a key differ in nothing but their content.
    let nodes = [("keyed", 99, 2), ("private", 0, 3), ("twin", 0, 4)];
    let mut sources = vec!["one=/dev/shm/one".to_owned()];
    for (name, key, seed) in nodes {
        let said = vm.sh(&format!("guest pattern sysv {key} {}", shape(seed)))?;
        sources.push(format!("{name}=sysv:{}", number(&serde_json::from_str(&said)?, "/id")?));
    }
    let sources: Vec<_> = sources.iter().map(String::as_str).collect();
    hop(&mut vm, bed.kernel("6.12")?, &sources)?;

    let kills =
        BIRTHS.into_iter().flat_map(|(call, nth, thens)| thens.map(move |t| (call, nth, t)));
    for kill in kills {
        let (call, nth, then) = (kill.0, kill.1, kill.2.to_string());
        let argv = ["guest", "killat", "--call", call, "--nth", nth, "--then", &then, "--"];
        let killed = vm.exec(argv.into_iter().chain(["pkram", "restore", "--keep"]))?;
        ensure!(killed.code == Some(9), "not killed at {kill:?}: {killed:?}");
        let left = segments(&mut vm)?;
        let unborn = match kill {
            ("shmget", "1", 0) => Some(0),
            ("shmget", "1", 1) => Some(1),
            _ => None,
        };
        ensure!(unborn.is_none_or(|n| left.len() == n), "killed at {kill:?}: {left:?}");

        let again = vm.exec(["pkram", "restore", "--keep", "--json"])?;
        ensure!(again.code == Some(0), "killed at {kill:?}, then {}", again.stderr);
        let said: Value = again.json()?;
        let found = segments(&mut vm)?;
        ensure!(found.len() == nodes.len(), "killed at {kill:?}: {found:?}");
        let mut check = format!("guest pattern check /dev/shm/one {}; rm /dev/shm/one", shape(1));
        for (name, key, seed) in nodes {
            let made = said["nodes"].as_array().into_iter().flatten().find(|n| n["name"] == name);
            let id = made.and_then(|n| n["place"].as_str()?.strip_prefix("sysv:"));
            let id = id.with_context(|| format!("no {name} in {said}"))?;
            let expected = (id.to_owned(), format!("{key} 640 300000"));
            ensure!(found.contains(&expected), "killed at {kill:?}: {found:?}, not {expected:?}");
            check += &format!("; guest pattern check-sysv {id} {}; ipcrm -m {id}", shape(seed));
        }
        check += "; test -z \"$(find /run/pkram/restore -name '*.json')\"";
        vm.run(["sh", "-euc", &check]).with_context(|| format!("killed at {kill:?}"))?;
    }

    // Another root's segment of the same key and size is not taken for the one that was to be made.
    let killed = vm.exec(["guest", "killat", "--call", "shmget", "--", "pkram", "restore"])?;
    ensure!(killed.code == Some(9), "not killed: {killed:?}");
    let said = vm.sh(&format!("guest pattern sysv 99 {}", shape(9)))?;
    let id = number(&serde_json::from_str(&said)?, "/id")?;
    let refused = vm.exec(["pkram", "restore"])?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("ipcrm"), "{}", refused.stderr);
    vm.sh(&format!("guest pattern check-sysv {id} {}", shape(9)))?;
    vm.run(["ipcrm", "-m", &id.to_string()])?;
    vm.run(["pkram", "restore"])?;
    ensure!(segments(&mut vm)?.len() == nodes.len(), "{:?}", segments(&mut vm)?);
    ensure!(vm.run(["pkram", "list"])?.contains("no regions"), "a region is left");
    Ok(())
}

#[test]
fn memory_that_a_killed_restore_took_is_not_asked_for_again() -> Result<()> {
    let name = "memory_that_a_killed_restore_took_is_not_asked_for_again";
    let Some(bed) = testbed::e2e(name) else { return Ok(()) };
    const SIZE: u64 = 100 << 20;
    let mut vm = bed.vm("again", bed.kernel("6.12")?).memory_mib(768).boot()?;
    let shape = format!("--size {SIZE} --seed 6");
    let said = vm.sh(&format!("guest pattern sysv 7 {shape}"))?;
    let id = number(&serde_json::from_str(&said)?, "/id")?;
    hop(&mut vm, bed.kernel("6.12")?, &[&format!("big=sysv:{id}")])?;

    // Room for one copy, what is left to the system, and a little.
    let ballast = meminfo(&mut vm, "MemAvailable")? - SIZE - (72 << 20);
    vm.sh(&format!(
        "mount -o remount,size=90% /dev/shm && head -c {ballast} /dev/zero > /dev/shm/ballast"
    ))?;
    // The first shmctl gives the segment, whose data are there, to its owner.
    let restore = ["pkram", "restore", "--keep"];
    let killed = ["guest", "killat", "--call", "shmctl", "--"].into_iter().chain(restore);
    let killed = vm.exec(killed)?;
    ensure!(killed.code == Some(9), "not killed: {killed:?}");
    let available = meminfo(&mut vm, "MemAvailable")?;
    ensure!(available < SIZE, "{available} bytes are free: that is room for another copy");
    vm.run(restore)?;
    let [(id, stat)] = &segments(&mut vm)?[..] else { bail!("not one segment") };
    ensure!(*stat == format!("7 640 {SIZE}"), "another segment: {stat}");
    vm.sh(&format!("rm /dev/shm/ballast && guest pattern check-sysv {id} {shape}"))?;
    Ok(())
}

#[test]
fn restore_makes_what_was() -> Result<()> {
    let Some(bed) = testbed::e2e("restore_makes_what_was") else { return Ok(()) };
    let mut vm = bed.vm("kinds", bed.kernel("6.1")?).memory_mib(1024).boot()?;
    let huge = "echo 20 > /proc/sys/vm/nr_hugepages && test $(cat /proc/sys/vm/nr_hugepages) = 20 && \
                mkdir -p /dev/hugepages && mount -t hugetlbfs -o pagesize=2M none /dev/hugepages";
    vm.sh(huge)?;
    vm.sh("guest pattern write /dev/hugepages/vm --size 25165824 --seed 1 --holes 4194304 && \
         guest pattern write /dev/shm/one --size 5000001 --seed 2 --holes 65536 && \
         chmod 4751 /dev/shm/one && touch -d '2001-02-03 04:05:06.789' /dev/shm/one")?;
    let id = number(
        &serde_json::from_str(&vm.sh("guest pattern sysv 99 --size 3000000 --seed 3")?)?,
        "/id",
    )?;
    let stat = "stat -c '%s %b %a %U %y' /dev/shm/one";
    let before = vm.sh(stat)?;
    let shm = format!("shm=sysv:{id}");
    hop(&mut vm, bed.kernel("6.12")?, &["huge=/dev/hugepages/vm", "one=/dev/shm/one", &shm])?;

    vm.sh(huge)?;
    vm.sh("echo precious > /dev/shm/one")?;
    let refused = vm.exec(["pkram", "restore"])?;
    ensure!(
        refused.code == Some(1) && refused.stderr.contains("is there already"),
        "{}",
        refused.stderr
    );
    ensure!(vm.sh("cat /dev/shm/one")? == "precious\n", "somebody's file was written over");
    vm.sh("rm /dev/shm/one")?;
    vm.run(["pkram", "restore"])?;
    ensure!(vm.sh(stat)? == before, "other attributes: {before} {}", vm.sh(stat)?);
    vm.sh("guest pattern check /dev/shm/one --size 5000001 --seed 2 --holes 65536")?;
    vm.sh("guest pattern check /dev/hugepages/vm --size 25165824 --seed 1 --holes 4194304")?;
    let [(id, stat)] = &segments(&mut vm)?[..] else { bail!("not one segment") };
    ensure!(stat == "99 640 3000000", "another segment: {stat}");
    vm.sh(&format!("guest pattern check-sysv {id} --size 3000000 --seed 3"))?;
    ensure!(vm.run(["pkram", "list"])?.contains("no regions"), "a region is left");
    Ok(())
}
