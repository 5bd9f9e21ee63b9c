//! The tools in the guest can tell equal from different; without that no scenario means anything.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use testbed::e2e;

const TREE: [&str; 8] =
    ["guest", "mktree", "--files=600", "--max-size=8", "--total=60", "--seed", "7", "/run/t/tree"];

#[test]
fn a_tree_follows_from_its_seed_and_its_digest_sees_every_change() -> Result<()> {
    let Some(bed) = e2e("a_tree_follows_from_its_seed") else { return Ok(()) };
    let mut vm = bed.vm("tools", bed.kernel("6.12")?).boot()?;
    let digest = ["guest", "digest", "/run/t/tree"];
    let mut grow = || -> Result<(Value, String)> {
        vm.sh("mkdir -p /run/t; mount -t tmpfs none /run/t; mkdir /run/t/tree")?;
        let summary = vm.exec(TREE)?.json()?;
        let digest = vm.run(digest)?;
        vm.sh("umount /run/t")?;
        Ok((summary, digest))
    };
    let (summary, first) = grow()?;
    let (_, second) = grow()?;
    assert_eq!(first, second, "the same seed gave two trees");

    for kind in ["files", "folders", "hard_links", "symbolic_links", "special"] {
        assert!(summary[kind].as_u64() > Some(10), "few {kind} in {summary}");
    }
    assert_eq!(first.lines().count(), 600 + 2, "a line for each entry, the root and the total");
    for word in ["security.capability", "posix_acl_default", "user.", "mtime=-", "group=", "\\xff"]
    {
        assert!(first.contains(word), "nowhere in the tree: {word}");
    }
    assert!(first.lines().any(|line| line.contains("map=") && line.contains("+1,")), "no holes");

    vm.sh("mount -t tmpfs none /run/t; mkdir /run/t/tree")?;
    vm.run(TREE)?;
    let target = "/run/t/tree/changed";
    vm.sh(&format!("echo data > {target}; touch -d @5 {target} /run/t/tree"))?;
    let mut seen = BTreeSet::from([vm.run(digest)?]);
    for change in [
        "chmod 4711",
        "chown 5:6",
        "touch -d @1.000000001",
        "setfattr -n user.a -v 1",
        "setfacl -m u:9:r",
        "dd if=/dev/zero bs=1 count=1 seek=2 conv=notrunc status=none of=",
        "truncate -s 9",
        "truncate -s 90000",
    ] {
        let separator = if change.ends_with('=') { "" } else { " " };
        vm.sh(&format!("{change}{separator}{target}; touch -d @5 /run/t/tree"))?;
        assert!(seen.insert(vm.run(digest)?), "the digest does not see: {change}");
    }
    Ok(())
}

#[test]
fn frames_are_where_physical_memory_has_the_bytes() -> Result<()> {
    let Some(bed) = e2e("frames_are_where_physical_memory_has_the_bytes") else { return Ok(()) };
    let mut vm = bed.vm("frames", bed.kernel("6.1")?).boot()?;
    vm.sh("dd if=/dev/urandom of=/dev/shm/f bs=4096 count=64 status=none")?;
    let content = vm.read_file("/dev/shm/f")?;
    let frames: Value = vm.exec(["guest", "frames", "/dev/shm/f"])?.json()?;
    let mut pages = 0;
    for extent in frames["extents"].as_array().into_iter().flatten() {
        let number = |name: &str| extent[name].as_u64().unwrap_or(u64::MAX);
        let bytes = usize::try_from(number("count") * 4096)?;
        let start = usize::try_from(number("page") * 4096)?;
        let memory = vm.read_physical(number("frame") * 4096, bytes)?;
        assert!(memory == content[start..start + bytes], "{extent} holds something else");
        pages += number("count");
    }
    assert_eq!(pages, 64);
    Ok(())
}

#[test]
fn fragmented_memory_gives_fragmented_files() -> Result<()> {
    let Some(bed) = e2e("fragmented_memory_gives_fragmented_files") else { return Ok(()) };
    let mut vm = bed.vm("fragment", bed.kernel("6.12")?).memory_mib(768).boot()?;
    vm.program(["guest", "fragment", "--leave-free", "100"])
        .limit(Duration::from_secs(300))
        .run()?;
    vm.sh("dd if=/dev/urandom of=/dev/shm/f bs=1M count=60 status=none")?;
    let frames: Value = vm.exec(["guest", "frames", "/dev/shm/f"])?.json()?;
    let extents = frames["extents"].as_array().map_or(0, Vec::len);
    assert!(extents > 10_000, "60 MiB lie in only {extents} extents");
    Ok(())
}

#[test]
fn a_memcached_that_lost_an_item_is_found_out() -> Result<()> {
    let Some(bed) = e2e("a_memcached_that_lost_an_item_is_found_out") else { return Ok(()) };
    let mut vm = bed.vm("memcached", bed.kernel("6.1")?).boot()?;
    vm.spawn(["memcached", "-u", "root", "-s", "/run/mc", "-m", "64"], "/run/mc.log")?;
    vm.sh("until [ -S /run/mc ]; do sleep 0.1; done")?;
    let mc = |verb: &str, items: &str| {
        ["guest", "mc", verb, "--socket=/run/mc", items].map(str::to_owned)
    };
    let filled: Value = vm.exec(mc("fill", "--items=5000"))?.json()?;
    assert_eq!(filled["set"], 5000);
    let all: Value = vm.exec(mc("check", "--items=5000"))?.json()?;
    assert_eq!((&all["found"], &all["equal"]), (&5000.into(), &5000.into()));
    let more: Value = vm.exec(mc("check", "--items=5001"))?.json()?;
    assert_eq!((&more["asked"], &more["found"]), (&5001.into(), &5000.into()));
    Ok(())
}
