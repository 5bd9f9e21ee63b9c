//! What several verbs ask a machine.

use std::time::Duration;

use anyhow::{Context, Result};
use physmem::MemoryMap;
use testbed::Vm;

/// Slow machines translate every instruction.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);

/// Every path of a tree with all its attributes and a hash of its bytes, a line each.
pub(crate) fn digest(vm: &mut Vm, dir: &str) -> Result<String> {
    vm.program(["guest", "digest", dir]).limit(LIMIT).run()
}

/// A field of /proc/meminfo, in bytes.
pub(crate) fn meminfo(vm: &mut Vm, field: &str) -> Result<u64> {
    let kib = vm.sh(&format!("sed -n 's/^{field}: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo"))?;
    Ok(kib.trim().parse::<u64>().with_context(|| format!("{field}: {kib}"))? * 1024)
}

/// The map that the firmware, or the kernel before, gave.
pub(crate) fn memory_map(vm: &mut Vm) -> Result<MemoryMap> {
    let text = vm.sh("for e in /sys/firmware/memmap/*; do cat $e/start $e/end $e/type; done")?;
    let lines: Vec<_> = text.lines().collect();
    let entries = lines.as_chunks().0.iter().map(|&[start, end, kind]| (start, end, kind));
    Ok(MemoryMap::from_firmware(entries)?)
}
