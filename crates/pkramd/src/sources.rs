//! From the configuration to what is kept: paths that match, units' directories, segments by key.

use crate::journal::Event;
use anyhow::{Context as _, bail};
use config::{Source, What};
use pkram::source::{self, SourceSpec};
use std::fs;
use std::path::{Component, Path, PathBuf};
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
            let named = matches.filter_map(|found| Some((source.match_name(&found)?, found)));
            named
                .filter(|(name, found)| is_no_link(source, name, found))
                .map(|(n, f)| path(n, f))
                .collect()
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

/// Whether the node `name` that was saved from `from` is what a source says now.
pub(crate) fn is_from(source: &Source, name: &str, from: &Path) -> bool {
    match &source.what {
        What::Path(path) => resolved(path) == from,
        What::Glob(pattern) => {
            let base = fixed(Path::new(pattern));
            let as_named = from.strip_prefix(resolved(&base)).map(|rest| base.join(rest));
            as_named.is_ok_and(|path| source.match_name(&path).as_deref() == Some(name))
        }
        // systemd makes them nowhere else.
        What::Unit(_) => from.starts_with("/run") && from.components().count() > 2,
        What::SysvKey(_) => false,
    }
}

/// Whether a match can come back to where its name says. A link to elsewhere cannot: with nothing
/// left of it but its target, nobody could tell that the configuration means that.
fn is_no_link(source: &Source, name: &str, found: &Path) -> bool {
    let target = resolved(found);
    let is_there = is_from(source, name, &target);
    if !is_there {
        let (found, target) = (found.display(), target.display());
        let why = format!("is not kept: {found} is a link; name {target} in pkram.toml instead");
        Event::SourceLeftOut.tell_of(name, &why);
    }
    is_there
}

/// A path as saves note it, without links, as far as it is there now.
fn resolved(path: &Path) -> PathBuf {
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Ok(real), ..) => real,
        (Err(_), Some(parent), Some(name)) => resolved(parent).join(name),
        (Err(_), ..) => path.to_owned(),
    }
}

/// What comes before the first wildcard of a pattern.
fn fixed(pattern: &Path) -> PathBuf {
    let is_wild = |part: &Component| part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    pattern.components().take_while(|part| !is_wild(part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Config;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_on_the_way_are_followed_and_links_among_the_matches_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        fs::create_dir_all(real.join("run/pg-1")).unwrap();
        symlink("run", real.join("var")).unwrap();
        symlink("pg-1", real.join("run/pg-2")).unwrap();
        let at = |path: &str| real.join(path).display().to_string();
        let text = format!(
            "[source.a]\npath = '{}'\n[source.pg]\nglob = '{}'",
            at("var/x"),
            at("var/pg-*")
        );
        let config = Config::parse("pkram.toml".as_ref(), &text).unwrap();
        let source = |name: &str| config.sources.iter().find(|s| s.name == name).unwrap();
        // What is not there yet, below what is.
        assert!(is_from(source("a"), "a", &real.join("run/x")));
        assert!(!is_from(source("a"), "a", &real.join("run/y")));
        assert!(is_from(source("pg"), "pg-pg-1", &real.join("run/pg-1")));
        assert!(!is_from(source("pg"), "pg-pg-2", &real.join("run/pg-1")));
        let specs = specs(source("pg")).unwrap();
        assert_eq!(specs.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["pg-pg-1"]);
    }
}
