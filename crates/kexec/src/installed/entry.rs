//! One boot loader entry, and how entries are sorted.
//!
//! Source: UAPI.1 Boot Loader Specification, sections "Type #1 Boot Loader Entry Keys", "Type #2 EFI
//! Unified Kernel Images", "Boot counting" and "Sorting".

use super::version;
use super::{Found, Installed, NoKernel, within};
use crate::cmdline::compose;
use std::cmp::{Ordering, Reverse};
use std::path::{Path, PathBuf};

/// A boot loader entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// The name of its file, without what counts its attempts.
    pub(super) id: String,
    /// Its file.
    pub(super) path: PathBuf,
    /// Its last attempt is used up.
    pub(super) is_bad: bool,
    pub(super) sort_key: Option<String>,
    pub(super) machine_id: Option<String>,
    pub(super) version: Option<String>,
    /// The kernel or unified kernel image; none where it boots something else.
    pub(super) image: Option<PathBuf>,
    pub(super) initrd: Vec<PathBuf>,
    pub(super) options: String,
    /// Another profile of a unified kernel image than the one that runs where nobody chooses.
    pub(super) has_profile: bool,
}

impl Entry {
    /// Reads one of type 1, a text, from the filesystem at `root`; none that is for other machines.
    pub(super) fn parse(root: &Path, path: PathBuf, text: &str) -> Option<Self> {
        let mut entry = Self::of(path)?;
        let mut options = Vec::new();
        for line in text.lines().map(str::trim) {
            let Some((key, value)) = line.split_once([' ', '\t']) else { continue };
            let value = value.trim();
            let text = || Some(value.to_owned());
            match key {
                "sort-key" => entry.sort_key = text(),
                "machine-id" => entry.machine_id = text(),
                "version" => entry.version = text(),
                "linux" | "efi" | "uki" => entry.image = Some(within(root, value)?),
                "initrd" => entry.initrd.push(within(root, value)?),
                "options" => options.push(value),
                "profile" => entry.has_profile = value != "0",
                "architecture" if !value.eq_ignore_ascii_case("x64") => return None,
                _ => {}
            }
        }
        entry.options = options.join(" ");
        Some(entry)
    }

    /// One that is named like its file, and has nothing yet.
    pub(super) fn of(path: PathBuf) -> Option<Self> {
        let (id, is_bad) = counted(path.file_name()?.to_str()?);
        Some(Self { id, is_bad, path, ..Self::default() })
    }

    /// The kernel that it boots.
    pub(super) fn installed(self) -> Result<Installed, NoKernel> {
        let no = |why| Err(NoKernel::Entry { id: self.id.clone(), why });
        if self.has_profile {
            return no("chooses another profile of a unified kernel image than the first");
        }
        let Some(image) = self.image else { return no("boots no Linux kernel") };
        let cmdline = Some(compose(Some(&self.options), None));
        Ok(Installed { image, initrd: self.initrd, cmdline, found: Found::Entry(self.path) })
    }

    /// Best first.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let newer = |a: &str, b: &str| version::compare(b, a);
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let has_key = |e: &Self| Reverse(e.sort_key.is_some());
        self.is_bad
            .cmp(&other.is_bad)
            .then_with(|| has_key(self).cmp(&has_key(other)))
            .then_with(|| match (&self.sort_key, &other.sort_key) {
                (Some(a), Some(b)) => a
                    .cmp(b)
                    .then_with(|| self.machine_id.cmp(&other.machine_id))
                    .then_with(|| newer(&text(&self.version), &text(&other.version))),
                _ => Ordering::Equal,
            })
            .then_with(|| newer(self.name(), other.name()))
    }

    /// The ID without its suffix.
    pub(super) fn name(&self) -> &str {
        self.id.rsplit_once('.').map_or(&*self.id, |(name, _)| name)
    }
}

/// The ID of an entry in a file with this name, and whether its attempts are used up:
/// `NAME+LEFT[-DONE].SUFFIX`.
fn counted(file: &str) -> (String, bool) {
    let count = || {
        let (stem, suffix) = file.rsplit_once('.')?;
        let (name, count) = stem.rsplit_once('+')?;
        let (left, done) = count.split_once('-').unwrap_or((count, "0"));
        let left: u32 = left.parse().ok()?;
        done.parse::<u32>().ok()?;
        Some((format!("{name}.{suffix}"), left == 0))
    };
    count().unwrap_or_else(|| (file.to_owned(), false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_attempts() {
        for (file, id, is_bad) in [
            ("debian-6.12.conf", "debian-6.12.conf", false),
            ("debian-6.12+3.conf", "debian-6.12.conf", false),
            ("debian-6.12+2-1.efi", "debian-6.12.efi", false),
            ("debian-6.12+0-3.efi", "debian-6.12.efi", true),
            ("6.12.95+deb12-amd64.conf", "6.12.95+deb12-amd64.conf", false),
        ] {
            assert_eq!(counted(file), (id.to_owned(), is_bad));
        }
    }

    #[test]
    fn sorts_as_the_specification_says() {
        let entry = |id: &str, key: &str, version: &str, is_bad| Entry {
            id: id.to_owned(),
            is_bad,
            sort_key: (!key.is_empty()).then(|| key.to_owned()),
            version: Some(version.to_owned()),
            ..Entry::default()
        };
        let sorted = [
            entry("x.conf", "arch", "1", false),
            entry("a.conf", "debian", "6.12.95", false),
            entry("b.conf", "debian", "6.12.9", false),
            entry("old-2.conf", "", "1", false),
            entry("old-1.conf", "", "2", false),
            entry("c.conf", "debian", "7.3", true),
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(a.order(b), i.cmp(&j), "{} {}", a.id, b.id);
            }
        }
    }

    #[test]
    fn reads_what_is_written() {
        let root = Path::new("/boot");
        let parse = |text| Entry::parse(root, "/boot/loader/entries/a+2.conf".into(), text);
        let text = "# comment\ntitle\tDebian 12\nversion   6.12\nmachine-id 0f\nsort-key debian\n\
                    linux /d/linux\ninitrd /d/a\ninitrd /d/b\noptions root=/dev/vda  ro\n\
                    options quiet initrd=/x\narchitecture X64\nnonsense\n\n";
        let entry = parse(text).unwrap();
        assert_eq!((entry.id.as_str(), entry.version.as_deref()), ("a.conf", Some("6.12")));
        let installed = entry.installed().unwrap();
        assert_eq!(installed.initrd, [Path::new("/boot/d/a"), Path::new("/boot/d/b")]);
        assert_eq!(installed.cmdline.as_deref(), Some("root=/dev/vda ro quiet"));
        assert_eq!(parse("linux /x\narchitecture aa64"), None);
        assert_eq!(parse("linux /../etc/shadow"), None);
        let why = |text| parse(text).unwrap().installed().unwrap_err().to_string();
        assert!(why("title Shell").contains("a.conf boots no Linux kernel; name the kernel"));
        assert!(why("uki /a.efi\nprofile 2").contains("another profile"));
    }
}
