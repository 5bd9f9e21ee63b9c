//! What the package says of itself, and its maintainer scripts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::tree::Tree;

/// Files of packages, and their maintainer scripts, by their names in `packaging/debian`.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// The last entry of `debian/changelog`.
pub(super) struct Changelog {
    pub(super) version: String,
    /// Seconds since 1970.
    pub(super) epoch: u64,
}

impl Changelog {
    /// # Errors
    /// A changelog that is none, or of another version than the workspace.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let (version, date) = last_entry(&text).context("debian/changelog has no entry")?;
        let upstream = env!("CARGO_PKG_VERSION");
        ensure!(
            version.rsplit_once('-').is_some_and(|(before, _)| before == upstream),
            "debian/changelog is of version {version}; expected {upstream}-REVISION"
        );
        let epoch = match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(given) => given.parse().context("SOURCE_DATE_EPOCH is no number")?,
            Err(_) => seconds(date)?,
        };
        Ok(Self { version: version.to_owned(), epoch })
    }
}

/// `pkram (VERSION) …`, and then ` -- NAME <ADDRESS>  DATE`.
fn last_entry(text: &str) -> Option<(&str, &str)> {
    let (_, version) = text.lines().next()?.split_once('(')?;
    let trailer = text.lines().find(|line| line.starts_with(" -- "))?;
    Some((version.split_once(')')?.0, trailer.split_once(">  ")?.1))
}

fn seconds(date: &str) -> Result<u64> {
    let output = Command::new("date").args(["--date", date, "+%s"]).output().context("date")?;
    let text = String::from_utf8(output.stdout)?;
    text.trim().parse().with_context(|| format!("debian/changelog: {date:?} is no date"))
}

/// Writes `DEBIAN/`; everything else must be there. `more` are fields that are found out.
pub(super) fn write(tree: &Tree, root: &Path, changelog: &Changelog, more: &str) -> Result<()> {
    let from = root.join("packaging/debian");
    let read = |name: &str| {
        fs::read_to_string(from.join(name)).with_context(|| format!("packaging/debian/{name}"))
    };
    let mut files = files(tree.folder())?;
    files.retain(|file| !file.starts_with(tree.folder().join("DEBIAN")));
    let all = read("control")?;
    let head = format!("Package: {}\n", tree.package());
    let own = all.split("\n\n").find(|stanza| stanza.starts_with(&head));
    let control = own.with_context(|| format!("no {head:?} in debian/control"))?.trim_end();
    let found = format!("Version: {}\nInstalled-Size: {}\n", changelog.version, kib(&files)?);
    let control =
        control.replacen("Architecture:", &format!("{found}{more}Architecture:"), 1) + "\n";
    let plain = files.iter().filter(|file| !file.is_symlink());
    let relative = plain.map(|file| Ok(file.strip_prefix(tree.folder())?.to_owned()));
    let relative = relative.collect::<Result<Vec<_>>>()?;
    let conffiles = relative.iter().filter(|file| file.starts_with("etc"));
    let conffiles: String = conffiles.map(|file| format!("/{}\n", file.display())).collect();
    let sums = Command::new("md5sum")
        .args(&relative)
        .current_dir(tree.folder())
        .output()
        .context("md5sum")?;
    ensure!(sums.status.success(), "md5sum: {}", String::from_utf8_lossy(&sums.stderr));
    tree.put("DEBIAN/control", control.as_bytes(), 0o644)?;
    tree.put("DEBIAN/md5sums", &sums.stdout, 0o644)?;
    if conffiles.is_empty() {
        return Ok(());
    }
    // The one with something to configure is the one with something to start.
    tree.put("DEBIAN/conffiles", conffiles.as_bytes(), 0o644)?;
    for script in SCRIPTS {
        tree.put(&format!("DEBIAN/{script}"), read(script)?.as_bytes(), 0o755)?;
    }
    Ok(())
}

/// All files below a folder, sorted.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => files.extend(self::files(&entry.path())?),
            false => files.push(entry.path()),
        }
    }
    files.sort();
    Ok(files)
}

/// As dpkg-gencontrol counts: each file in whole KiB, and one for each folder and link.
fn kib(files: &[PathBuf]) -> Result<u64> {
    let sizes = files.iter().map(|file| Ok(file.symlink_metadata()?.len().div_ceil(1024)));
    sizes.sum::<Result<u64>>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_entry_is_the_first_one() {
        let text = "pkram (0.2.0-1) unstable; urgency=medium\n\n  * Second.\n\n \
                    -- A B <a@b.invalid>  Mon, 23 Nov 2026 10:00:00 +0100\n\n\
                    pkram (0.1.0-1) unstable; urgency=medium\n";
        let (version, date) = last_entry(text).unwrap();
        assert_eq!(version, "0.2.0-1");
        assert_eq!(seconds(date).unwrap(), 1_795_424_400);
    }
}
