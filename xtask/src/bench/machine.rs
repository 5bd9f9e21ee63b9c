//! The machine that the figures come from.

use std::fs;

use anyhow::{Context, Result};
use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Machine {
    pub(super) processor: String,
    pub(super) processors: usize,
    pub(super) memory_mib: u64,
    pub(super) kernel: String,
    /// Load average over the last minute when the benchmark began: near zero on a quiet machine.
    pub(super) load_before: f64,
    /// And when it ended: near one on a machine that did nothing else.
    pub(super) load_after: f64,
}

impl Machine {
    pub(super) fn read() -> Result<Self> {
        let cpuinfo = read("/proc/cpuinfo")?;
        let meminfo = read("/proc/meminfo")?;
        let kib = field(&meminfo, "MemTotal").and_then(|v| v.trim_end_matches(" kB").parse().ok());
        Ok(Self {
            processor: field(&cpuinfo, "model name").unwrap_or("unknown").to_owned(),
            processors: std::thread::available_parallelism()?.get(),
            memory_mib: kib.map_or(0, |kib: u64| kib >> 10),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            load_before: load()?,
            load_after: f64::NAN,
        })
    }
}

/// The load average over the last minute.
pub(super) fn load() -> Result<f64> {
    let text = read("/proc/loadavg")?;
    let first = text.split(' ').next().unwrap_or_default();
    first.parse().with_context(|| format!("/proc/loadavg: {text}"))
}

/// The value in the first line `name : value`.
pub(super) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
}

pub(super) fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t\t: 1\nmodel name\t: AMD: EPYC\nMemTotal:  8 kB\n";
        assert_eq!(field(text, "model name"), Some("AMD: EPYC"));
        assert_eq!(field(text, "MemTotal"), Some("8 kB"));
        assert_eq!(field(text, "Mem"), None);
    }
}
