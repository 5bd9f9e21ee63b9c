//! EFI and ACPI, from a made-up `/sys` to the boot block.

mod common;

use common::{Header, bzimage};
use kexec::efi::{EfiError, EfiState};
use kexec::{Boot, BzImage, OldBootParams, acpi};
use linux_loader::bootparam::{boot_params, efi_info};
use physmem::{E820Type, MemoryMap, PhysRange};
use std::fs;
use std::path::Path;
use vm_memory::ByteValued;

/// As `/sys/firmware/efi/systab` shows it: newer tables first.
const SYSTAB: &str = "ACPI20=0x7fb7e014\nACPI=0x7fb7e000\nSMBIOS3=0x7f9ce000\nSMBIOS=0x7f9d0000\n";

/// type, phys_addr, virt_addr, num_pages, attribute.
const REGIONS: [[u64; 5]; 11] = {
    let mut regions = [[0; 5]; 11];
    let mut i = 0;
    while i < 11 {
        let n = i as u64;
        regions[i] =
            [5 + n % 2, 0x7f00_0000 + n * 0x1_0000, !0 - n * 0x1_0000, n + 1, 1 << 63 | 0xf];
        i += 1;
    }
    regions
};

fn write(sysfs: &Path, path: &str, text: &str) {
    let path = sysfs.join("firmware/efi").join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A machine with EFI: its `/sys`, and its zero page.
fn machine() -> (tempfile::TempDir, boot_params) {
    let sysfs = tempfile::tempdir().unwrap();
    write(sysfs.path(), "systab", SYSTAB);
    write(sysfs.path(), "fw_vendor", "0x7f9ed118\n");
    write(sysfs.path(), "config_table", "0x7f9edf98\n");
    for (i, region) in REGIONS.iter().enumerate() {
        let names = ["type", "phys_addr", "virt_addr", "num_pages", "attribute"];
        for (name, value) in names.iter().zip(region) {
            write(sysfs.path(), &format!("runtime-map/{i}/{name}"), &format!("{value:#x}\n"));
        }
    }
    let efi_info = efi_info {
        efi_loader_signature: u32::from_le_bytes(*b"EL64"),
        efi_systab: 0x7f9e_d018,
        efi_systab_hi: 1,
        efi_memdesc_size: 48,
        efi_memdesc_version: 1,
        efi_memmap: 0x7eaa_9018,
        efi_memmap_hi: 0,
        efi_memmap_size: 0x1920,
    };
    let page = boot_params { secure_boot: 2, efi_info, ..boot_params::default() };
    (sysfs, page)
}

fn old(page: &boot_params) -> OldBootParams {
    OldBootParams::new(page.as_slice()).unwrap()
}

fn map() -> MemoryMap {
    let mut map = MemoryMap::default();
    map.overlay(PhysRange::new(1 << 20, 1 << 31).unwrap(), E820Type::Ram);
    map
}

fn words(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|w| u64::from_le_bytes(*w)).collect()
}

#[test]
fn the_next_kernel_is_told_all_of_it() {
    let (sysfs, page) = machine();
    let old = old(&page);
    let efi = EfiState::read(sysfs.path(), &old).unwrap().unwrap();
    let file = bzimage(&Header::default());
    let kernel = BzImage::parse(&file).unwrap();
    let (map, place) = (map(), 0x12_0000_0000);
    let boot = Boot {
        kernel: &kernel,
        map: &map,
        cmdline: "quiet",
        initrd: None,
        old: Some(&old),
        rsdp: acpi::rsdp(sysfs.path(), Some(&old)),
        efi: Some(&efi),
        rng_seed: [0; 32],
        handover: &[],
    };
    let block = boot.block_at(place).unwrap();
    assert!(block.range.len() <= boot.bound());
    let mut found = boot_params::default();
    found.as_mut_slice().copy_from_slice(&block.bytes[..4096]);
    let at = |address: u64| &block.bytes[usize::try_from(address - place).unwrap()..];

    let info = found.efi_info;
    let runtime_map = u64::from(info.efi_memmap) | u64::from(info.efi_memmap_hi) << 32;
    let want = efi_info {
        efi_memmap: info.efi_memmap,
        efi_memmap_hi: 0x12,
        efi_memmap_size: 11 * 40,
        efi_memdesc_size: 40,
        ..page.efi_info
    };
    assert_eq!(info, want);
    let want: Vec<_> = REGIONS.into_iter().flatten().collect();
    assert_eq!(words(&at(runtime_map)[..440]), want);
    assert_eq!((found.secure_boot, { found.acpi_rsdp_addr }), (2, 0x7fb7_e014));

    // struct efi_setup_data: fw_vendor, unused, tables, smbios, reserved[8].
    let node = at(found.hdr.setup_data);
    assert_eq!(words(&node[8..16]), [4 | 96 << 32]);
    let mut want = vec![0x7f9e_d118, 0, 0x7f9e_df98, 0x7f9d_0000];
    want.resize(12, 0);
    assert_eq!(words(&node[16..112]), want);

    assert!(efi.reach().contains(0x1_7f9e_d018) && efi.reach().contains(0x7f9e_df98));

    // A kernel without XLF_EFI_KEXEC must not be told.
    let file = bzimage(&Header { xloadflags: 0x6f, ..Header::default() });
    let kernel = BzImage::parse(&file).unwrap();
    let block = Boot { kernel: &kernel, ..boot }.block_at(place).unwrap();
    assert_eq!(block.bytes[0x1c0..0x1e0], [0; 32]);
}

#[test]
fn without_efi_there_is_nothing_to_hand_on() {
    let (sysfs, page) = machine();
    let bios = tempfile::tempdir().unwrap();
    assert_eq!(EfiState::read(bios.path(), &old(&page)).unwrap(), None);
    assert_eq!(EfiState::read(sysfs.path(), &old(&boot_params::default())).unwrap(), None);
    assert_eq!(acpi::rsdp(bios.path(), None), None);
}

#[test]
fn says_why_efi_cannot_be_handed_on() {
    let (sysfs, good) = machine();
    let read = |page: &boot_params| EfiState::read(sysfs.path(), &old(page)).unwrap_err();
    let mut page = good;
    page.efi_info.efi_loader_signature = u32::from_le_bytes(*b"EL32");
    assert!(read(&page).to_string().contains("32-bit (\"EL32\""), "{}", read(&page));
    let mut page = good;
    page.efi_info.efi_memdesc_version = 2;
    assert!(matches!(read(&page), EfiError::DescriptorVersion(2)));
    write(sysfs.path(), "runtime-map/3/type", "0x100000000\n");
    assert!(read(&good).to_string().contains("runtime-map/3/type: expected a 32-bit number"));
    write(sysfs.path(), "config_table", "garbage");
    assert!(read(&good).to_string().contains("config_table: expected a hexadecimal"));
}

#[test]
fn the_rsdp_comes_from_the_zero_page_first() {
    let (sysfs, mut page) = machine();
    page.acpi_rsdp_addr = 0xe_0000;
    assert_eq!(acpi::rsdp(sysfs.path(), Some(&old(&page))), Some(0xe_0000));
    page.acpi_rsdp_addr = !0;
    assert_eq!(acpi::rsdp(sysfs.path(), Some(&old(&page))), Some(0x7fb7_e014));
    write(sysfs.path(), "systab", "ACPI=0x1000\n");
    assert_eq!(acpi::rsdp(sysfs.path(), None), Some(0x1000));
}
