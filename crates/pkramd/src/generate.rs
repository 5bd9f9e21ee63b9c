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

/// Writes everything below `dir`.
pub(crate) fn generate(config: &Config, dir: &Path) -> anyhow::Result<()> {
    for source in &config.sources {
        if let Some(at) = source.mount_point() {
            mount_unit(dir, source, at)?;
        }
        if let What::Unit(unit) = &source.what {
            drop_in(dir, unit, &unit_drop_in(&source.name))?;
        }
    }
    let limit = (config.shutdown.deadline + SPARE).as_secs();
    drop_in(dir, "pkram-shutdown.service", &format!("[Service]\nTimeoutStopSec={limit}\n"))
}

fn mount_unit(dir: &Path, source: &Source, at: &Path) -> anyhow::Result<()> {
    let name = format!("{}.mount", pkram::source::escape_path(at));
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
    let made = "# Made by pkram's generator from pkram.toml; changes here are lost.\n";
    fs::write(path, format!("{made}{text}")).with_context(|| path.display().to_string())
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
        generate(&config, dir.path()).unwrap();
        // A second run, as at `systemctl daemon-reload`.
        generate(&config, dir.path()).unwrap();
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
    fn a_unit_waits_for_its_directory_and_leaves_it() {
        let text = unit_drop_in("redis");
        for line in ["After=pkram-source@redis.service", "RuntimeDirectoryPreserve=yes"] {
            assert!(text.lines().any(|l| l == line), "{text}");
        }
    }
}
