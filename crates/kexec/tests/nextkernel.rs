//! Verdicts on kernels as they may be installed.

use kexec::initrd::Contents;
use kexec::nextkernel::{NextKernel, Verdict};
use std::fs;
use std::path::Path;

const CONFIG: &str = "# Linux\nCONFIG_X86_PMEM_LEGACY_DEVICE=y\nCONFIG_X86_PMEM_LEGACY=m\n\
    CONFIG_LIBNVDIMM=m\nCONFIG_BLK_DEV_PMEM=m\nCONFIG_FS_DAX=y\nCONFIG_EXT4_FS=y\nCONFIG_DEV_DAX=m\n\
    CONFIG_DEV_DAX_PMEM=m\nCONFIG_DEV_DAX_KMEM=m\n";
const MODULES: &str = "kernel/drivers/nvdimm/nd_e820.ko.xz: kernel/drivers/nvdimm/libnvdimm.ko.xz\n\
    kernel/drivers/nvdimm/libnvdimm.ko.xz:\nkernel/drivers/nvdimm/nd_pmem.ko.xz:\n\
    kernel/drivers/dax/device_dax.ko:\nkernel/drivers/dax/dax_pmem.ko:\nkernel/drivers/dax/kmem.ko:\n";

/// Looks at a machine with this config and these modules, where there are any.
fn look(config: Option<&str>, modules: Option<&str>) -> NextKernel {
    look_at(config, "modules.dep", modules)
}

fn look_at(config: Option<&str>, list: &str, modules: Option<&str>) -> NextKernel {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: Option<&str>| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        text.map_or(Ok(()), |text| fs::write(path, text)).unwrap();
    };
    write("boot/config-9.9-test", config);
    write(&format!("lib/modules/9.9-test/{list}"), modules);
    NextKernel::look(root.path(), Path::new("/nowhere/vmlinuz"), "9.9-test", &Contents::default())
}

fn without(text: &str, word: &str) -> String {
    text.lines().filter(|l| !l.contains(word)).map(|l| format!("{l}\n")).collect()
}

#[test]
fn a_kernel_with_everything() {
    let all = look(Some(CONFIG), Some(MODULES));
    assert!(
        [&all.sees_spans, &all.maps_in_place, &all.mounts_ext4, &all.releases]
            .into_iter()
            .all(|v| *v == Verdict::Yes),
        "{all:?}"
    );
}

#[test]
fn what_is_missing_is_named() {
    for option in ["X86_PMEM_LEGACY=", "LIBNVDIMM", "BLK_DEV_PMEM"] {
        let Verdict::No(why) = look(Some(&without(CONFIG, option)), Some(MODULES)).sees_spans
        else {
            panic!("{option}")
        };
        assert!(why.contains(option.trim_end_matches('=')), "{why}");
    }
    let Verdict::No(why) = look(Some(CONFIG), Some(&without(MODULES, "nd_pmem"))).sees_spans else {
        panic!()
    };
    assert!(why.contains("has no nd_pmem: install the modules"), "{why}");
    let no_dax = look(Some(&without(CONFIG, "FS_DAX")), Some(MODULES));
    assert!(matches!(no_dax.maps_in_place, Verdict::No(_)));
    assert_eq!(no_dax.sees_spans, Verdict::Yes);
}

#[test]
fn a_module_in_the_initrd_is_there() {
    let names = ["nd_e820", "libnvdimm", "nd_pmem"].map(str::to_owned).into_iter().collect();
    let modules = [("9.9-test".to_owned(), names)].into_iter().collect();
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("boot")).unwrap();
    fs::write(root.path().join("boot/config-9.9-test"), CONFIG).unwrap();
    let kernel = Path::new("/nowhere/vmlinuz");
    let with = NextKernel::look(root.path(), kernel, "9.9-test", &Contents { bytes: 0, modules });
    assert_eq!(with.sees_spans, Verdict::Yes);
    let without = NextKernel::look(root.path(), kernel, "9.9-test", &Contents::default());
    assert!(matches!(without.sees_spans, Verdict::Unknown(_)));
}

#[test]
fn what_cannot_be_told_is_unknown() {
    let nothing = look(None, None);
    assert!(matches!(nothing.sees_spans, Verdict::Unknown(_)));
    let no_modules = look(Some(CONFIG), None);
    assert!(matches!(no_modules.sees_spans, Verdict::Unknown(_)));
    assert_eq!(no_modules.mounts_ext4, Verdict::Yes);
    // What is built in says nothing of what is not; the order of the build does.
    let builtin = look_at(Some(CONFIG), "modules.builtin", Some("kernel/lib/crc32c.ko\n"));
    assert!(matches!(builtin.sees_spans, Verdict::Unknown(_)));
    let unindexed = MODULES.replace(":\n", "\n");
    let before_depmod = look_at(Some(CONFIG), "modules.order", Some(&unindexed));
    assert_eq!(before_depmod.sees_spans, Verdict::Yes);
    // Without a config the module tree speaks for modules, but not for FS_DAX.
    let no_config = look(None, Some(MODULES));
    assert_eq!(no_config.sees_spans, Verdict::Yes);
    assert!(matches!(no_config.maps_in_place, Verdict::Unknown(_)));
}

#[test]
fn a_release_leads_nowhere_else() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("lib/modules")).unwrap();
    fs::write(root.path().join("lib/config"), CONFIG).unwrap();
    for release in ["..", "../x", "", "a/b"] {
        let look = NextKernel::look(
            root.path(),
            Path::new("/nowhere/vmlinuz"),
            release,
            &Contents::default(),
        );
        assert!(matches!(look.mounts_ext4, Verdict::Unknown(_)), "{release}");
    }
}
