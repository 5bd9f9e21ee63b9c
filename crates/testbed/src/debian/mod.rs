//! Debian systems with systemd, as root images that machines boot from.
//!
//! ```text
//! Debian's mirror ─ mmdebstrap, dpkg ─► root folder ─ mke2fs ─► $PKRAM_CACHE/roots/SUITE-KEY/
//!                                                                  root.img            ext4
//!                                                                  initrd.img-RELEASE  as in its /boot
//!                                                                  kexec-tools/*.deb   not installed
//!                                                                  manifest.json       SHA-256 of all
//! ```
//!
//! KEY changes with what an image is made from. Once made, an image is only checked: no network,
//! no root.

mod build;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::artifacts::{Artifacts, Kernel, debs_below, fresh_folder, lock};
use crate::forget::forget_old;
use crate::sha256::{self, Digests};

/// What finds the root filesystem, for the kernel command line; goes with [`crate::APPEND`].
pub const DEBIAN_ROOT: &str = "root=LABEL=debian rw";

/// The code that decides what is in an image is what the image is made from.
const RECIPE: [&str; 2] = [include_str!("build.rs"), include_str!("system.sh")];

/// A release of Debian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suite {
    /// Debian 12, with systemd 252.
    Bookworm,
    /// Debian 13, with systemd 257.
    Trixie,
}

impl Suite {
    /// Its name on a mirror.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }
}

impl Kernel {
    /// Where Debian machines find the initramfs that initramfs-tools made for this kernel.
    #[must_use]
    pub fn debian_initrd(&self) -> String {
        format!("/boot/{}", initrd(self))
    }
}

fn initrd(kernel: &Kernel) -> String {
    format!("initrd.img-{}", kernel.release)
}

/// A checked image.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    folder: PathBuf,
}

impl Root {
    /// Opens the image of `suite`; one that is not in the cache is made.
    ///
    /// # Errors
    /// No network or not root where it must be made, or a file that is not what it was then.
    pub(crate) fn open(
        artifacts: &Artifacts,
        suite: Suite,
        progress: &dyn Fn(&str),
    ) -> Result<Self> {
        let roots = artifacts.folder.join("roots");
        fs::create_dir_all(&roots).with_context(|| format!("make {}", roots.display()))?;
        let _lock = lock(&roots)?;
        let folder = roots.join(format!("{}-{}", suite.name(), key(artifacts, &roots)?));
        let manifest = folder.join("manifest.json");
        if !manifest.exists() {
            progress(&format!("making a Debian {} system", suite.name()));
            forget_old(&roots)?;
            let digests = make(&folder, artifacts, suite)
                .with_context(|| format!("make a Debian {} system", suite.name()))?;
            fs::write(&manifest, serde_json::to_vec_pretty(&digests)?)?;
        }
        let digests: Digests = serde_json::from_slice(&fs::read(&manifest)?)
            .with_context(|| format!("read {}", manifest.display()))?;
        sha256::verify(&folder, &digests)?;
        Ok(Self { folder })
    }

    /// The root filesystem.
    pub(crate) fn image(&self) -> PathBuf {
        self.folder.join("root.img")
    }

    /// The initramfs that it has for a kernel.
    pub(crate) fn initrd(&self, kernel: &Kernel) -> PathBuf {
        self.folder.join(initrd(kernel))
    }

    /// kexec-tools and what it needs that the system does not have.
    pub(crate) fn kexec_tools(&self) -> Result<Vec<PathBuf>> {
        debs_below(&self.folder.join("kexec-tools"))
    }
}

fn key(artifacts: &Artifacts, roots: &Path) -> Result<String> {
    let list = roots.join("inputs");
    fs::write(&list, [&artifacts.digest()?, "\n", &RECIPE.concat()].concat())?;
    Ok(sha256::digest(&list)?[..16].to_owned())
}

fn make(folder: &Path, artifacts: &Artifacts, suite: Suite) -> Result<Digests> {
    // An earlier attempt may have been interrupted.
    let folder = &fresh_folder(folder)?;
    let root = Root { folder: folder.to_owned() };
    build::image(&root, artifacts, suite)?;
    let mut paths = root.kexec_tools()?;
    paths.push(root.image());
    paths.extend(artifacts.kernels.iter().map(|kernel| root.initrd(kernel)));
    let relative: Vec<_> =
        paths.iter().map(|path| path.strip_prefix(folder)).collect::<Result<_, _>>()?;
    sha256::digests(folder, &relative)
}
