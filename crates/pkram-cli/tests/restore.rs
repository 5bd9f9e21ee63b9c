//! Copies back to where everything came from, with memory that is too small for two copies.

mod common;

use anyhow::{Context, Result, ensure};
use common::{HOP, hop, meminfo, number};
use serde_json::Value;
use std::time::Duration;
use testbed::Vm;

const MIB: u64 = 1 << 20;

/// What the peak may be above the data, one part in so many.
const PART: u64 = 8;

/// Watches how little memory there is besides regions, until killed: the smallest `MemAvailable`
/// and the MemTotal of that moment, with all memory that is not RAM counted as used.
const WATCH: &str = "while :; do \
    awk '/MemTotal/{t=$2}/MemAvailable/{a=$2}END{print t, a}' /proc/meminfo; sleep 0.1; done";

#[test]
fn restore_needs_little_more_than_the_data() -> Result<()> {
    let Some(bed) = testbed::e2e("restore_needs_little_more_than_the_data") else { return Ok(()) };
    let mut vm = bed.vm("restore", bed.kernel("6.12")?).memory_mib(3072).boot()?;
    vm.sh("mount -o remount,size=85% /dev/shm && mkdir /dev/shm/tree")?;
    let grow = "guest mktree --seed 11 --files 300 --total 300 /dev/shm/tree && \
                for i in 1 2 3 4 5 6 7 8 9 10; do head -c 127M /dev/urandom > /dev/shm/tree/large-$i; done";
    vm.program(["sh", "-euc", grow]).limit(HOP).run()?;
    let before = vm.program(["guest", "digest", "/dev/shm/tree"]).limit(HOP).run()?;
    let all = meminfo(&mut vm, "MemTotal")?;

    hop(&mut vm, bed.kernel("7.3")?, &["--pieces", "9", "tree=/dev/shm/tree"])?;
    let listed: Value = serde_json::from_str(&vm.run(["pkram", "list", "--json"])?)?;
    let spans = listed["regions"][0]["spans"].as_array().context("no spans")?.len();
    ensure!(spans >= 9, "{spans} spans, asked for 9");
    let rest = meminfo(&mut vm, "MemAvailable")?;
    let data = 1500 * MIB;
    ensure!(rest < data, "{rest} bytes are free: that is room for a second copy of {data}");
    vm.sh("mount -o remount,size=30% /dev/shm")?;
    let refused = vm.exec(["pkram", "restore"])?;
    ensure!(refused.stderr.contains("are to be copied there"), "{}", refused.stderr);
    vm.sh("mount -o remount,size=2500M /dev/shm")?;

    // Killed at three places, it begins again each time.
    for delay in [700, 1500, 2500] {
        let pid = vm.spawn(["pkram", "restore"], "/run/restore.log")?;
        std::thread::sleep(Duration::from_millis(delay));
        vm.kill(pid, 9)?;
        vm.wait(pid, Duration::from_secs(30))?;
    }
    let watch = vm.spawn(["sh", "-c", WATCH], "/run/watch.log")?;
    let said = vm.program(["pkram", "restore", "--json"]).limit(HOP).run()?;
    vm.kill(watch, 9)?;
    let said: Value = serde_json::from_str(&said)?;
    ensure!(said["nodes"][0]["place"] == "/dev/shm/tree", "{said}");
    let after = vm.program(["guest", "digest", "/dev/shm/tree"]).limit(HOP).run()?;
    for (a, b) in before.lines().zip(after.lines()) {
        ensure!(a == b, "before: {a}\nafter:  {b}");
    }
    ensure!(before == after, "the trees have different numbers of paths");
    ensure!(vm.run(["pkram", "list"])?.contains("no regions"), "a region is left");
    peak(&mut vm, all)
}

/// Copied data and the region's rest together were never more than the data and an eighth.
fn peak(vm: &mut Vm, all: u64) -> Result<()> {
    let log = vm.read_file("/run/watch.log")?;
    let log = String::from_utf8_lossy(&log);
    let kept = vm.sh("du -sk /dev/shm/tree | cut -f1")?.trim().parse::<u64>()? * 1024;
    let used = |line: &str| -> Option<u64> {
        let (_, available) = line.split_once(' ')?;
        Some(all - available.trim().parse::<u64>().ok()? * 1024)
    };
    let most = log.lines().filter_map(used).max().context("nothing was watched")?;
    let end = log.lines().filter_map(used).next_back().context("nothing was watched")?;
    // The system itself takes what it takes when all is over.
    let system = end.saturating_sub(kept);
    let above = most.saturating_sub(kept + system);
    ensure!(above <= kept / PART, "{above} bytes above the data's {kept} at the peak");
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
    vm.sh("guest pattern check-sysv 99 --size 3000000 --seed 3")?;
    ensure!(vm.run(["pkram", "list"])?.contains("no regions"), "a region is left");
    Ok(())
}
