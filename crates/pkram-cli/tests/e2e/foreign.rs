//! Persistent memory that is not ours: it never becomes RAM, and nobody writes to it.

use crate::common::{hop, memory_map, pkram, region_of};
use anyhow::{Context, Result, ensure};
use physmem::{E820Type, PhysRange};
use pkram::head::{RELEASED, SpanHead};
use serde_json::{Value, json};
use testbed::{APPEND, GUEST_INITRD, Vm};

/// Two regions of the user's own, by `memmap=` on the first kernel's command line.
const OWN: [u64; 2] = [512 << 20, 640 << 20];
const OWN_BYTES: u64 = 64 << 20;

/// The block device of the namespace at `start`.
fn device_at(vm: &mut Vm, start: u64) -> Result<String> {
    let script = format!(
        "for n in /sys/bus/nd/devices/namespace*; do \
         [ \"$(cat $n/resource 2>/dev/null)\" != 0x{start:x} ] || ls $n/block; done"
    );
    let name = vm.sh(&script)?;
    ensure!(!name.trim().is_empty(), "no device lies at {start:#x}");
    Ok(format!("/dev/{}", name.trim()))
}

/// Where the NVDIMM lies: on a bus that is not that of the legacy devices.
fn nvdimm(vm: &mut Vm) -> Result<PhysRange> {
    let found = vm.sh("for n in /sys/bus/nd/devices/namespace*; do p=$(readlink -f $n); \
         [ \"$(cat $p/../../provider)\" = e820 ] || \
         echo $(($(cat $n/resource))) $(cat $n/size); done")?;
    let (start, size) = found.trim().split_once(' ').with_context(|| format!("NVDIMM: {found}"))?;
    Ok(PhysRange::from_len(start.parse()?, size.parse()?)?)
}

fn digest(vm: &mut Vm, start: u64) -> Result<String> {
    let device = device_at(vm, start)?;
    vm.program(["sh", "-euc", &format!("sha256sum < {device}")]).limit(crate::common::HOP).run()
}

#[test]
fn what_is_not_ours_is_left_alone() -> Result<()> {
    let Some(bed) = testbed::e2e("what_is_not_ours_is_left_alone") else { return Ok(()) };
    let own = OWN.map(|start| format!("memmap={}M!{}M", OWN_BYTES >> 20, start >> 20)).join(" ");
    let machine = bed.vm("foreign", bed.kernel("6.12")?).memory_mib(1024).nvdimm_mib(64);
    let mut vm = machine.append(&own).boot()?;

    // Somebody's filesystem, somebody's bytes, and on the NVDIMM what a released span of ours
    // would look like: the machine's own map still says that it is none.
    let dimm = nvdimm(&mut vm)?;
    let places = [OWN[0], OWN[1], dimm.start()];
    let devices: Vec<_> = places.iter().map(|&p| device_at(&mut vm, p)).collect::<Result<_>>()?;
    vm.sh(&format!("mke2fs -q -t ext4 -L theirs {}", devices[0]))?;
    vm.sh(&format!("dd if=/dev/urandom of={} bs=1M count=64 conv=fsync", devices[1]))?;
    let head = SpanHead {
        region: "6f1b8a7c-9d24-4c2e-8f0e-d31e6c3c5a05".parse()?,
        index: 0,
        count: 1,
        range: dimm,
        first_block: 0,
        region_blocks: dimm.pages(),
        created: 1,
        marks_from: None,
    };
    let mut forged = head.to_bytes();
    forged[..8].copy_from_slice(&RELEASED);
    vm.write_file("/tmp/forged", &forged)?;
    vm.sh(&format!("dd if=/tmp/forged of={} conv=notrunc,fsync", devices[2]))?;
    let before: Vec<_> = places.iter().map(|&p| digest(&mut vm, p)).collect::<Result<_>>()?;

    // One hop with a command line that says nothing of it, one that names a part of it again.
    for (turn, more) in ["", " memmap=64M!512M"].iter().enumerate() {
        vm.sh(&format!("head -c 20M /dev/urandom > /dev/shm/s{turn}"))?;
        let next = bed.kernel(["7.3", "6.1"][turn])?;
        let image = next.guest_image();
        let (append, source) = (format!("{APPEND}{more}"), format!("s{turn}=/dev/shm/s{turn}"));
        let argv = ["pkram", "kexec", "--kernel", &image, "--initrd", GUEST_INITRD];
        vm.kexec_into(argv.into_iter().chain(["--append", &append, &source]), crate::common::HOP)?;

        let map = memory_map(&mut vm)?;
        for start in OWN {
            let range = PhysRange::from_len(start, OWN_BYTES)?;
            ensure!(map.of_type(E820Type::Pram).contains_range(range), "{range} is gone:\n{map}");
        }
        ensure!(!map.ram().overlaps(dimm), "the NVDIMM became RAM:\n{map}");
        let after: Vec<_> = places.iter().map(|&p| digest(&mut vm, p)).collect::<Result<_>>()?;
        ensure!(before == after, "bytes changed in hop {turn}: {before:?} {after:?}");
        let list: Value = vm.exec(["pkram", "list", "--json"])?.json()?;
        let regions = list["regions"].as_array().map_or(0, Vec::len);
        ensure!(regions == turn + 1, "{list}");
        ensure!(list["damaged"] == json!([]) && list["released"] == json!([]), "{list}");
        for start in places {
            let device = device_at(&mut vm, start)?;
            let refused = vm.exec(["pkram", "release", &device])?;
            ensure!(refused.code == Some(1), "{device} was released: {refused:?}");
        }
    }

    // It does not come back with what is ours either.
    let first = region_of(&mut vm, "s0")?;
    vm.run(["pkram", "release", &first])?;
    vm.run(["pkram", "release"])?;
    vm.sh("echo x > /dev/shm/x")?;
    let checked = vm.exec(pkram("check", bed.kernel("6.12")?, &["x=/dev/shm/x"]))?;
    ensure!(checked.code == Some(0), "{checked:?}");
    hop(&mut vm, bed.kernel("6.12")?, &["x=/dev/shm/x"])?;
    let after: Vec<_> = places.iter().map(|&p| digest(&mut vm, p)).collect::<Result<_>>()?;
    ensure!(before == after, "bytes changed in the last hop");
    Ok(())
}
