//! Whether the machine has what its configuration names.
//!
//! | what it is | not there now | there, but cannot be |
//! |---|---|---|
//! | kernel, initrd | error: nobody else will put it there | error |
//! | path, match, unit, segment, user | warning: it may come | error |
//!
//! Of a system below another root only the files are looked at: what runs here is another one.

use super::Checked;
use super::unit::Unit;
use config::{Arrival, Config, Place, Source, What, Who};
use pkram::region::{discover, find_mounted};
use pkram::source::{self, SourceError};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Adds what is missing, and what cannot be.
pub(super) fn look(config: &Config, root: &Path, checked: &mut Checked) {
    let kernel = [("kernel.image", &config.kernel.image), ("kernel.initrd", &config.kernel.initrd)];
    for (key, path) in kernel {
        if let (Some(path), Some(place)) = (path, config.origins.get(key)) {
            look_at_kernel(root, key, path, place, checked);
        }
    }
    let running = is_running(root);
    for source in &config.sources {
        match &source.what {
            What::Path(path) if running => look_at_path(source, path, checked),
            What::Glob(pattern) if running => look_at_matches(source, pattern, checked),
            What::SysvKey(key) if running => look_at_segment(source, *key, checked),
            What::Path(_) | What::Glob(_) | What::SysvKey(_) => {}
            What::Unit(unit) => look_at_unit(source, unit, root, checked),
        }
    }
    for rule in &config.handovers {
        let missing = match &rule.who {
            Who::Unit(unit) if unit.contains(['*', '?', '[']) => false,
            Who::Unit(unit) => Unit::find(root, unit) == Unit::Missing,
            Who::User(user) => is_unknown(root, user),
        };
        if missing {
            checked.warning(&rule.place, format!("handover: {} is not there now", rule.who));
        }
    }
}

/// Whether the root is that of the running system.
pub(super) fn is_running(root: &Path) -> bool {
    fs::canonicalize(root).is_ok_and(|root| root == Path::new("/"))
}

fn section(source: &Source) -> String {
    format!("source.{}", source.name)
}

/// An absolute path below a root.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn look_at_kernel(root: &Path, key: &str, path: &Path, place: &Place, checked: &mut Checked) {
    match fs::metadata(below(root, path)) {
        Ok(file) if file.is_file() => {}
        Ok(_) => checked.error(place, format!("{key}: {} is no file", path.display())),
        Err(error) => checked.error(place, format!("{key}: {}: {error}", path.display())),
    }
}

fn look_at_path(source: &Source, path: &Path, checked: &mut Checked) {
    let section = section(source);
    match source::look(path) {
        Ok(()) => {}
        // In place it lies there from the first kexec on.
        Err(SourceError::NotMemory { path, .. })
            if matches!(source.arrival, Arrival::InPlace { .. }) && is_in_region(&path) => {}
        Err(SourceError::Io { path, source: error }) if error.kind() == ErrorKind::NotFound => {
            checked
                .warning(&source.place, format!("{section}: {} is not there now", path.display()));
        }
        Err(error) => {
            let remedy = error.remedy().map_or_else(String::new, |remedy| format!("; {remedy}"));
            checked.error(&source.place, format!("{section}: {error}{remedy}"));
        }
    }
}

/// Whether a path lies in a region that is mounted.
fn is_in_region(path: &Path) -> bool {
    let regions = discover().map_or_else(|_| Vec::new(), |found| found.regions);
    let device = |path: &Path| fs::metadata(path).ok().map(|file| file.dev());
    let mounted = regions.iter().filter_map(|region| find_mounted(region).ok().flatten());
    let mut devices = mounted.filter_map(|mounted| device(&mounted.dir));
    device(path).is_some_and(|here| devices.any(|there| there == here))
}

fn look_at_matches(source: &Source, pattern: &str, checked: &mut Checked) {
    let mut some = false;
    for path in glob::glob(pattern).into_iter().flatten().flatten() {
        // The pattern's walk is freer than its match: leading dots.
        if source.match_name(&path).is_some() {
            some = true;
            look_at_path(source, &path, checked);
        }
    }
    if !some {
        checked.warning(&source.place, format!("{}: nothing matches now", section(source)));
    }
}

fn look_at_segment(source: &Source, key: i32, checked: &mut Checked) {
    let table = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    if !keys(&table).any(|found| found == key) {
        checked.warning(
            &source.place,
            format!("{}: {} is not there now", section(source), source.what),
        );
    }
}

/// The keys in `/proc/sysvipc/shm`, its first column (`sysvipc_shm_proc_show`, `ipc/shm.c`).
fn keys(table: &str) -> impl Iterator<Item = i32> {
    table.lines().filter_map(|line| line.split_ascii_whitespace().next()?.parse().ok())
}

fn look_at_unit(source: &Source, unit: &str, root: &Path, checked: &mut Checked) {
    let section = section(source);
    let place = &source.place;
    match Unit::find(root, unit) {
        Unit::Missing => checked.warning(place, format!("{section}: {unit} is not there now")),
        Unit::Found => {}
        Unit::Loaded { directories } if directories.is_empty() => {
            let text =
                format!("{section}: {unit} has no RuntimeDirectory=; give it one in a drop-in");
            checked.error(place, text);
        }
        Unit::Loaded { directories } => {
            for directory in directories {
                look_at_path(source, &Path::new("/run").join(directory), checked);
            }
        }
    }
}

/// Whether a user's name is not in the root's table; other tables may have it.
fn is_unknown(root: &Path, user: &str) -> bool {
    if user.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    let table = fs::read(root.join("etc/passwd")).unwrap_or_default();
    let mut names =
        table.split(|&b| b == b'\n').filter_map(|line| line.split(|&b| b == b':').next());
    !names.any(|name| name == user.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_keys_of_segments() {
        // From a kernel 6.18, with columns cut off; the last line by hand, because keys are signed.
        let table = "       key      shmid perms                  size  cpid\n\
                     \x20707181427          5   644                  4096 27568\n\
                     \x20       -1          6   600                  4096   313\n";
        assert_eq!(keys(table).collect::<Vec<_>>(), [707_181_427, -1]);
    }
}
