//! Digests of files, by coreutils' `sha256sum`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::run;

/// Digests by path, relative to a folder that the holder knows.
pub(crate) type Digests = BTreeMap<PathBuf, String>;

/// The digest of each file; paths are relative to `folder`.
pub(crate) fn digests<P: AsRef<Path>>(folder: &Path, paths: &[P]) -> Result<Digests> {
    // Zero-terminated output (`-z`) neither escapes names nor wraps lines.
    let text = run(Command::new("sha256sum")
        .arg("-z")
        .arg("--")
        .args(paths.iter().map(AsRef::as_ref))
        .current_dir(folder))?;
    text.split_terminator('\0')
        .map(|entry| {
            let (digest, path) = entry.split_once("  ").context("sha256sum's output")?;
            Ok((PathBuf::from(path), digest.to_owned()))
        })
        .collect()
}

/// The digest of one file.
pub(crate) fn digest(path: &Path) -> Result<String> {
    let digests = digests(Path::new("/"), &[path])?;
    digests.into_values().next().with_context(|| format!("no digest of {}", path.display()))
}

/// Checks files against what was recorded.
pub(crate) fn verify(folder: &Path, recorded: &Digests) -> Result<()> {
    let paths: Vec<_> = recorded.keys().collect();
    for (path, found) in digests(folder, &paths)? {
        let expected = &recorded[&path];
        if found != *expected {
            bail!(
                "{}: its SHA-256 is {found}, recorded was {expected}; fetch it again with --refresh",
                folder.join(path).display()
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_sha256_and_a_changed_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a b"), "abc").unwrap();
        let recorded = digests(folder.path(), &["a b"]).unwrap();
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(recorded[Path::new("a b")], expected);
        verify(folder.path(), &recorded).unwrap();

        std::fs::write(folder.path().join("a b"), "abd").unwrap();
        let error = verify(folder.path(), &recorded).unwrap_err().to_string();
        assert!(error.contains("a b") && error.contains("--refresh"), "{error}");
    }
}
