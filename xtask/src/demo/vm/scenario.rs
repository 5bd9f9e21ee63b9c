//! What happens in the demonstration, in its order.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;
use testbed::{Kernel, Testbed, Vm};

use super::beats;
use super::qemu::{self, DIR, MEMORY_MIB, Memory};
use super::report::{Guest, Report};
use crate::demo::Options;
use crate::demo::frames::{self, Frames};
use crate::demo::journey::Journey;
use crate::guest::meminfo;

const HOST_MIB: u32 = 1024;

/// The file that is the guest's memory: before on hugetlbfs, after in the region.
const RAM_BEFORE: &str = "/dev/hugepages/guest";
const RAM_AFTER: &str = "/mnt/region/ram/guest";

/// The guest's device state: before on tmpfs, after in the region.
const STATE_BEFORE: &str = "/run/vm/state";
const STATE_AFTER: &str = "/mnt/region/state/state";

/// What dd says about it.
const SAVED: &str = "/run/vm/saved";

const SOURCES: [&str; 2] = ["ram=/dev/hugepages/guest", "state=/run/vm/state"];

/// The size of the file for the device state, which is there before the state is, with all of its
/// pages: once it is loaded, none may come or go.
const STATE_FILE: &str = "4M";

#[derive(Deserialize)]
struct Kvm {
    enabled: bool,
}

pub(super) fn play(bed: &Testbed, options: &Options, kernel: &Kernel) -> Result<Report> {
    // A huge page has 2 MiB.
    let append = format!("hugepages={}", MEMORY_MIB / 2);
    let machine = |host: &_| Ok(bed.vm("demo-vm", host).memory_mib(HOST_MIB).append(&append));
    let mut journey = Journey::begin(bed, options, machine)?;
    prepare_host(&mut journey.vm)?;
    journey.vm.sh("mkdir -p /dev/hugepages && mount -t hugetlbfs hugetlbfs /dev/hugepages")?;
    let memory_before = meminfo(&mut journey.vm, "MemTotal")?;
    let pid = journey.time("boot the guest", |vm| {
        let pid = qemu::start(vm, kernel, Memory::New(RAM_BEFORE))?;
        qemu::await_beat(vm, "", |beat| beat.rounds > 0)?;
        Ok(pid)
    })?;
    let kvm: Kvm = qemu::command(&mut journey.vm, "query-kvm", &json!({}))?;
    qemu::ignore_shared(&mut journey.vm)?;
    let before = journey.vm.frames(RAM_BEFORE)?;
    journey.vm.sh(&format!("head -c {STATE_FILE} /dev/zero > {STATE_BEFORE}"))?;
    journey.load(&SOURCES)?;

    let stopped = journey.phases.len();
    journey
        .time("pause the guest", |vm| qemu::command::<serde_json::Value>(vm, "stop", &json!({})))?;
    let bytes_before = frames::sample(&mut journey.vm, &before)?;
    journey.time("save its device state", |vm| {
        let save = format!("exec:dd of={STATE_BEFORE} conv=notrunc 2> {SAVED}");
        qemu::migrate(vm, "migrate", &save)
    })?;
    journey.time("end QEMU", |vm| qemu::quit(vm, pid))?;
    let said_before = qemu::serial(&mut journey.vm)?;
    let state_bytes = copied(&mut journey.vm)?;

    let jump = journey.exec()?;
    // The same addresses as before: whatever lies there now was not copied.
    let bytes_after = frames::sample(&mut journey.vm, &before)?;
    journey.time("load KVM", prepare_host)?;
    journey.time("start QEMU in place", |vm| {
        qemu::start(vm, kernel, Memory::InPlace(RAM_AFTER))?;
        qemu::ignore_shared(vm)
    })?;
    journey.time("load its device state", |vm| {
        qemu::migrate(vm, "migrate-incoming", &format!("exec:cat {STATE_AFTER}"))
    })?;
    journey.time("continue the guest", |vm| {
        qemu::command::<serde_json::Value>(vm, "cont", &json!({}))
    })?;
    let blackout_seconds = journey.seconds_from(stopped);

    let last = beats::of(&said_before).pop().context("the guest said nothing")?;
    journey.time("let it check its memory", |vm| {
        // The round that was cut, and a whole one.
        qemu::await_beat(vm, &said_before, |beat| beat.rounds >= last.rounds + 2)
    })?;
    let after = journey.vm.frames(RAM_AFTER)?;
    let memory_after = meminfo(&mut journey.vm, "MemTotal")?;
    let said = said_before + &qemu::serial(&mut journey.vm)?;
    let guest = Guest::from_beats(&beats::of(&said), &last, kernel, kvm.enabled, state_bytes)?;

    let frames = Frames::compare(&before, &after, Some(bytes_before == bytes_after));
    Ok(Report {
        version: 1,
        ok: guest.one_life
            && guest.rounds_after >= guest.rounds_before + 2
            && frames.pages_before * frames::PAGE == guest.memory_bytes
            && frames.pages_after == frames.pages_before
            && frames.same_place == frames.pages_before
            && frames.outside_pages_equal == Some(true),
        jump,
        blackout_seconds,
        phases: journey.phases,
        guest,
        frames,
        memory_before,
        memory_after,
    })
}

/// What a host needs to run guests. Where the processor offers no virtualisation, QEMU translates.
fn prepare_host(vm: &mut Vm) -> Result<()> {
    let modules = "for module in kvm_amd kvm_intel; do modprobe -q -d /mnt/art $module || :; done";
    vm.sh(&format!("mkdir -p {DIR}; {modules}")).map(drop)
}

/// How many bytes dd says it copied.
fn copied(vm: &mut Vm) -> Result<u64> {
    let said = String::from_utf8(vm.read_file(SAVED)?)?;
    let line = said.lines().find(|line| line.contains(" bytes "));
    let bytes = line.and_then(|line| line.split(' ').next()).with_context(|| said.clone())?;
    bytes.parse().with_context(|| said.clone())
}
