//! What the end-to-end tests share: one kexec by pkram, and what is known of it afterwards.

use anyhow::{Context, Result, ensure};
use physmem::MemoryMap;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use testbed::{APPEND, GUEST_INITRD, Hop, Kernel, Vm};

/// One kexec under emulation takes well below this.
pub(crate) const HOP: Duration = Duration::from_secs(240);

/// Where the tests mount the region.
pub(crate) const REGION: &str = "/mnt/region";

/// The command line of `pkram VERB` into `next`.
pub(crate) fn pkram(verb: &str, next: &Kernel, more: &[&str]) -> Vec<String> {
    let image = next.guest_image();
    let words = ["pkram", verb, "--json", "--kernel", &image, "--initrd", GUEST_INITRD];
    let words = words.into_iter().chain(["--append", &APPEND]).chain(more.iter().copied());
    words.map(str::to_owned).collect()
}

/// `pkram kexec` into `next`, and that it arrived there.
pub(crate) fn hop(vm: &mut Vm, next: &Kernel, more: &[&str]) -> Result<Hop> {
    let hop = vm.kexec_into(pkram("kexec", next, more), HOP)?;
    ensure!(hop.to.release == next.release, "arrived in {}, not {}", hop.to.release, next.release);
    Ok(hop)
}

/// A kexec by kexec-tools: `-c` for kexec_load(2), `-s` for kexec_file_load(2).
pub(crate) fn plain_hop(vm: &mut Vm, next: &Kernel, how: &str) -> Result<()> {
    let image = next.guest_image();
    let append = format!("--append={APPEND}");
    vm.run(["kexec", how, "-l", &image, "--initrd", GUEST_INITRD, &append])?;
    let hop = vm.kexec_into(["kexec", "-e"], HOP)?;
    ensure!(hop.to.release == next.release, "arrived in {}", hop.to.release);
    Ok(())
}

/// The UUID of the region that carries source `name`.
pub(crate) fn region_of(vm: &mut Vm, name: &str) -> Result<String> {
    let list: Value = vm.exec(["pkram", "list", "--json"])?.json()?;
    let carries = |r: &&Value| r["sources"][0]["name"] == name;
    let region = list["regions"].as_array().into_iter().flatten().find(carries);
    let uuid = region.and_then(|r| r["uuid"].as_str());
    Ok(uuid.with_context(|| format!("no region carries {name}: {list}"))?.to_owned())
}

/// Mounts the only region in place and returns its manifest.
pub(crate) fn mount(vm: &mut Vm) -> Result<Value> {
    vm.run(["mkdir", "-p", REGION])?;
    vm.run(["pkram", "mount", REGION])?;
    let manifest = vm.read_file(&format!("{REGION}/.pkram/manifest.json"))?;
    Ok(serde_json::from_slice(&manifest)?)
}

/// A number in a JSON value, by its path.
pub(crate) fn number(value: &Value, path: &str) -> Result<u64> {
    value.pointer(path).and_then(Value::as_u64).with_context(|| format!("no {path} in {value}"))
}

/// The frame of every page of every file below `dir`: path and page to frame.
pub(crate) fn frames(vm: &mut Vm, dir: &str) -> Result<BTreeMap<(String, u64), u64>> {
    let script = format!("cd {dir} && find . -type f -size +0 -print0 | xargs -0 -r guest frames");
    let mut found = BTreeMap::new();
    for line in vm.sh(&script)?.lines() {
        let file: Value = serde_json::from_str(line)?;
        let name = file["file"].to_string();
        for extent in file["extents"].as_array().context("no extents")? {
            let field = |name| number(extent, name);
            let (page, frame) = (field("/page")?, field("/frame")?);
            for i in 0..field("/count")? {
                found.insert((name.clone(), page + i), frame + i);
            }
        }
    }
    Ok(found)
}

/// The memory map that the guest's kernel was given.
pub(crate) fn memory_map(vm: &mut Vm) -> Result<MemoryMap> {
    let script = "for e in /sys/firmware/memmap/*; do cat $e/start $e/end $e/type; done";
    let text = vm.sh(script)?;
    let lines: Vec<_> = text.lines().collect();
    let entries = lines.as_chunks().0.iter().map(|&[start, end, kind]| (start, end, kind));
    Ok(MemoryMap::from_firmware(entries)?)
}

/// A line of `/proc/meminfo`, in bytes.
pub(crate) fn meminfo(vm: &mut Vm, field: &str) -> Result<u64> {
    let text = vm.read_file("/proc/meminfo")?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
    let kib = line.and_then(|l| l.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kib.with_context(|| format!("no {field} in {text}"))? * 1024)
}

/// `pkram verify` finds nothing wrong with a region (which must not be mounted), or the only one.
pub(crate) fn whole(vm: &mut Vm, region: Option<&str>) -> Result<()> {
    let found = vm.exec(["pkram", "verify"].into_iter().chain(region))?;
    ensure!(found.code == Some(0), "{}{}", found.stderr, String::from_utf8_lossy(&found.stdout));
    Ok(())
}
