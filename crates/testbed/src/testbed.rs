//! Everything that test machines are made of, prepared once.
//!
//! ```text
//! cache (packages) ─► programs ─► initramfs ─► artifacts disk ─► machines
//! ```
//!
//! Images live in `target/testbed/images/KEY`, where KEY changes with any of their inputs.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow};
use tempfile::TempDir;

use crate::accel::{self, Accel};
use crate::artifacts::{Artifacts, Kernel, depmod, lock};
use crate::debian::{Root, Suite};
use crate::forget::forget_old;
use crate::programs::{self, Programs};
use crate::vm::Builder;
use crate::{disk, host, initramfs, modules, sha256};

/// The code that decides what is in an image is one of the image's inputs.
const RECIPES: [&str; 3] =
    [include_str!("initramfs.rs"), include_str!("disk.rs"), include_str!("modules.rs")];

/// A prepared testbed; make one per process and share it.
#[derive(Debug)]
pub struct Testbed {
    pub(crate) artifacts: Artifacts,
    pub(crate) images: Images,
    pub(crate) accel: Accel,
    pub(crate) runs: PathBuf,
    pub(crate) guest: PathBuf,
    /// Made or checked when the first machine asks.
    roots: Mutex<BTreeMap<Suite, Root>>,
}

/// The two images that every machine gets.
#[derive(Debug, Clone)]
pub(crate) struct Images {
    pub(crate) initrd: PathBuf,
    pub(crate) disk: PathBuf,
}

impl Testbed {
    /// Installs missing tools, opens the cache (fetching on the first run, or anew with
    /// `refresh`), builds our programs and the images.
    ///
    /// # Errors
    /// A missing tool that cannot be installed, no network on the first run, a damaged cache, or
    /// a program that does not build.
    pub fn prepare(refresh: bool, progress: &dyn Fn(&str)) -> Result<Self> {
        host::ensure_tools(progress)?;
        let artifacts = Artifacts::open(refresh, progress)?;
        let folder = folder()?;
        let runs = folder.join("runs");
        fs::create_dir_all(&runs).with_context(|| format!("make {}", runs.display()))?;
        let _lock = lock(&folder)?;
        let programs = programs::build(&folder.join("build"), progress)?;
        let images = images(&folder, &artifacts, &programs, progress)?;
        forget_old(&runs)?;
        let accel = accel::choose(&folder, artifacts.kernels.first(), &images, progress)?;
        let roots = Mutex::default();
        Ok(Self { artifacts, images, accel, runs, guest: programs.guest, roots })
    }

    /// The kernel with this version, such as `6.1`.
    ///
    /// # Errors
    /// No kernel has it.
    pub fn kernel(&self, version: &str) -> Result<&Kernel> {
        let known: Vec<_> = self.kernels().iter().map(|kernel| kernel.version.as_str()).collect();
        self.kernels()
            .iter()
            .find(|kernel| kernel.version == version)
            .with_context(|| format!("no kernel {version}; there are {}", known.join(", ")))
    }

    /// All kernels, old to new.
    #[must_use]
    pub fn kernels(&self) -> &[Kernel] {
        &self.artifacts.kernels
    }

    /// A folder with every kernel's image as `vmlinuz-RELEASE`, for tests that read kernels.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn kernel_folder(&self) -> Result<PathBuf> {
        let folder = folder()?.join("kernels");
        fs::create_dir_all(&folder)?;
        for kernel in self.kernels() {
            let path = folder.join(format!("vmlinuz-{}", kernel.release));
            fs::copy(&kernel.image, &path).with_context(|| format!("write {}", path.display()))?;
        }
        Ok(folder)
    }

    /// Who executes the guests' instructions, in words.
    #[must_use]
    pub fn accelerator(&self) -> &'static str {
        match self.accel {
            Accel::Kvm => "under KVM",
            Accel::Tcg => "under TCG (every instruction translated)",
        }
    }

    /// Begins a machine that boots `kernel`; `name` names its folder of logs.
    #[must_use]
    pub fn vm(&self, name: &str, kernel: &Kernel) -> Builder<'_> {
        Builder::new(self, name, kernel)
    }

    /// Begins a machine that boots `kernel` into a Debian system of its own.
    ///
    /// # Errors
    /// The system must be made, and there is no network or this is not root; or it is damaged.
    pub fn debian(&self, name: &str, suite: Suite, kernel: &Kernel) -> Result<Builder<'_>> {
        Ok(Builder::debian(self, name, kernel, &self.root(suite)?))
    }

    /// The packages that bring kexec-tools to a Debian machine, for [`Builder::install`].
    ///
    /// # Errors
    /// As [`debian`](Self::debian).
    pub fn kexec_tools(&self, suite: Suite) -> Result<Vec<PathBuf>> {
        self.root(suite)?.kexec_tools()
    }

    fn root(&self, suite: Suite) -> Result<Root> {
        let mut roots = self.roots.lock().map_err(|_| anyhow!("a system could not be made"))?;
        Ok(match roots.entry(suite) {
            Entry::Occupied(root) => root.get().clone(),
            Entry::Vacant(none) => {
                let progress = |step: &str| eprintln!("testbed: {step}");
                none.insert(Root::open(&self.artifacts, suite, &progress)?).clone()
            }
        })
    }
}

/// `target/testbed` of the build that runs.
///
/// # Errors
/// It cannot be made.
pub fn folder() -> Result<PathBuf> {
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => std::path::absolute(folder)?,
        None => programs::workspace()?.join("target"),
    };
    let folder = target.join("testbed");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    Ok(folder)
}

fn images(
    folder: &Path,
    artifacts: &Artifacts,
    programs: &Programs,
    progress: &dyn Fn(&str),
) -> Result<Images> {
    let all = folder.join("images");
    fs::create_dir_all(&all)?;
    let inputs = [
        artifacts.digest()?,
        sha256::digest(&programs.guest)?,
        sha256::digest(&programs.pkram)?,
        sha256::digest(&programs.warm_cache)?,
        RECIPES.concat(),
    ];
    let list = all.join("inputs");
    fs::write(&list, inputs.join("\n"))?;
    let key = sha256::digest(&list)?;
    let folder = all.join(&key[..16]);
    let images = Images { initrd: folder.join("initrd.img"), disk: folder.join("disk.img") };
    if images.disk.exists() {
        return Ok(images);
    }
    progress("making the initramfs and the artifacts disk");
    forget_old(&all)?;
    fs::create_dir_all(&folder)?;
    let at_boot = staged(&folder, artifacts, modules::install)?;
    initramfs::write(&images.initrd, programs, at_boot.path())?;
    let inner = folder.join("inner.img");
    initramfs::write_inner(&inner, programs)?;
    let on_demand = staged(&folder, artifacts, modules::install_on_demand)?;
    disk::write(&images.disk, artifacts, &[&images.initrd, &inner], on_demand.path())?;
    Ok(images)
}

/// A new folder with `lib/modules` of every kernel, as `install` fills it, ready for `modprobe`.
fn staged(
    folder: &Path,
    artifacts: &Artifacts,
    install: impl Fn(&Path, &str, &Path) -> Result<()>,
) -> Result<TempDir> {
    let stage = tempfile::tempdir_in(folder)?;
    for kernel in &artifacts.kernels {
        let target = stage.path().join("lib/modules").join(&kernel.release);
        fs::create_dir_all(&target)?;
        install(&artifacts.tree(&kernel.version), &kernel.release, &target)?;
        depmod(&artifacts.root(), stage.path(), &kernel.release)?;
    }
    Ok(stage)
}
