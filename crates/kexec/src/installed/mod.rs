//! Which kernel this machine would boot: the default for the next one.
//!
//! | what boots this machine | image and initrd | command line |
//! |---|---|---|
//! | systemd-boot, or another loader without a GRUB configuration here | the default boot loader entry (`entries`) | the entry's |
//! | else, by Debian's links | `/vmlinuz`, or `/boot/vmlinuz` | that of GRUB's default entry (`grub`), if it boots this kernel; else the running kernel's |
//! | else | the running kernel's own file in `/boot` | the same |
//!
//! Entries come first only where they decide: a machine that GRUB boots may have stale ones, and one
//! that systemd-boot boots may have Debian's links, which nothing reads there. The links come before
//! the running kernel because a kernel that has just been installed is the reason for most kexecs.
//! GRUB's configuration is a program: its default entry is taken where that is plain to see, and the
//! running kernel's command line is what GRUB gave in this boot.

mod bootctl;
mod entries;
mod entry;
mod grub;
mod loader;
mod version;

use crate::cmdline::compose;
use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Where Debian's kernel packages link the newest kernel and its initrd
/// (`linux-update-symlinks(1)`, `kernel-img.conf(5)`: in `/` or, with `link_in_boot`, in `/boot`).
const LINKS: [(&str, &str); 2] = [("vmlinuz", "initrd.img"), ("boot/vmlinuz", "boot/initrd.img")];

/// A kernel that is installed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The image: a bzImage, or a unified kernel image.
    pub image: PathBuf,
    /// Its initrds, one after the other.
    pub initrd: Vec<PathBuf>,
    /// What the boot loader would give it as its command line; the running kernel's where that cannot
    /// be told. A unified kernel image takes nothing for its own.
    pub cmdline: Option<String>,
    /// Where it was found.
    pub found: Found,
}

/// Where a kernel was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// By the boot loader entry in this file.
    Entry(PathBuf),
    /// By this link.
    Link(PathBuf),
    /// By the running kernel's release.
    Running,
}

impl fmt::Display for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the next kernel is {}, ", self.image.display())?;
        match &self.found {
            Found::Entry(entry) => write!(f, "by the boot loader entry {}", entry.display())?,
            Found::Link(link) => write!(f, "by the link {}", link.display())?,
            Found::Running => f.write_str("which is running now")?,
        }
        f.write_str(match (&self.cmdline, &self.found) {
            (Some(_), Found::Entry(_)) => ", with the entry's command line",
            (Some(_), _) => ", with the command line of GRUB's default entry",
            (None, _) => ", with this kernel's command line",
        })
    }
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKernel {
    /// None is found.
    #[error(
        "no kernel to boot: neither a link /vmlinuz or /boot/vmlinuz to an image, nor \
         /boot/vmlinuz-{release}; name the kernel to go into"
    )]
    Nowhere {
        /// The running kernel's release.
        release: String,
    },
    /// The default boot loader entry is none that can be kexec'ed.
    #[error("the default boot loader entry {id} {why}; name the kernel to go into")]
    Entry {
        /// Its ID.
        id: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// The kernel that this machine would boot.
///
/// # Errors
/// None is found, or the boot loader would boot something else.
pub fn installed() -> Result<Installed, NoKernel> {
    below(Path::new("/"), &running_release(), bootctl::list)
}

/// The kernel that is running.
///
/// # Errors
/// Its file is not there any more.
pub fn running() -> Result<Installed, NoKernel> {
    of_release(Path::new("/"), &running_release())
}

fn running_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// The kernel that the machine with this root would boot; `list` asks bootctl.
fn below(
    root: &Path,
    release: &str,
    list: impl FnOnce() -> Option<Vec<u8>>,
) -> Result<Installed, NoKernel> {
    if loader::reads_entries(root) {
        let told = list().and_then(|json| bootctl::default_entry(&json));
        if let Some(entry) = told.or_else(|| entries::default_entry(root)) {
            return entry.installed();
        }
    }
    for (link, initrd) in LINKS {
        let Ok(image) = resolve(root, link) else { continue };
        let initrd = resolve(root, initrd).into_iter().collect();
        let cmdline = image.file_name().and_then(|name| grub::cmdline(root, name.to_str()?));
        let cmdline = cmdline.map(|given| compose(Some(&given), None));
        let found = Found::Link(root.join(link));
        return Ok(Installed { image, initrd, cmdline, found });
    }
    of_release(root, release)
}

fn of_release(root: &Path, release: &str) -> Result<Installed, NoKernel> {
    let image = resolve(root, &format!("boot/vmlinuz-{release}"));
    let image = image.map_err(|_| NoKernel::Nowhere { release: release.to_owned() })?;
    let initrd = resolve(root, &format!("boot/initrd.img-{release}")).into_iter().collect();
    Ok(Installed { image, initrd, cmdline: None, found: Found::Running })
}

/// The file itself: its name says which kernel it is.
fn resolve(root: &Path, name: &str) -> io::Result<PathBuf> {
    root.join(name).canonicalize()
}

/// A path of an entry, which is one from the root of the entry's filesystem; none that leads out of it.
fn within(root: &Path, path: &str) -> Option<PathBuf> {
    let path = Path::new(path.trim_start_matches('/'));
    let is_plain = path.components().all(|c| matches!(c, Component::Normal(_)));
    (is_plain && !path.as_os_str().is_empty()).then(|| root.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    const NO_BOOTCTL: fn() -> Option<Vec<u8>> = || None;

    fn write(root: &Path, path: &str, text: impl AsRef<[u8]>) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_links_come_first_then_the_running_kernel() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let boot = root.join("boot");
        let error = below(root, "1-amd64", NO_BOOTCTL).unwrap_err().to_string();
        assert!(
            error.contains("/boot/vmlinuz-1-amd64") && error.contains("name the kernel"),
            "{error}"
        );
        for name in ["vmlinuz-1-amd64", "vmlinuz-2-amd64", "initrd.img-2-amd64"] {
            write(&boot, name, name);
        }
        let own = below(root, "1-amd64", NO_BOOTCTL).unwrap();
        let image = boot.join("vmlinuz-1-amd64");
        let want = Installed { image, initrd: vec![], cmdline: None, found: Found::Running };
        assert_eq!(own, want);
        symlink("boot/vmlinuz-2-amd64", root.join("vmlinuz")).unwrap();
        symlink("boot/initrd.img-2-amd64", root.join("initrd.img")).unwrap();
        let newest = below(root, "1-amd64", NO_BOOTCTL).unwrap();
        let want = Installed {
            image: boot.join("vmlinuz-2-amd64"),
            initrd: vec![boot.join("initrd.img-2-amd64")],
            cmdline: None,
            found: Found::Link(root.join("vmlinuz")),
        };
        assert_eq!(newest, want);
        assert!(newest.to_string().ends_with("vmlinuz, with this kernel's command line"));
        let cfg = "set default=\"0\"\nmenuentry 'Debian' {\n\
                   linux /vmlinuz-2-amd64 root=UUID=7 quiet initrd=/x\n}\n";
        write(root, "boot/grub/grub.cfg", cfg);
        let newest = below(root, "1-amd64", NO_BOOTCTL).unwrap();
        assert_eq!(newest.cmdline.as_deref(), Some("root=UUID=7 quiet"));
        assert!(newest.to_string().ends_with("with the command line of GRUB's default entry"));
    }

    #[test]
    fn entries_count_where_they_decide() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        write(root, "boot/vmlinuz-1", "");
        symlink("boot/vmlinuz-1", root.join("vmlinuz")).unwrap();
        write(
            root,
            "boot/loader/entries/a.conf",
            "linux /a/linux\ninitrd /a/x\ninitrd a/y\noptions ro\noptions quiet\n",
        );
        let json =
            br#"[{"type":"type1","id":"b.conf","path":"/efi/loader/entries/b.conf","root":"/efi",
            "linux":"/b/linux","isDefault":true}]"#;
        let ask = |with: bool| below(root, "1", || with.then(|| json.to_vec())).unwrap();
        let read = ask(false);
        let boot = root.join("boot");
        let want = Installed {
            image: boot.join("a/linux"),
            initrd: vec![boot.join("a/x"), boot.join("a/y")],
            cmdline: Some("ro quiet".to_owned()),
            found: Found::Entry(boot.join("loader/entries/a.conf")),
        };
        assert_eq!(read, want);
        assert_eq!(ask(true).image, Path::new("/efi/b/linux"), "bootctl knows better");
        // GRUB boots this machine.
        write(root, "boot/grub/grub.cfg", "");
        assert_eq!(ask(true).found, Found::Link(root.join("vmlinuz")));
        // It does not after all.
        loader::tests::set(root, "LoaderInfo", "systemd-boot 252.39");
        assert_eq!(ask(true).image, Path::new("/efi/b/linux"));
        // GRUB 2.12 sets it too.
        loader::tests::set(root, "LoaderInfo", "GRUB 2.12-9");
        assert_eq!(ask(true).found, Found::Link(root.join("vmlinuz")));
    }

    #[test]
    fn paths_stay_within_their_filesystem() {
        let root = Path::new("/efi");
        assert_eq!(within(root, "/a/b"), Some("/efi/a/b".into()));
        assert_eq!(within(root, "a"), Some("/efi/a".into()));
        for bad in ["", "/", "../a", "/a/../../b", "/.."] {
            assert_eq!(within(root, bad), None, "{bad}");
        }
    }
}
