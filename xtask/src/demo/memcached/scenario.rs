//! What happens in the demonstration, in its order.

use anyhow::{Context, Result, ensure};
use testbed::{Testbed, Vm};

use super::report::Report;
use crate::demo::Options;
use crate::demo::frames::{self, Frames};
use crate::demo::items::Items;
use crate::demo::journey::Journey;
use crate::guest::LIMIT;

const MEMORY_MIB: u32 = 1024;

/// Memory that memcached may use for items, MiB.
const CACHE_MIB: &str = "256";

/// The tmpfs that is preserved, and its name in the region.
const SOURCE_DIR: &str = "/run/cache";
const SOURCE: &str = "cache=/run/cache";
const SOCKET: &str = "/run/memcached.sock";

/// memcached's file: before in the tmpfs, after in the region.
const BEFORE: &str = "/run/cache/memory";
const AFTER: &str = "/mnt/region/cache/memory";

const SIGUSR1: i32 = 10;

pub(super) fn play(bed: &Testbed, options: &Options, wanted: u64) -> Result<Report> {
    let seed = std::time::UNIX_EPOCH.elapsed()?.as_secs();
    let items = testbed::Items { count: wanted, seed, socket: SOCKET.to_owned() };
    let machine = |kernel: &_| Ok(bed.vm("demo", kernel).memory_mib(MEMORY_MIB));
    let mut journey = Journey::begin(bed, options, machine)?;
    let vm = &mut journey.vm;
    vm.sh(&format!("mkdir {SOURCE_DIR} && mount -t tmpfs -o size=100% cache {SOURCE_DIR}"))?;
    let memcached = start_memcached(vm, BEFORE)?;
    let set = journey.time("fill memcached", |vm| items.fill(vm))?;
    let away = journey.phases.len();
    journey.time("stop memcached", |vm| {
        vm.kill(memcached, SIGUSR1)?;
        let output = vm.wait(memcached, LIMIT)?;
        ensure!(output.code == Some(0), "memcached ended with {:?}", output.code);
        vm.run(["test", "-s", &format!("{BEFORE}.meta")])
            .context("memcached wrote no restart metadata")
    })?;
    let before = journey.vm.frames(BEFORE)?;
    let bytes_before = frames::sample(&mut journey.vm, &before)?;

    let jump = journey.kexec(&[SOURCE])?;
    let after = journey.vm.frames(AFTER)?;
    let bytes_after = frames::sample(&mut journey.vm, &after)?;

    journey.time("start memcached in place", |vm| start_memcached(vm, AFTER))?;
    let service_gap_seconds = journey.seconds_from(away);
    let checked = journey.time("ask for every item", |vm| items.check(vm))?;

    let items = Items { set, checked };
    let frames = Frames::compare(&before, &after, Some(bytes_before == bytes_after));
    Ok(Report {
        version: 1,
        ok: items.are_all(wanted)
            && frames.pages_before == frames.pages_after
            && (frames.pages_before - frames.same_place) * frames::PAGE <= jump.bytes_moved
            && frames.outside_pages_equal == Some(true),
        jump,
        service_gap_seconds,
        phases: journey.phases,
        items,
        frames,
    })
}

/// Starts memcached on a file and waits until it serves.
fn start_memcached(vm: &mut Vm, file: &str) -> Result<u32> {
    let argv = ["memcached", "-u", "root", "-s", SOCKET, "-m", CACHE_MIB, "-e", file];
    let pid = vm.spawn(argv, "/run/memcached.log")?;
    let serving = format!(
        "n=0; until [ -S {SOCKET} ]; do
             n=$((n + 1)); [ $n -lt 1000 ] || {{ cat /run/memcached.log >&2; exit 1; }}; sleep 0.05
         done"
    );
    vm.sh(&serving).context("memcached does not come up")?;
    Ok(pid)
}
