//! Which kernel modules a guest needs, and in which order they load.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::run;

/// Without these no guest is of use; a kernel may have them built in.
const NEEDED: [&str; 5] = ["virtio_pci", "virtio_blk", "ext4", "nd_e820", "nd_pmem"];

/// These not every kernel has; the first two are what `ext4` asks the crypto API for.
const WELCOME: [&str; 9] = [
    "crc32c_generic",
    "crc32c_intel",
    "device_dax",
    "dax_pmem",
    "kmem",
    "dm_mod",
    "loop",
    "nfit",
    "efivarfs",
];

/// These no guest loads by itself: they lie on the artifacts disk, for `modprobe -d /mnt/art`.
const ON_DEMAND: [&str; 2] = ["kvm_amd", "kvm_intel"];

/// Copies the needed modules, unpacked, from a kernel's tree to `folder` (its
/// `lib/modules/RELEASE`) and writes the list `load` that the guest follows.
pub(crate) fn install(tree: &Path, release: &str, folder: &Path) -> Result<()> {
    let list = copy(tree, release, folder, &WELCOME, &NEEDED)?;
    fs::write(folder.join("load"), list).context("write the load list")
}

/// The same with the modules that are loaded on demand, without a list.
pub(crate) fn install_on_demand(tree: &Path, release: &str, folder: &Path) -> Result<()> {
    copy(tree, release, folder, &[], &ON_DEMAND).map(drop)
}

/// Copies modules with what they depend on, and returns their paths in the order of loading.
fn copy(
    tree: &Path,
    release: &str,
    folder: &Path,
    welcome: &[&str],
    needed: &[&str],
) -> Result<String> {
    let source = tree.join("lib/modules").join(release);
    let order = load_order(&Inventory::read(&source)?, welcome, needed)
        .with_context(|| format!("modules of {release}"))?;
    let mut list = String::new();
    for path in &order {
        let plain = path.trim_end_matches(".xz");
        let target = folder.join(plain);
        fs::create_dir_all(target.parent().context("a module at the root")?)?;
        copy_unpacked(&source.join(path), &target)?;
        list.push_str(plain);
        list.push('\n');
    }
    for name in ["modules.builtin", "modules.builtin.modinfo", "modules.order"] {
        fs::copy(source.join(name), folder.join(name)).with_context(|| name.to_owned())?;
    }
    Ok(list)
}

fn copy_unpacked(from: &Path, to: &Path) -> Result<()> {
    if from.extension().is_none_or(|extension| extension != "xz") {
        fs::copy(from, to).with_context(|| format!("copy {}", from.display()))?;
        return Ok(());
    }
    let packed = to.with_extension("ko.xz");
    fs::copy(from, &packed).with_context(|| format!("copy {}", from.display()))?;
    run(Command::new("xz").args(["--decompress", "--force"]).arg(&packed)).map(drop)
}

/// What `depmod` found in a kernel's tree.
struct Inventory {
    /// Path and the paths that it depends on, by module name.
    loadable: HashMap<String, (String, Vec<String>)>,
    builtin: Vec<String>,
}

impl Inventory {
    fn read(folder: &Path) -> Result<Self> {
        let read = |name| {
            let path = folder.join(name);
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        Ok(Self::parse(&read("modules.dep")?, &read("modules.builtin")?))
    }

    fn parse(dep: &str, builtin: &str) -> Self {
        let loadable = dep
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(path, needs)| {
                let needs = needs.split_whitespace().map(str::to_owned).collect();
                (name(path), (path.to_owned(), needs))
            })
            .collect();
        Self { loadable, builtin: builtin.lines().map(name).collect() }
    }
}

/// `kernel/drivers/md/dm-mod.ko.xz` is the module `dm_mod`.
fn name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

/// Every wanted module after all that it depends on.
fn load_order(inventory: &Inventory, welcome: &[&str], needed: &[&str]) -> Result<Vec<String>> {
    let mut order = Vec::new();
    let welcome = welcome.iter().filter(|name| inventory.loadable.contains_key(**name));
    for wanted in welcome.chain(needed) {
        let Some((path, needs)) = inventory.loadable.get(*wanted) else {
            if inventory.builtin.iter().any(|name| name == wanted) {
                continue;
            }
            bail!("{wanted} is neither a module nor built in");
        };
        // depmod lists what to load first last.
        for path in needs.iter().rev().chain([path]) {
            if !order.contains(path) {
                order.push(path.clone());
            }
        }
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILTIN: &str = "kernel/drivers/virtio/virtio_pci.ko\nkernel/drivers/block/virtio_blk.ko\n\
                           kernel/drivers/nvdimm/nd_e820.ko\nkernel/drivers/nvdimm/nd_pmem.ko\n";

    #[test]
    fn dependencies_come_first_and_once() {
        let dep = "k/dm-mod.ko.xz:\nk/mbcache.ko.xz:\nk/jbd2.ko.xz: k/crc.ko.xz\nk/crc.ko.xz:\n\
                   k/ext4.ko.xz: k/mbcache.ko.xz k/jbd2.ko.xz k/crc.ko.xz\nk/kmem.ko.xz: k/crc.ko.xz\n";
        let order = load_order(&Inventory::parse(dep, BUILTIN), &WELCOME, &NEEDED).unwrap();
        let expected = ["crc", "kmem", "dm-mod", "jbd2", "mbcache", "ext4"];
        assert_eq!(order, expected.map(|name| format!("k/{name}.ko.xz")));
    }

    #[test]
    fn a_kernel_without_a_needed_module_is_refused_by_name() {
        let error =
            load_order(&Inventory::parse("", BUILTIN), &WELCOME, &NEEDED).unwrap_err().to_string();
        assert!(error.contains("ext4"), "{error}");
    }
}
