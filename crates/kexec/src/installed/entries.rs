//! Boot loader entries, read without bootctl.
//!
//! ```text
//! efi, boot, boot/efi ─► loader/entries/*.conf, EFI/Linux/*.efi ─sort─► the first that is preferred
//! ```
//!
//! Preferred is, in this order, what is asked for the next boot alone (`LoaderEntryOneShot`), what was
//! made the default in the loader's menu (`LoaderEntryDefault`), and `default` in `loader.conf`; else
//! what is sorted first. Source: UAPI.1 Boot Loader Specification, "Locating Boot Entries";
//! `systemd.io/BOOT_LOADER_INTERFACE`; `loader.conf(5)`.

use super::entry::Entry;
use super::loader::variable;
use crate::files;
use crate::uki::{HEAD, Uki};
use glob::{MatchOptions, Pattern};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Where the EFI system partition and the boot partition are mounted (`bootctl(1)`).
const PLACES: [&str; 3] = ["efi", "boot", "boot/efi"];

/// More files than a folder of entries has.
const MOST_FILES: usize = 1024;

/// More bytes than an `os-release` has.
const OSREL_LIMIT: u64 = 1 << 16;

/// The entry that would be booted.
pub(super) fn default_entry(root: &Path) -> Option<Entry> {
    // One folder may be seen at two places.
    let mut seen = HashSet::new();
    let places: Vec<_> = PLACES.iter().map(|place| root.join(place)).collect();
    let mut entries = Vec::new();
    for place in &places {
        for (folder, suffix, read) in [
            ("loader/entries", "conf", text as fn(&Path, PathBuf) -> Option<Entry>),
            ("EFI/Linux", "efi", image),
        ] {
            let Ok(folder) = place.join(folder).canonicalize() else { continue };
            if seen.insert(folder.clone()) {
                entries.extend(listed(&folder, suffix).filter_map(|file| read(place, file)));
            }
        }
    }
    entries.sort_by(Entry::order);
    let wanted = [
        variable(root, "LoaderEntryOneShot"),
        variable(root, "LoaderEntryDefault"),
        places.iter().find_map(|place| configured(place)),
    ];
    let wanted = wanted.into_iter().flatten().map(|wanted| match &*wanted {
        "@saved" => variable(root, "LoaderEntryLastBooted").unwrap_or_default(),
        _ => wanted,
    });
    let preferred = wanted.filter_map(|wanted| position(&entries, &wanted)).next();
    let index = preferred.unwrap_or(0);
    (index < entries.len()).then(|| entries.swap_remove(index))
}

/// The files in a folder with this suffix, in whatever case: the filesystem is FAT mostly.
fn listed(folder: &Path, suffix: &'static str) -> impl Iterator<Item = PathBuf> {
    let files = fs::read_dir(folder).into_iter().flatten().take(MOST_FILES).flatten();
    files.map(|file| file.path()).filter(move |path| {
        path.extension().is_some_and(|found| found.eq_ignore_ascii_case(suffix))
    })
}

fn text(place: &Path, file: PathBuf) -> Option<Entry> {
    let text = files::read_text(&file).ok()?;
    Entry::parse(place, file, &text)
}

/// A unified kernel image, which the loader shows where it says which system it is of.
fn image(_: &Path, path: PathBuf) -> Option<Entry> {
    let file = File::open(&path).ok()?;
    let mut head = Vec::new();
    (&file).take(u64::try_from(HEAD).ok()?).read_to_end(&mut head).ok()?;
    let osrel = Uki::find(&head, file.metadata().ok()?.len()).ok()??.osrel?;
    let len = (osrel.end - osrel.start).min(OSREL_LIMIT);
    let mut text = vec![0; usize::try_from(len).ok()?];
    file.read_exact_at(&mut text, osrel.start).ok()?;
    let text = String::from_utf8_lossy(&text);
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim().trim_matches(['"', '\'']).to_owned())
    };
    let first = |keys: &[&str]| keys.iter().find_map(|key| value(key));
    Some(Entry {
        sort_key: first(&["IMAGE_ID", "ID"]),
        version: first(&["IMAGE_VERSION", "VERSION", "VERSION_ID", "BUILD_ID"]),
        image: Some(path.clone()),
        ..Entry::of(path)?
    })
}

/// `default` in `loader.conf`.
fn configured(place: &Path) -> Option<String> {
    let text = files::read_text(&place.join("loader/loader.conf")).ok()?;
    let (_, pattern) = text.lines().find_map(|line| {
        line.trim().split_once([' ', '\t']).filter(|(key, _)| *key == "default")
    })?;
    Some(pattern.trim().to_owned())
}

/// The first entry whose ID, with or without its suffix, fits.
fn position(entries: &[Entry], wanted: &str) -> Option<usize> {
    let pattern = Pattern::new(wanted).ok()?;
    let options = MatchOptions { case_sensitive: false, ..MatchOptions::default() };
    let fits = |name: &str| pattern.matches_with(name, options);
    entries.iter().position(|entry| fits(&entry.id) || fits(entry.name()))
}

#[cfg(test)]
mod tests {
    use super::super::loader::tests::set;
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn default(root: &Path) -> String {
        default_entry(root).map(|entry| entry.id).unwrap_or_default()
    }

    #[test]
    fn the_newest_that_is_preferred() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        assert_eq!(default(root), "");
        for version in ["6.1", "6.12", "6.2"] {
            let text = format!("sort-key debian\nversion {version}\nlinux /linux-{version}\n");
            write(root, &format!("boot/loader/entries/d-{version}.conf"), &text);
        }
        write(
            root,
            "boot/loader/entries/d-7.3+0-3.conf",
            "sort-key debian\nversion 7.3\nlinux /l\n",
        );
        write(root, "boot/loader/entries/README", "linux /l\n");
        write(root, "efi/EFI/Linux/noise.efi", "MZ");
        assert_eq!(default(root), "d-6.12.conf");
        write(root, "boot/efi/loader/loader.conf", "timeout 3\ndefault D-6.1*\n");
        assert_eq!(default(root), "d-6.12.conf", "both fit");
        write(root, "boot/efi/loader/loader.conf", "default-key x\ndefault d-6.1\n");
        assert_eq!(default(root), "d-6.1.conf");
        set(root, "LoaderEntryDefault", "@saved");
        set(root, "LoaderEntryLastBooted", "d-6.2.conf");
        assert_eq!(default(root), "d-6.2.conf");
        set(root, "LoaderEntryOneShot", "d-7.3.conf");
        assert_eq!(default(root), "d-7.3.conf");
        set(root, "LoaderEntryOneShot", "[nonsense");
        assert_eq!(default(root), "d-6.2.conf");
    }
}
