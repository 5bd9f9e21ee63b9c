//! Which kernel this machine would boot: the default for the next one.

use std::io;
use std::path::{Path, PathBuf};

/// Where Debian's kernel packages link the newest kernel and its initrd
/// (`linux-update-symlinks(1)`, `kernel-img.conf(5)`: in `/` or, with `link_in_boot`, in `/boot`).
const LINKS: [(&str, &str); 2] = [("vmlinuz", "initrd.img"), ("boot/vmlinuz", "boot/initrd.img")];

/// A kernel that is installed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The image.
    pub image: PathBuf,
    /// Its initrd, if it has one.
    pub initrd: Option<PathBuf>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
#[error(
    "no kernel to boot: neither a link /vmlinuz or /boot/vmlinuz to an image, nor \
     /boot/vmlinuz-{release}"
)]
pub struct NoKernel {
    release: String,
}

/// The kernel that this machine would boot, by what is below `root`.
///
/// # Errors
/// None is found.
pub fn installed(root: &Path, release: &str) -> Result<Installed, NoKernel> {
    for (image, initrd) in LINKS {
        if let Ok(image) = resolve(root, image) {
            return Ok(Installed { image, initrd: resolve(root, initrd).ok() });
        }
    }
    of_release(root, release)
}

/// The kernel of this release, by what is below `root`.
///
/// # Errors
/// It is not installed.
pub fn of_release(root: &Path, release: &str) -> Result<Installed, NoKernel> {
    let image = resolve(root, &format!("boot/vmlinuz-{release}"));
    let image = image.map_err(|_| NoKernel { release: release.to_owned() })?;
    Ok(Installed { image, initrd: resolve(root, &format!("boot/initrd.img-{release}")).ok() })
}

/// The file itself: its name says which kernel it is.
fn resolve(root: &Path, name: &str) -> io::Result<PathBuf> {
    root.join(name).canonicalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_links_come_first_then_the_running_kernel() {
        let root = tempfile::tempdir().unwrap();
        let boot = root.path().join("boot");
        fs::create_dir(&boot).unwrap();
        let root = root.path();
        let error = installed(root, "1-amd64").unwrap_err().to_string();
        assert!(error.contains("/boot/vmlinuz-1-amd64"), "{error}");
        for name in ["vmlinuz-1-amd64", "vmlinuz-2-amd64", "initrd.img-2-amd64"] {
            fs::write(boot.join(name), name).unwrap();
        }
        let own = installed(root, "1-amd64").unwrap();
        assert_eq!(own, Installed { image: boot.join("vmlinuz-1-amd64"), initrd: None });
        symlink("boot/vmlinuz-2-amd64", root.join("vmlinuz")).unwrap();
        symlink("boot/initrd.img-2-amd64", root.join("initrd.img")).unwrap();
        let newest = installed(root, "1-amd64").unwrap();
        assert_eq!(newest.image, boot.join("vmlinuz-2-amd64"));
        assert_eq!(newest.initrd, Some(boot.join("initrd.img-2-amd64")));
    }
}
