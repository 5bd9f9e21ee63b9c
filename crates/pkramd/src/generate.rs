//! The systemd generator: from the configuration to units, before any unit starts.
//!
//! | configured | written |
//! |---|---|
//! | an in-place source with a known place | a mount unit for it, which binds what [`arrive`](crate::arrive) has found |
//! | a source that is a unit's directory | a drop-in: the unit starts after its memory is back, and leaves its directory when it stops |
//! | the deadline | a drop-in for pkram-shutdown.service |
//!
//! `RequiresMountsFor=` of a place or `Requires=` and `After=pkram-source@NAME.service` is all
//! that another unit needs. See `systemd.generator(7)`.

use anyhow::Context as _;
use config::{Config, Source, What};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

/// Where [`arrive`](crate::arrive) links what a mount unit binds.
pub(crate) const NODES: &str = "/run/pkram/nodes";

/// What the stop of pkram-shutdown.service takes at most besides what it waits for.
const SPARE: Duration = Duration::from_secs(10);

/// Where systemd has the generators write.
const GENERATED: &str = "run/systemd/generator";

/// Where units come from that somebody wrote.
const WRITTEN: [&str; 4] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
];

/// The first line of each file that is made here.
const MADE: &str = "# Made by pkram's generator from pkram.toml; changes here are lost.\n";

/// Writes everything below `dir`, for the system below `root`.
pub(crate) fn generate(config: &Config, root: &Path, dir: &Path) -> anyhow::Result<()> {
    for source in &config.sources {
        if let Some(at) = source.mount_point().filter(|at| !is_mounted_otherwise(root, at)) {
            mount_unit(dir, source, at)?;
        }
        if let What::Unit(unit) = &source.what {
            drop_in(dir, unit, &unit_drop_in(&source.name))?;
        }
    }
    let limit = (config.shutdown.deadline + SPARE).as_secs();
    drop_in(dir, "pkram-shutdown.service", &format!("[Service]\nTimeoutStopSec={limit}\n"))
}

/// Whether the system mounts something there, such as a tmpfs: the memory goes over that then,
/// without a unit of its own.
fn is_mounted_otherwise(root: &Path, at: &Path) -> bool {
    let name = unit_name(at);
    let table = fs::read_to_string(root.join("etc/fstab")).unwrap_or_default();
    let mut fields = table.lines().filter(|line| !line.trim_start().starts_with('#'));
    let in_table = fields.any(|line| {
        let field = line.split_whitespace().nth(1);
        // `fstab(5)`: spaces and tabs are written in octal.
        field.is_some_and(|f| Path::new(&f.replace("\\040", " ").replace("\\011", "\t")) == at)
    });
    in_table || WRITTEN.iter().any(|dir| root.join(dir).join(&name).exists())
}

/// Whether a mount unit was made for this place.
pub(crate) fn has_mount_unit(root: &Path, at: &Path) -> bool {
    let unit = fs::read(root.join(GENERATED).join(unit_name(at)));
    unit.is_ok_and(|text| text.starts_with(MADE.as_bytes()))
}

fn unit_name(at: &Path) -> String {
    format!("{}.mount", pkram::source::escape_path(at))
}

fn mount_unit(dir: &Path, source: &Source, at: &Path) -> anyhow::Result<()> {
    let name = unit_name(at);
    let (node, place) = (&source.name, specifiers(&at.display().to_string()));
    // Without memory that came there is nothing to mount, and nothing wrong. At a shutdown the
    // sources are looked at before it is unmounted.
    let text = format!(
        "[Unit]\n\
         Description=Memory of source {node} in place\n\
         Documentation=man:pkram.toml(5)\n\
         DefaultDependencies=no\n\
         Requires=pkram-source@{node}.service\n\
         After=pkram-source@{node}.service\n\
         Before=pkram-shutdown.service umount.target\n\
         Conflicts=umount.target\n\
         ConditionPathExists={NODES}/{node}\n\
         \n\
         [Mount]\n\
         What={NODES}/{node}\n\
         Where={place}\n\
         Type=none\n\
         Options=bind\n"
    );
    write(&dir.join(&name), &text)?;
    let wants = dir.join("basic.target.wants");
    fs::create_dir_all(&wants)?;
    symlink(format!("../{name}"), wants.join(&name)).or_else(unless_there).context(name)
}

fn unit_drop_in(node: &str) -> String {
    format!(
        "[Unit]\n\
         Requires=pkram-source@{node}.service\n\
         After=pkram-source@{node}.service\n\
         \n\
         [Service]\n\
         RuntimeDirectoryPreserve=yes\n"
    )
}

fn drop_in(dir: &Path, unit: &str, text: &str) -> anyhow::Result<()> {
    let folder = dir.join(format!("{unit}.d"));
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    write(&folder.join("50-pkram.conf"), text)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, format!("{MADE}{text}")).with_context(|| path.display().to_string())
}

/// `%` begins a specifier in unit files.
fn specifiers(text: &str) -> String {
    text.replace('%', "%%")
}

fn unless_there(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_in_place_becomes_a_mount_unit() {
        let dir = tempfile::tempdir().unwrap();
        let text = "[source.cache]\npath = '/srv/my-cache/50%'\narrival = 'in-place'";
        let config = Config::parse("pkram.toml".as_ref(), text).unwrap();
        let root = tempfile::tempdir().unwrap();
        generate(&config, root.path(), dir.path()).unwrap();
        // A second run, as at `systemctl daemon-reload`.
        generate(&config, root.path(), dir.path()).unwrap();
        // As `systemd-escape --path --suffix=mount` says.
        let name = "srv-my\\x2dcache-50\\x25.mount";
        let unit = fs::read_to_string(dir.path().join(name)).unwrap();
        assert!(unit.contains("\nWhere=/srv/my-cache/50%%\n"), "{unit}");
        assert!(unit.contains("\nRequires=pkram-source@cache.service\n"), "{unit}");
        assert!(dir.path().join("basic.target.wants").join(name).exists());
        let limit = dir.path().join("pkram-shutdown.service.d/50-pkram.conf");
        assert!(fs::read_to_string(limit).unwrap().contains("TimeoutStopSec=70"));
    }

    #[test]
    fn what_the_system_mounts_there_keeps_its_unit() {
        let (root, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let text = "[source.a]\npath = '/srv/a b'\narrival = 'in-place'\n\
                    [source.c]\npath = '/srv/c'\narrival = 'in-place'";
        let config = Config::parse("pkram.toml".as_ref(), text).unwrap();
        let root = root.path();
        fs::create_dir_all(root.join("etc/systemd/system")).unwrap();
        fs::write(root.join("etc/fstab"), "#x\ntmpfs /srv/a\\040b tmpfs size=1G 0 0\n").unwrap();
        fs::write(root.join("etc/systemd/system/srv-c.mount"), "").unwrap();
        generate(&config, root, dir.path()).unwrap();
        for name in ["srv-a\\x20b.mount", "srv-c.mount"] {
            assert!(!dir.path().join(name).exists(), "{name}");
        }
        assert!(!has_mount_unit(root, Path::new("/srv/c")));
    }

    #[test]
    fn a_unit_waits_for_its_directory_and_leaves_it() {
        let text = unit_drop_in("redis");
        for line in ["After=pkram-source@redis.service", "RuntimeDirectoryPreserve=yes"] {
            assert!(text.lines().any(|l| l == line), "{text}");
        }
    }
}
