//! From the configuration to what is kept: paths that match, units' directories, segments by key.

use anyhow::{Context as _, bail};
use config::{Source, What};
use pkram::source::{self, SourceSpec};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What of a configured source there is now, each part with a name of its own.
pub(crate) fn specs(source: &Source) -> anyhow::Result<Vec<SourceSpec>> {
    let spec = |name: String, what| SourceSpec { name, what, in_place: source.stay };
    let path = |name: String, path: PathBuf| spec(name, source::What::Path(path));
    let own_name = || source.name.clone();
    Ok(match &source.what {
        What::Path(given) => vec![path(own_name(), given.clone())],
        What::SysvKey(key) => vec![spec(own_name(), source::What::Sysv { id: segment(*key)? })],
        What::Unit(unit) => {
            let mut directories = runtime_directories(unit)?;
            match directories.len() {
                1 => vec![path(own_name(), directories.remove(0))],
                _ => directories.into_iter().map(|d| path(of_several(source, &d), d)).collect(),
            }
        }
        What::Glob(pattern) => {
            let matches = glob::glob(pattern).context("the pattern")?.filter_map(Result::ok);
            matches.filter_map(|found| Some(path(source.match_name(&found)?, found))).collect()
        }
    })
}

/// The name of one of a unit's directories, where it has several.
fn of_several(source: &Source, directory: &Path) -> String {
    let last = directory.file_name().unwrap_or_default();
    format!("{}-{}", source.name, last.to_string_lossy())
}

/// The directories below `/run` that belong to a unit.
fn runtime_directories(unit: &str) -> anyhow::Result<Vec<PathBuf>> {
    let show = ["show", "--property=RuntimeDirectory", "--value", "--", unit];
    let shown = Command::new("systemctl").args(show).output().context("start systemctl")?;
    let text = String::from_utf8_lossy(&shown.stdout);
    let found: Vec<_> = text.split_whitespace().map(|dir| Path::new("/run").join(dir)).collect();
    if found.is_empty() {
        bail!("{unit} has no RuntimeDirectory=");
    }
    Ok(found)
}

/// The segment that has this key now (`/proc/sysvipc/shm`, `ipc/shm.c: sysvipc_shm_proc_show()`).
fn segment(key: i32) -> anyhow::Result<i32> {
    let table = fs::read_to_string("/proc/sysvipc/shm").context("/proc/sysvipc/shm")?;
    let found = table.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace();
        let its: i32 = words.next()?.parse().ok()?;
        let id = words.next()?.parse().ok()?;
        (its == key).then_some(id)
    });
    found.with_context(|| format!("no SysV segment has the key {key:#x}"))
}
