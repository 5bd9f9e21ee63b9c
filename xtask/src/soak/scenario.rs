//! One hop after the other, and what must hold after each.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use physmem::{E820Type, MemoryMap, PhysRange, RangeSet, parse_iomem};
use serde_json::Value;
use testbed::{APPEND, GUEST_INITRD, Testbed, Vm};

use super::report::Step;
use crate::guest::{LIMIT, digest, meminfo, memory_map};

const MEMORY_MIB: u32 = 1024;

/// From then on every hop releases a region as well.
const REGIONS: usize = 4;

/// Kernels that follow each other; the machine boots with the last.
const KERNELS: [&str; 3] = ["6.12", "7.3", "6.1"];

/// One kernel's own needs differ a little from boot to boot, with the place that it lies in.
const MEM_TOTAL_SPREAD: u64 = 1 << 20;

/// A region that is there.
struct Kept {
    name: String,
    digest: String,
    /// The hop that made it.
    born: u32,
}

pub(super) struct Soak<'a> {
    bed: &'a Testbed,
    vm: Vm,
    hop: u32,
    kept: Vec<Kept>,
    /// RAM as the firmware gave it and the first kernel used it.
    memory: RangeSet,
    /// How many entries the firmware's map has.
    entries: usize,
    /// `MemTotal` and all spans together when a kernel first ran, by its release.
    first: BTreeMap<String, u64>,
}

impl<'a> Soak<'a> {
    pub(super) fn begin(bed: &'a Testbed, uefi: bool) -> Result<Self> {
        let kernel = bed.kernel(KERNELS[KERNELS.len() - 1])?;
        let mut vm = bed.vm("soak", kernel).memory_mib(MEMORY_MIB).uefi(uefi).boot()?;
        let map = memory_map(&mut vm)?;
        let first = BTreeMap::from([(vm.hello().release.clone(), meminfo(&mut vm, "MemTotal")?)]);
        let (memory, entries) = (used(&mut vm, &map)?, map.entries().len());
        Ok(Self { bed, vm, hop: 0, kept: Vec::new(), memory, entries, first })
    }

    /// Adds, releases, replaces the kernel, and checks everything.
    pub(super) fn step(&mut self, say: &dyn Fn(&str)) -> Result<Step> {
        let start = Instant::now();
        self.hop += 1;
        let name = format!("s{}", self.hop);
        self.vm.sh(&new_source(&name, self.hop))?;
        let digest = digest(&mut self.vm, &format!("/dev/shm/{name}"))?;
        let released = if self.kept.len() >= REGIONS { self.release()? } else { 0 };
        self.kexec(&name)?;
        self.kept.push(Kept { name, digest, born: self.hop });

        let mut step = self.check_memory()?;
        step.released = released;
        step.checked = self.check_regions()?;
        step.seconds = start.elapsed().as_secs_f64();
        say(&step.line());
        Ok(step)
    }

    /// Releases a region, in turn an old one and a young one, and sees that memory comes back.
    fn release(&mut self) -> Result<u64> {
        let index = if self.hop.is_multiple_of(2) { 0 } else { self.kept.len() - 2 };
        let kept = self.kept.remove(index);
        let uuid = listed(&mut self.vm, &kept.name)?.uuid;
        let before = meminfo(&mut self.vm, "MemTotal")?;
        let answer: Value = self.vm.exec(["pkram", "release", "--json", &uuid])?.json()?;
        let returned = answer["returned"].as_u64().context("no figure")?;
        let after = meminfo(&mut self.vm, "MemTotal")?;
        ensure!(after == before + returned, "{before} became {after}, not {returned} more");
        Ok(returned + answer["left"].as_u64().context("no figure")?)
    }

    fn kexec(&mut self, name: &str) -> Result<()> {
        let turn = usize::try_from(self.hop - 1)? % KERNELS.len();
        let next = self.bed.kernel(KERNELS[turn])?;
        let (image, source) = (next.guest_image(), format!("{name}=/dev/shm/{name}"));
        let argv = ["pkram", "kexec", "--quiet", "--kernel", &image, "--initrd", GUEST_INITRD];
        let argv = argv.into_iter().chain(["--append", &APPEND, &source]);
        let hop = self.vm.kexec_into(argv, LIMIT)?;
        ensure!(hop.to.release == next.release, "arrived in {}", hop.to.release);
        Ok(())
    }

    /// Nothing is lost, neither in the map nor in what the kernel makes of it.
    fn check_memory(&mut self) -> Result<Step> {
        let map = memory_map(&mut self.vm)?;
        let spans = map.of_type(E820Type::Pram).bytes();
        let pieces = map.entries().iter().filter(|e| e.kind == E820Type::Pram).count();
        let all = map.ram().union(&map.of_type(E820Type::Pram));
        ensure!(all == self.memory, "the map has {all:?}, the firmware gave {:?}", self.memory);
        let entries = map.entries().len();
        // A span in the middle of RAM makes one entry three.
        let most = self.entries + 2 * pieces;
        ensure!(entries <= most, "{entries} entries for {pieces} spans:\n{map}");
        let total = meminfo(&mut self.vm, "MemTotal")?;
        let release = self.vm.hello().release.clone();
        let first = *self.first.entry(release.clone()).or_insert(total + spans);
        let lost = first.abs_diff(total + spans);
        ensure!(
            lost <= MEM_TOTAL_SPREAD,
            "{release} had {first} bytes at first, and now {total} beside {spans}"
        );
        Ok(Step {
            hop: self.hop,
            kernel: release,
            regions: self.kept.len(),
            spans: pieces,
            span_bytes: spans,
            mem_total: total,
            difference: (total + spans).cast_signed() - first.cast_signed(),
            entries,
            ..Step::default()
        })
    }

    /// Every region is there with its age and its bytes, all mounted at once; says how many.
    fn check_regions(&mut self) -> Result<u64> {
        let mut spans = 0;
        for kept in &self.kept {
            let Listed { uuid, kernels, bytes } = listed(&mut self.vm, &kept.name)?;
            ensure!(kernels == u64::from(self.hop - kept.born + 1), "{}: {kernels}", kept.name);
            self.vm.sh(&format!("mkdir -p /mnt/{0} && pkram mount {uuid} /mnt/{0}", kept.name))?;
            spans += bytes;
        }
        let map = memory_map(&mut self.vm)?.of_type(E820Type::Pram).bytes();
        ensure!(map == spans, "the regions have {spans} bytes, but {map} are set aside");
        let mut checked = 0;
        for kept in &self.kept {
            let dir = format!("/mnt/{0}/{0}", kept.name);
            let found = digest(&mut self.vm, &dir)?;
            ensure!(found == kept.digest, "{} is not what it was", kept.name);
            checked += found.lines().filter_map(size).sum::<u64>();
        }
        for kept in &self.kept {
            self.vm.sh(&format!("umount /mnt/{0} && rmdir /mnt/{0}", kept.name))?;
            let uuid = listed(&mut self.vm, &kept.name)?.uuid;
            self.vm.run(["pkram", "verify", &uuid])?;
        }
        Ok(checked)
    }
}

/// A file of random bytes, and every third time a tree.
fn new_source(name: &str, hop: u32) -> String {
    let mib = 1 + hop * 37 % 60;
    match hop % 3 {
        0 => format!(
            "mkdir /dev/shm/{name} && \
             guest mktree --seed {hop} --files 60 --total {} /dev/shm/{name}",
            mib.clamp(4, 20)
        ),
        _ => {
            format!("mkdir /dev/shm/{name} && head -c {mib}M /dev/urandom > /dev/shm/{name}/bytes")
        }
    }
}

/// A file's size, from its line in a digest.
fn size(line: &str) -> Option<u64> {
    line.rsplit_once(" size=")?.1.split(' ').next()?.parse().ok()
}

struct Listed {
    uuid: String,
    kernels: u64,
    bytes: u64,
}

/// The region that carries the source `name`.
fn listed(vm: &mut Vm, name: &str) -> Result<Listed> {
    let list: Value = vm.exec(["pkram", "list", "--json"])?.json()?;
    ensure!(list["damaged"] == serde_json::json!([]), "{list}");
    let carries = |r: &&Value| r["sources"][0]["name"] == name;
    let region = list["regions"].as_array().into_iter().flatten().find(carries);
    let region = region.with_context(|| format!("no region carries {name}: {list}"))?;
    let uuid = region["uuid"].as_str().context("no uuid")?.to_owned();
    let kernels = region["kernels"].as_u64().filter(|_| region["kernels_at_least"] == false);
    let kernels = kernels.with_context(|| format!("{name} lost its age: {region}"))?;
    Ok(Listed { uuid, kernels, bytes: region["bytes"].as_u64().context("no size")? })
}

/// The RAM of a map that the kernel uses; under EFI it keeps some to itself, with tables that the
/// next kernel reads again. The first MiB has rules of its own.
fn used(vm: &mut Vm, map: &MemoryMap) -> Result<RangeSet> {
    let iomem = String::from_utf8(vm.read_file("/proc/iomem")?)?;
    let used = parse_iomem(&iomem)?.into_iter().filter(|r| r.name == "System RAM");
    let used: RangeSet = used.map(|r| r.range).chain([PhysRange::new(0, 1 << 20)?]).collect();
    Ok(map.ram().intersect(&used))
}
