//! What happens in the demonstration, in its order.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use testbed::{Testbed, Vm};

use super::report::{Items, Report};
use crate::demo::Options;
use crate::demo::frames::{self, Frames};
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

#[derive(Deserialize)]
struct Filled {
    set: u64,
}

#[derive(Deserialize)]
struct Checked {
    found: u64,
    equal: u64,
}

pub(super) fn play(bed: &Testbed, options: &Options, wanted: u64) -> Result<Report> {
    let seed = std::time::UNIX_EPOCH.elapsed()?.as_secs();
    let mut journey = Journey::begin(bed, "demo", options, MEMORY_MIB, "")?;
    let vm = &mut journey.vm;
    vm.sh(&format!("mkdir {SOURCE_DIR} && mount -t tmpfs -o size=100% cache {SOURCE_DIR}"))?;
    let memcached = start_memcached(vm, BEFORE)?;
    let filled: Filled = journey.time("fill memcached", |vm| mc(vm, "fill", wanted, seed))?;
    let away = journey.phases.len();
    journey.time("stop memcached", |vm| {
        vm.kill(memcached, SIGUSR1)?;
        let output = vm.wait(memcached, LIMIT)?;
        ensure!(output.code == Some(0), "memcached ended with {:?}", output.code);
        vm.run(["test", "-s", &format!("{BEFORE}.meta")])
            .context("memcached wrote no restart metadata")
    })?;
    let before = frames::of(&mut journey.vm, BEFORE)?;
    let bytes_before = frames::sample(&mut journey.vm, &before)?;

    let jump = journey.kexec(&[SOURCE])?;
    let after = frames::of(&mut journey.vm, AFTER)?;
    let bytes_after = frames::sample(&mut journey.vm, &after)?;

    journey.time("start memcached in place", |vm| start_memcached(vm, AFTER))?;
    let service_gap_seconds = journey.seconds_from(away);
    let checked: Checked =
        journey.time("ask for every item", |vm| mc(vm, "check", wanted, seed))?;

    let items = Items { set: filled.set, found: checked.found, equal: checked.equal };
    let frames = Frames::compare(&before, &after, bytes_before == bytes_after);
    Ok(Report {
        version: 1,
        ok: items.set == wanted
            && items.found == items.set
            && items.equal == items.set
            && frames.pages_before == frames.pages_after
            && (frames.pages_before - frames.same_place) * frames::PAGE <= jump.bytes_moved
            && frames.outside_pages_equal,
        jump,
        service_gap_seconds,
        phases: journey.phases,
        items,
        frames,
    })
}

fn mc<T: DeserializeOwned>(vm: &mut Vm, verb: &str, items: u64, seed: u64) -> Result<T> {
    let (items, seed) = (format!("--items={items}"), format!("--seed={seed}"));
    let socket = format!("--socket={SOCKET}");
    let argv = ["guest", "mc", verb, &items, &seed, &socket];
    let said = vm.program(argv).limit(LIMIT).run()?;
    eprintln!("          | {}", said.trim());
    serde_json::from_str(&said).context("the answer of guest mc")
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
