//! What the next kernel can do, as far as its config and module tree show.
//!
//! | ability | config | module |
//! |---|---|---|
//! | see spans | `X86_PMEM_LEGACY`, `LIBNVDIMM`, `BLK_DEV_PMEM` | `nd_e820`, `libnvdimm`, `nd_pmem` |
//! | map files in place | `FS_DAX` | |
//! | mount the region | `EXT4_FS` | `ext4` |
//! | release it | `DEV_DAX`, `DEV_DAX_PMEM`, `DEV_DAX_KMEM` | `device_dax`, `dax_pmem`, `kmem` |
//!
//! The config is `config-RELEASE` beside the kernel, in `/boot` or as `config` in the module tree.
//! Modules may also be in the initrd.

use crate::files;
use crate::initrd::Contents;
use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// What can be said about an ability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is there.
    Yes,
    /// It is not, and why.
    No(String),
    /// It cannot be told, and why.
    Unknown(String),
}

impl Verdict {
    /// Both must be: the worse of the two, the first where they are equally bad.
    fn and(self, other: Self) -> Self {
        match (&self, &other) {
            (Self::No(_), _) | (_, Self::Yes) => self,
            (_, Self::No(_)) | (Self::Yes, _) => other,
            (Self::Unknown(_), Self::Unknown(_)) => self,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("yes"),
            Self::No(why) => write!(f, "no: {why}"),
            Self::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

/// The abilities that matter here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextKernel {
    /// Spans show up as `/dev/pmemN`.
    pub sees_spans: Verdict,
    /// Files on them can be mapped in place.
    pub maps_in_place: Verdict,
    /// ext4 can be mounted.
    pub mounts_ext4: Verdict,
    /// The region can be given back to System RAM.
    pub releases: Verdict,
}

impl NextKernel {
    /// Looks at what is installed below `root` (`/`) for the kernel file `kernel` of `release`
    /// (see [`crate::BzImage::release`]), and at its initrd for what is not installed.
    pub fn look(root: &Path, kernel: &Path, release: &str, initrd: &Contents) -> Self {
        let look = Look::at(root, kernel, release, initrd);
        let all = |options: &[(&str, Option<&str>)]| {
            options
                .iter()
                .map(|&(option, module)| look.verdict(option, module))
                .fold(Verdict::Yes, Verdict::and)
        };
        Self {
            sees_spans: all(&[
                ("X86_PMEM_LEGACY", Some("nd_e820")),
                ("LIBNVDIMM", Some("libnvdimm")),
                ("BLK_DEV_PMEM", Some("nd_pmem")),
            ]),
            maps_in_place: all(&[("FS_DAX", None)]),
            mounts_ext4: all(&[("EXT4_FS", Some("ext4"))]),
            releases: all(&[
                ("DEV_DAX", Some("device_dax")),
                ("DEV_DAX_PMEM", Some("dax_pmem")),
                ("DEV_DAX_KMEM", Some("kmem")),
            ]),
        }
    }
}

/// What could be read.
struct Look<'a> {
    release: String,
    /// The modules that the initrd has for this release.
    in_initrd: Option<&'a HashSet<String>>,
    /// Path and text.
    config: Option<(PathBuf, String)>,
    /// The module tree and the names of its modules.
    modules: Option<(PathBuf, HashSet<String>)>,
}

impl<'a> Look<'a> {
    fn at(root: &Path, kernel: &Path, release: &str, initrd: &'a Contents) -> Self {
        // The release comes from the kernel file: it must not lead out of the folders.
        let is_name = !release.is_empty() && !release.contains('/') && !release.starts_with('.');
        let release = if is_name { release } else { "" };
        let tree = root.join("lib/modules").join(release);
        let named = format!("config-{release}");
        let beside = kernel.parent().map(|folder| folder.join(&named));
        let places =
            beside.into_iter().chain([root.join("boot").join(&named), tree.join("config")]);
        let config =
            places.filter(|_| is_name).find_map(|p| Some((p.clone(), files::read_text(&p).ok()?)));
        let modules = is_name.then(|| module_names(&tree)).flatten().map(|names| (tree, names));
        let in_initrd = initrd.modules.get(release);
        Self { release: release.to_owned(), in_initrd, config, modules }
    }

    /// Whether the module is installed or in the initrd; none where neither can be told.
    fn has(&self, module: &str) -> Option<bool> {
        let in_tree = self.modules.as_ref().map(|(_, names)| names.contains(module));
        let in_initrd = self.in_initrd.is_some_and(|names| names.contains(module));
        if in_initrd { Some(true) } else { in_tree }
    }

    fn verdict(&self, option: &str, module: Option<&str>) -> Verdict {
        let in_tree = module.and_then(|m| self.has(m));
        if self.release.is_empty() {
            return Verdict::Unknown("the kernel file does not tell its release".to_owned());
        }
        let Some((config, text)) = &self.config else {
            return match (in_tree, &self.modules) {
                (Some(true), _) => Verdict::Yes,
                (Some(false), Some((tree, _))) => {
                    Verdict::No(format!("{} has no {}", tree.display(), module.unwrap_or("")))
                }
                _ => Verdict::Unknown(format!(
                    "no config-{} beside the kernel or in /boot to look CONFIG_{option} up in",
                    self.release
                )),
            };
        };
        match (setting(text, option), module) {
            (Some("y"), _) => Verdict::Yes,
            (Some("m"), Some(module)) => match (in_tree, &self.modules) {
                (Some(true), _) => Verdict::Yes,
                (_, Some((tree, _))) => Verdict::No(format!(
                    "CONFIG_{option} is a module, but {} has no {module}: install the modules",
                    tree.display()
                )),
                (_, None) => Verdict::Unknown(format!(
                    "CONFIG_{option} is a module, but there is no readable module tree for {}",
                    self.release
                )),
            },
            _ => Verdict::No(format!("CONFIG_{option} is not set in {}", config.display())),
        }
    }
}

/// The value of `CONFIG_option`.
fn setting<'a>(config: &'a str, option: &str) -> Option<&'a str> {
    let value =
        |line: &'a str| line.strip_prefix("CONFIG_")?.strip_prefix(option)?.strip_prefix('=');
    config.lines().find_map(value).map(str::trim)
}

/// The modules that the tree holds, with `-` as `_`: `modules.dep` (`path: dependencies`), or
/// `modules.order` where depmod has not run, and `modules.builtin` (one path a line each).
fn module_names(tree: &Path) -> Option<HashSet<String>> {
    let text = |file| files::read_text(&tree.join(file)).ok();
    let loadable = text("modules.dep").or_else(|| text("modules.order"))?;
    let builtin = text("modules.builtin").unwrap_or_default();
    let name = |line: &str| {
        let file = line.split(':').next()?.rsplit('/').next()?;
        Some(file.split_once(".ko")?.0.replace('-', "_"))
    };
    Some(loadable.lines().chain(builtin.lines()).filter_map(name).collect())
}
