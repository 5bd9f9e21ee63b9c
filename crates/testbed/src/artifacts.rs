//! Stock Debian kernels and programs: fetched once, kept in a cache, checked on every use.
//!
//! ```text
//! $PKRAM_CACHE (else $XDG_CACHE_HOME/pkram, else ~/.cache/pkram)
//!   manifest.json      what is here, with SHA-256 of every package and kernel
//!   debs/SET/*.deb     the packages as fetched
//!   trees/SET/         the same, unpacked;  SET is 6.1, 6.12, 7.3 or root
//! ```

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use pkram::region::mountinfo::mounts;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::apt::Apt;
use crate::run::{pipe, run};
use crate::sha256::{self, Digests};

/// Version and suite of every kernel that scenarios can name.
pub const KERNELS: [(&str, &str); 3] =
    [("6.1", "bookworm"), ("6.12", "bookworm-backports"), ("7.3", "trixie-backports")];

/// The Debian programs that guests find in `/usr`, and the suite they come from.
const ROOT_SUITE: &str = "bookworm";
const ROOT_PACKAGES: [&str; 14] = [
    "acl",
    "attr",
    "bash",
    "coreutils",
    "dash",
    "e2fsprogs",
    "findutils",
    "grep",
    "kexec-tools",
    "kmod",
    "memcached",
    "mount",
    "sed",
    "util-linux",
];

/// QEMU, for guests of guests. Of its common package, which brings sound and screens with it, one
/// file is wanted, and of its network boot nothing; so only what else it depends on comes along.
const QEMU: &str = "qemu-system-x86";
const QEMU_COMMON: &str = "qemu-system-common";
const QEMU_NETBOOT: &str = "ipxe-qemu";

/// What a machine with Secure Boot boots through, without what their maintainer scripts need.
const SIGNED: [&str; 2] = ["shim-signed", "grub-efi-amd64-signed"];

/// What no guest reads, below `/usr`.
const UNREAD: [&str; 6] = [
    "share/doc",
    "share/man",
    "share/locale",
    "share/icons",
    "share/bash-completion",
    "lib/x86_64-linux-gnu/gconv",
];

/// Folders below `/usr` of which guests read only these files: what a QEMU in a guest needs for a
/// PC without a screen, and the one image of GRUB that [`SIGNED`] is for.
const READ: [(&str, &[&str]); 4] = [
    ("share/qemu", &["kvmvapic.bin", "linuxboot_dma.bin"]),
    ("share/seabios", &["bios-256k.bin"]),
    ("lib/x86_64-linux-gnu/qemu", &["accel-tcg-x86_64.so"]),
    ("lib/grub", &["grubx64.efi.signed"]),
];

/// A stock kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// The name in [`KERNELS`], such as `6.12`.
    pub version: String,
    /// What `uname -r` says.
    pub release: String,
    /// The bzImage.
    pub image: PathBuf,
    /// The kernel's `config`.
    pub config: PathBuf,
}

/// The checked cache.
#[derive(Debug)]
pub(crate) struct Artifacts {
    /// In the order of [`KERNELS`].
    pub(crate) kernels: Vec<Kernel>,
    pub(crate) folder: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    /// [`programs`] when this was fetched.
    programs: Vec<String>,
    kernels: Vec<Kernel>,
    digests: Digests,
}

impl Manifest {
    /// What an earlier run left, if it can be read.
    fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }
}

impl Artifacts {
    /// Opens the cache; what is not there yet, or all with `refresh`, is fetched.
    ///
    /// # Errors
    /// No network on the first run, or a file that is not what it was when it was fetched.
    pub(crate) fn open(refresh: bool, progress: &dyn Fn(&str)) -> Result<Self> {
        let folder = cache_folder()?;
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let _lock = lock(&folder)?;
        let path = folder.join("manifest.json");
        let known = if refresh { None } else { Manifest::read(&path) };
        let manifest = match known.filter(|manifest| manifest.programs == programs()) {
            Some(manifest) => manifest,
            None => {
                let manifest = fetch(&folder, progress).context("fetch kernels and programs")?;
                fs::write(&path, serde_json::to_vec_pretty(&manifest)?)?;
                manifest
            }
        };
        sha256::verify(&folder, &manifest.digests)?;
        let mut kernels = manifest.kernels;
        for kernel in &mut kernels {
            kernel.image = folder.join(&kernel.image);
            kernel.config = folder.join(&kernel.config);
        }
        Ok(Self { kernels, folder })
    }

    /// Changes whenever anything in the cache does.
    pub(crate) fn digest(&self) -> Result<String> {
        sha256::digest(&self.folder.join("manifest.json"))
    }

    /// The packages of a set, as fetched.
    pub(crate) fn packages(&self, set: &str) -> Result<Vec<PathBuf>> {
        debs_below(&self.folder.join("debs").join(set))
    }

    /// The Debian programs, as a root folder.
    pub(crate) fn root(&self) -> PathBuf {
        self.tree("root")
    }

    /// Everything that came with a kernel, as a root folder.
    pub(crate) fn tree(&self, set: &str) -> PathBuf {
        self.folder.join("trees").join(set)
    }
}

/// Takes an exclusive lock that lasts as long as the file is open.
pub(crate) fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    flock(&file, FlockOperation::LockExclusive).context("wait for the lock")?;
    Ok(file)
}

fn cache_folder() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(folder) = variable("PKRAM_CACHE") {
        return Ok(std::path::absolute(folder)?);
    }
    let base = match variable("XDG_CACHE_HOME") {
        Some(base) => PathBuf::from(base),
        None => PathBuf::from(variable("HOME").context("set HOME or PKRAM_CACHE")?).join(".cache"),
    };
    Ok(base.join("pkram"))
}

fn programs() -> Vec<String> {
    ROOT_PACKAGES.into_iter().chain([QEMU]).chain(SIGNED).map(str::to_owned).collect()
}

fn fetch(folder: &Path, progress: &dyn Fn(&str)) -> Result<Manifest> {
    progress(&format!("fetching programs from {ROOT_SUITE}"));
    let debs = fresh_folder(&folder.join("debs/root"))?;
    let apt = Apt::open(&folder.join("apt").join(ROOT_SUITE), ROOT_SUITE)?;
    let mut needs = apt.depends(QEMU)?;
    needs.retain(|name| ![QEMU_COMMON, QEMU_NETBOOT].contains(&name.as_str()));
    needs.extend(ROOT_PACKAGES.map(str::to_owned));
    apt.download_closure(&needs, &debs)?;
    apt.download(&[QEMU, QEMU_COMMON].map(str::to_owned), &debs)?;
    apt.download(&SIGNED.map(str::to_owned), &debs)?;
    let root = unpack(&debs, &folder.join("trees/root"))?;
    prune(&root)?;

    let mut kernels = Vec::new();
    for (version, suite) in KERNELS {
        progress(&format!("fetching kernel {version} from {suite}"));
        let debs = fresh_folder(&folder.join("debs").join(version))?;
        let apt = Apt::open(&folder.join("apt").join(suite), suite)?;
        let release = fetch_kernel(&apt, &debs)?;
        let tree = unpack(&debs, &folder.join("trees").join(version))?;
        depmod(&root, &tree, &release)?;
        kernels.push(kernel(folder, &tree, version, release)?);
    }

    // What was made of earlier packages, or does not check out.
    let _ = fs::remove_dir_all(folder.join("roots"));
    let mut paths = debs_below(&folder.join("debs"))?;
    paths.extend(kernels.iter().flat_map(|k| [folder.join(&k.image), folder.join(&k.config)]));
    let relative: Vec<_> =
        paths.iter().map(|path| path.strip_prefix(folder)).collect::<Result<_, _>>()?;
    Ok(Manifest { programs: programs(), kernels, digests: sha256::digests(folder, &relative)? })
}

/// Runs the fetched `depmod` over a tree; this machine need not have one.
pub(crate) fn depmod(root: &Path, tree: &Path, release: &str) -> Result<()> {
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    run(Command::new(libraries.join("ld-linux-x86-64.so.2"))
        .arg("--library-path")
        .arg(&libraries)
        .args(["--argv0", "depmod"])
        .arg(root.join("usr/bin/kmod"))
        .arg("-b")
        .arg(tree)
        .arg(release))
    .map(drop)
}

/// Drops what no guest reads, for a smaller disk.
fn prune(root: &Path) -> Result<()> {
    for folder in UNREAD {
        let folder = root.join("usr").join(folder);
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
        }
    }
    for (folder, read) in READ {
        let folder = root.join("usr").join(folder);
        run(Command::new("find")
            .arg(&folder)
            .args(["-mindepth", "1", "-not", "-type", "d"])
            .args(read.iter().flat_map(|name| ["-not", "-name", name]))
            .arg("-delete"))?;
    }
    Ok(())
}

/// Follows the meta package to the kernel's own packages; Debian splits newer ones in three.
fn fetch_kernel(apt: &Apt, debs: &Path) -> Result<String> {
    let image = apt
        .depends("linux-image-amd64")?
        .into_iter()
        .find(|name| name.starts_with("linux-image-"))
        .context("linux-image-amd64 depends on no linux-image-*")?;
    let release = image.trim_start_matches("linux-image-").to_owned();
    let mut packages: Vec<String> = apt
        .depends(&image)?
        .into_iter()
        .filter(|name| name.starts_with("linux-") && name.ends_with(&release))
        .collect();
    packages.push(image);
    apt.download(&packages, debs)?;
    Ok(release)
}

fn kernel(folder: &Path, tree: &Path, version: &str, release: String) -> Result<Kernel> {
    let find = |places: [String; 2]| {
        let path = places.iter().map(|place| tree.join(place)).find(|path| path.exists());
        let path = path.with_context(|| format!("neither of {places:?} in the packages"))?;
        anyhow::Ok(path.strip_prefix(folder)?.to_owned())
    };
    let modules = format!("usr/lib/modules/{release}");
    Ok(Kernel {
        version: version.to_owned(),
        image: find([format!("boot/vmlinuz-{release}"), format!("{modules}/vmlinuz")])?,
        config: find([format!("boot/config-{release}"), format!("{modules}/config")])?,
        release,
    })
}

/// Unpacks packages over a tree whose `/bin`, `/sbin`, `/lib` and `/lib64` are links into `/usr`.
fn unpack(debs: &Path, tree: &Path) -> Result<PathBuf> {
    fresh_folder(tree)?;
    for name in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(tree.join("usr").join(name))?;
        std::os::unix::fs::symlink(format!("usr/{name}"), tree.join(name))?;
    }
    for deb in debs_below(debs)? {
        // Not `dpkg-deb -x`: it replaces those links with directories.
        pipe(
            Command::new("dpkg-deb").arg("--fsys-tarfile").arg(&deb),
            Command::new("tar")
                .args(["-x", "--keep-directory-symlink", "--no-same-owner", "-C"])
                .arg(tree),
        )?;
    }
    Ok(tree.to_owned())
}

/// An empty folder, whatever was there before.
pub(crate) fn fresh_folder(path: &Path) -> Result<PathBuf> {
    if let Ok(real) = path.canonicalize() {
        // What a killed mmdebstrap leaves mounted is this machine's own /dev and /sys.
        let table = fs::read("/proc/self/mountinfo")?;
        if let Some(mount) = mounts(&table).find(|mount| mount.at.starts_with(&real)) {
            bail!("{} is still mounted, by a run that was killed: unmount it", mount.at.display());
        }
        fs::remove_dir_all(path).with_context(|| format!("remove {}", path.display()))?;
    }
    fs::create_dir_all(path).with_context(|| format!("make {}", path.display()))?;
    Ok(path.to_owned())
}

/// All packages in a folder and below, in order.
pub(crate) fn debs_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let text = run(Command::new("find").arg(folder).args(["-name", "*.deb", "-print"]))?;
    let mut paths: Vec<_> = text.lines().map(PathBuf::from).collect();
    paths.sort();
    if paths.is_empty() {
        bail!("no packages in {}", folder.display());
    }
    Ok(paths)
}
