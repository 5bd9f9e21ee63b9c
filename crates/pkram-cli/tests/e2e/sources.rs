//! Every kind of memory that can be kept, over real kexecs between stock kernels.

use crate::common::{REGION, frames, hop, mount, number, whole};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::Vm;

const MIB: u64 = 1 << 20;

/// A source, its file in the region and what must be in it.
struct Kept {
    spec: String,
    file: &'static str,
    size: u64,
    seed: u64,
    holes: u64,
}

impl Kept {
    fn shape(&self) -> String {
        format!("--size {} --seed {} --holes {}", self.size, self.seed, self.holes)
    }
}

/// Starts a process that has a memfd, and returns `memfd:PID:FD`.
fn memfd(vm: &mut Vm, words: &str, shape: &str) -> Result<String> {
    let log = format!("/run/memfd-{}", words.replace(' ', "-"));
    let line = format!("guest pattern memfd {words} {shape}");
    let pid = vm.spawn(line.split_whitespace(), &log)?;
    let said = vm.sh(&format!(
        "for i in $(seq 200); do test -s {log} && break; sleep 0.1; done; cat {log}"
    ))?;
    let said: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
    Ok(format!("memfd:{pid}:{}", number(&said, "/fd")?))
}

/// Memory of every kind, and its names.
fn fill(vm: &mut Vm) -> Result<Vec<Kept>> {
    vm.sh(
        "echo 60 > /proc/sys/vm/nr_hugepages && test $(cat /proc/sys/vm/nr_hugepages) = 60 && \
         mkdir -p /dev/hugepages /run/thp && mount -t hugetlbfs -o pagesize=2M none /dev/hugepages && \
         mkdir /dev/hugepages/full /dev/hugepages/holes && \
         mount -t tmpfs -o huge=always,size=200M none /run/thp",
    )?;
    let mut kept = vec![
        Kept {
            spec: "huge=/dev/hugepages/full/vm".into(),
            file: "huge/vm",
            size: 32 * MIB,
            seed: 1,
            holes: 0,
        },
        Kept {
            spec: "holes=/dev/hugepages/holes/holes".into(),
            file: "holes/holes",
            size: 34 * MIB,
            seed: 2,
            holes: 2 * MIB,
        },
        Kept {
            spec: "thp=/run/thp/file".into(),
            file: "thp/file",
            size: 32 * MIB,
            seed: 3,
            holes: 0,
        },
        Kept { spec: "one=/dev/shm/one".into(), file: "one/one", size: 1, seed: 4, holes: 0 },
    ];
    for k in &kept {
        let path = k.spec.split_once('=').context("a spec has a name")?.1;
        vm.sh(&format!("guest pattern write {path} {}", k.shape()))?;
    }
    let memfds = [
        ("fd", "cache", "fd/cache", 9 * MIB + 5, 5, 64 << 10),
        ("sealed", "sealed --seal", "sealed/sealed", 5 * MIB, 6, 0),
        ("hugefd", "guest-memory --huge", "hugefd/guest-memory", 16 * MIB, 7, 4 * MIB),
        ("hugesealed", "both --huge --seal", "hugesealed/both", 8 * MIB, 8, 0),
    ];
    for (name, words, file, size, seed, holes) in memfds {
        let mut k = Kept { spec: String::new(), file, size, seed, holes };
        k.spec = format!("{name}={}", memfd(vm, words, &k.shape())?);
        kept.push(k);
    }
    for (name, key, file, size, seed, huge) in [
        ("shm", 4711, "shm/segment", 3 * MIB + 77, 9, ""),
        ("hugeshm", 4712, "hugeshm/segment", 4 * MIB, 10, "--huge"),
    ] {
        let mut k = Kept { spec: String::new(), file, size, seed, holes: 0 };
        let said = vm.sh(&format!("guest pattern sysv {key} {huge} {}", k.shape()))?;
        k.spec = format!("{name}=sysv:{}", number(&serde_json::from_str(&said)?, "/id")?);
        kept.push(k);
    }
    Ok(kept)
}

fn every_kind(name: &str, from: &str, to: &str, no_pins: bool) -> Result<()> {
    let Some(bed) = testbed::e2e(name) else { return Ok(()) };
    let mut vm = bed.vm(name, bed.kernel(from)?).memory_mib(1536).boot()?;
    let kept = fill(&mut vm)?;
    if no_pins {
        vm.sh("echo 2 > /proc/sys/kernel/io_uring_disabled")?;
    }
    let huge_before = frames(&mut vm, "/dev/hugepages/full")?;
    let specs: Vec<_> = kept.iter().map(|k| k.spec.as_str()).collect();
    hop(&mut vm, bed.kernel(to)?, &specs)?;
    let manifest = mount(&mut vm)?;
    for k in &kept {
        vm.sh(&format!("guest pattern check {REGION}/{} {}", k.file, k.shape()))?;
    }
    // Huge pages stay, and are mapped huge.
    for (dir, size) in [("huge", 32), ("thp", 32)] {
        let file = if dir == "huge" { "huge/vm" } else { "thp/file" };
        let faults = vm.sh(&format!("guest pattern faults {REGION}/{file}"))?;
        let faults: Value = serde_json::from_str(&faults)?;
        let most = size / 2 + 4;
        ensure!(number(&faults, "/faults")? <= most, "{file}: {faults}, expected at most {most}");
    }
    let huge_after = frames(&mut vm, &format!("{REGION}/huge"))?;
    for (page, frame) in &huge_after {
        ensure!(huge_before.get(page) == Some(frame), "{page:?} lies in {frame:#x} now");
    }
    origins(&manifest)?;
    let held = manifest.pointer("/plan/held").context("no /plan/held")?;
    let (pinned, referenced) = (number(held, "/pinned")?, number(held, "/referenced")?);
    // The two sealed ones cannot be pinned.
    let expected = if no_pins { pinned == 0 } else { pinned > 0 && referenced == 13 * MIB };
    ensure!(expected && referenced > 0, "held: {held}");
    vm.run(["umount", REGION])?;
    whole(&mut vm, None)
}

/// What the manifest says of where the nodes come from.
fn origins(manifest: &Value) -> Result<()> {
    let sources = manifest["sources"].as_array().context("no sources")?;
    let of = |name: &str| sources.iter().find(|s| s["name"] == name).context("a source is missing");
    ensure!(of("huge")?["kind"] == "hugetlbfs" && of("huge")?["page"] == 2 * MIB, "{manifest}");
    ensure!(of("thp")?["kind"] == "tmpfs" && of("thp")?["path"] == "/run/thp/file", "{manifest}");
    let sealed = of("sealed")?;
    ensure!(sealed["kind"] == "memfd" && sealed["memfd"] == "sealed", "{sealed}");
    ensure!(sealed["process"] == "guest" && sealed["size"] == 5 * MIB, "{sealed}");
    ensure!(sealed["seals"].to_string().contains("write"), "{sealed}");
    let shm = of("shm")?;
    ensure!(shm["kind"] == "sysv" && shm["key"] == 4711 && shm["mode"] == 0o640, "{shm}");
    ensure!(shm["size"] == 3 * MIB + 77, "{shm}");
    Ok(())
}

#[test]
fn every_kind_of_memory_from_6_1_to_6_12() -> Result<()> {
    every_kind("every_kind_of_memory_from_6_1_to_6_12", "6.1", "6.12", false)
}

#[test]
fn every_kind_of_memory_from_7_3_to_6_1() -> Result<()> {
    every_kind("every_kind_of_memory_from_7_3_to_6_1", "7.3", "6.1", false)
}

#[test]
fn every_kind_of_memory_without_io_uring() -> Result<()> {
    every_kind("every_kind_of_memory_without_io_uring", "6.12", "7.3", true)
}
