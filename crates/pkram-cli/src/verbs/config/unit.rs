//! What systemd knows of a unit: from itself where it runs, else from its files.

use super::machine::is_running;
use std::path::Path;
use std::process::Command;

/// Where unit files are, under the root, `systemd.unit(5)`.
const DIRECTORIES: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];

/// A unit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// There is none of this name.
    Missing,
    /// It has a file, and more is not known.
    Found,
    /// systemd has read it.
    Loaded {
        /// Its `RuntimeDirectory=`, below `/run`.
        directories: Vec<String>,
    },
}

impl Unit {
    pub(super) fn find(root: &Path, unit: &str) -> Self {
        // `sd_booted(3)`: systemd runs where this directory is.
        let asked = is_running(root) && Path::new("/run/systemd/system").is_dir();
        asked.then(|| ask(unit)).flatten().unwrap_or_else(|| Self::of_files(root, unit))
    }

    fn of_files(root: &Path, unit: &str) -> Self {
        // `foo@1.service` is one of the template `foo@.service`.
        let template = unit.split_once('@').zip(unit.rsplit_once('.'));
        let template = template.map(|((stem, _), (_, kind))| format!("{stem}@.{kind}"));
        let names = [Some(unit), template.as_deref()];
        let is_there = |name: &str| {
            DIRECTORIES.iter().any(|dir| root.join(dir).join(name).symlink_metadata().is_ok())
        };
        match names.into_iter().flatten().any(is_there) {
            true => Self::Found,
            false => Self::Missing,
        }
    }

    /// From `systemctl show`, one `NAME=VALUE` a line.
    fn parse(shown: &str) -> Option<Self> {
        let value =
            |name: &str| shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        if value("LoadState")? == "not-found" {
            return Some(Self::Missing);
        }
        let directories = value("RuntimeDirectory").unwrap_or_default();
        Some(Self::Loaded {
            directories: directories.split_ascii_whitespace().map(str::to_owned).collect(),
        })
    }
}

fn ask(unit: &str) -> Option<Unit> {
    let properties = "--property=LoadState,RuntimeDirectory";
    let output = Command::new("systemctl").args(["show", properties, "--", unit]).output().ok()?;
    if !output.status.success() {
        return None;
    }
    Unit::parse(&String::from_utf8_lossy(&output.stdout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_systemctl_shows() {
        let shown = "RuntimeDirectory=redis redis-sentinel\n\
                     LoadState=loaded\n";
        let directories = vec!["redis".to_owned(), "redis-sentinel".to_owned()];
        assert_eq!(Unit::parse(shown), Some(Unit::Loaded { directories }));
        let shown = "LoadState=not-found\n";
        assert_eq!(Unit::parse(shown), Some(Unit::Missing));
        assert_eq!(Unit::parse(""), None);
    }

    #[test]
    fn finds_units_by_their_files() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("usr/lib/systemd/system");
        std::fs::create_dir_all(&dir).unwrap();
        for name in ["a.service", "b@.service"] {
            std::fs::write(dir.join(name), "").unwrap();
        }
        let find = |unit| Unit::find(root.path(), unit);
        assert_eq!(
            ["a.service", "b@1.service", "b@x.y.service"].map(find),
            [const { Unit::Found }; 3]
        );
        assert_eq!(
            ["b.service", "c.service", "b@1.socket"].map(find),
            [const { Unit::Missing }; 3]
        );
    }
}
