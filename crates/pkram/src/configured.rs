//! From the configuration to what is kept: paths that match, units' directories, segments by key;
//! and into which kernel.

use crate::save::{CmdlineChoice, NextOptions, NoKernel};
use crate::source::{self, SourceSpec};
use config::{Cmdline, Kernel, Source, What};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

/// Why a source is not there.
#[derive(Debug, thiserror::Error)]
pub enum ConfiguredError {
    /// Not a pattern.
    #[error("its pattern: {0}")]
    Pattern(#[from] glob::PatternError),
    /// A unit's directories are not known.
    #[error("systemctl cannot be started: {0}")]
    Systemctl(io::Error),
    /// A unit without directories.
    #[error("{0} has no RuntimeDirectory=")]
    NoDirectory(String),
    /// The segments cannot be listed.
    #[error("/proc/sysvipc/shm: {0}")]
    Segments(io::Error),
    /// There is none with this key.
    #[error("no SysV segment has the key {0:#x}")]
    NoSegment(i32),
    /// A match that is not what its name says.
    #[error("{found} is a link; name {target} in pkram.toml instead", found = .found.display(), target = .target.display())]
    Link {
        /// The match.
        found: PathBuf,
        /// What it is.
        target: PathBuf,
    },
}

/// What of a configured source there is now, each part with a name of its own. Paths need not be
/// there.
///
/// # Errors
/// What it is made from is not there.
pub fn specs(source: &Source) -> Result<Vec<SourceSpec>, ConfiguredError> {
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
            let matches = glob::glob(pattern)?.filter_map(Result::ok);
            matches.filter_map(|found| Some(path(source.match_name(&found)?, found))).collect()
        }
    })
}

/// Refuses a match that could not come back to where its name says: a link to elsewhere. With
/// nothing left of it but its target, nobody could tell that the configuration means that.
///
/// # Errors
/// It is such a link.
pub fn refuse_link(source: &Source, spec: &SourceSpec) -> Result<(), ConfiguredError> {
    let source::What::Path(found) = &spec.what else { return Ok(()) };
    let target = resolved(found);
    if is_from(source, &spec.name, &target) {
        return Ok(());
    }
    Err(ConfiguredError::Link { found: found.clone(), target })
}

/// Whether the node `name` that was saved from the path `from` is what a source says now.
#[must_use]
pub fn is_from(source: &Source, name: &str, from: &Path) -> bool {
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

/// The configured kernel, else what this machine would boot. Of one that was found the command line
/// is what the boot loader would give, where none is configured.
///
/// # Errors
/// None is configured, and none is found.
pub fn next(kernel: &Kernel) -> Result<NextOptions, NoKernel> {
    let mut next = match &kernel.image {
        Some(image) => NextOptions {
            cmdline: CmdlineChoice::Reuse { append: None },
            ..NextOptions::new(image, kernel.initrd.as_ref(), "")
        },
        None => NextOptions::installed()?,
    };
    set_cmdline(&mut next, &kernel.cmdline);
    Ok(next)
}

/// Gives a next kernel the configured command line, where there is one.
pub fn set_cmdline(next: &mut NextOptions, cmdline: &Cmdline) {
    match cmdline {
        Cmdline::Whole(whole) => next.cmdline = CmdlineChoice::Append(whole.clone()),
        Cmdline::Append(more) => {
            next.cmdline = CmdlineChoice::Reuse { append: Some(more.clone()) };
        }
        Cmdline::Reuse => {}
    }
}

/// The name of one of a unit's directories, where it has several.
fn of_several(source: &Source, directory: &Path) -> String {
    let last = directory.file_name().unwrap_or_default();
    format!("{}-{}", source.name, last.to_string_lossy())
}

/// The directories below `/run` that belong to a unit.
fn runtime_directories(unit: &str) -> Result<Vec<PathBuf>, ConfiguredError> {
    let show = ["show", "--property=RuntimeDirectory", "--value", "--", unit];
    let shown = Command::new("systemctl").args(show).output();
    let shown = shown.map_err(ConfiguredError::Systemctl)?;
    let text = String::from_utf8_lossy(&shown.stdout);
    let found: Vec<_> = text.split_whitespace().map(|dir| Path::new("/run").join(dir)).collect();
    if found.is_empty() {
        return Err(ConfiguredError::NoDirectory(unit.to_owned()));
    }
    Ok(found)
}

/// The segment that has this key now (`/proc/sysvipc/shm`, `ipc/shm.c: sysvipc_shm_proc_show()`).
fn segment(key: i32) -> Result<i32, ConfiguredError> {
    let table = fs::read_to_string("/proc/sysvipc/shm").map_err(ConfiguredError::Segments)?;
    let found = table.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace();
        let its: i32 = words.next()?.parse().ok()?;
        let id = words.next()?.parse().ok()?;
        (its == key).then_some(id)
    });
    found.ok_or(ConfiguredError::NoSegment(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Config;
    use std::os::unix::fs::symlink;

    fn config(text: &str) -> Config {
        Config::parse("pkram.toml".as_ref(), text).unwrap()
    }

    #[test]
    fn each_match_is_a_source_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["pg-1", "pg-2", "other"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let text = format!("[source.pg]\nglob = '{}/pg-*'\nstay = true", dir.path().display());
        let specs = specs(&config(&text).sources[0]).unwrap();
        let names: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!(names, ["pg-pg-1", "pg-pg-2"]);
        assert!(specs.iter().all(|spec| spec.in_place));
    }

    #[test]
    fn links_on_the_way_are_followed_and_links_among_the_matches_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        fs::create_dir_all(real.join("run/pg-1")).unwrap();
        symlink("run", real.join("var")).unwrap();
        symlink("pg-1", real.join("run/pg-2")).unwrap();
        let at = |path: &str| real.join(path).display().to_string();
        let (path, glob) = (at("var/x"), at("var/pg-*"));
        let config = config(&format!("[source.a]\npath = '{path}'\n[source.pg]\nglob = '{glob}'"));
        let source = |name: &str| config.sources.iter().find(|s| s.name == name).unwrap();
        // What is not there yet, below what is.
        assert!(is_from(source("a"), "a", &real.join("run/x")));
        assert!(!is_from(source("a"), "a", &real.join("run/y")));
        assert!(is_from(source("pg"), "pg-pg-1", &real.join("run/pg-1")));
        assert!(!is_from(source("pg"), "pg-pg-2", &real.join("run/pg-1")));
        let specs = specs(source("pg")).unwrap();
        let whole = specs.iter().filter(|spec| refuse_link(source("pg"), spec).is_ok());
        assert_eq!(whole.map(|spec| spec.name.as_str()).collect::<Vec<_>>(), ["pg-pg-1"]);
    }

    #[test]
    fn the_configured_command_line_goes_before_what_was_found() {
        let next = |text: &str| next(&config(text).kernel).unwrap();
        let found = next("[kernel]\nimage = '/k'\ninitrd = '/i'");
        assert_eq!(found.cmdline, CmdlineChoice::Reuse { append: None });
        assert_eq!(found.initrd, [Path::new("/i")]);
        let more = next("[kernel]\nimage = '/k'\nappend = 'quiet'");
        assert_eq!(more.cmdline, CmdlineChoice::Reuse { append: Some("quiet".to_owned()) });
        let whole = next("[kernel]\nimage = '/k'\ncmdline = 'root=/dev/vda'");
        assert_eq!(whole.cmdline, CmdlineChoice::Append("root=/dev/vda".to_owned()));
    }
}
