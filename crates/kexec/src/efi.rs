//! EFI, handed on so that the next kernel has runtime services and `/sys/firmware/efi`.
//!
//! The firmware allows `SetVirtualAddressMap` once, so the next kernel must map the runtime
//! regions where this one did. It learns where from three things:
//!
//! | what | from | to |
//! |---|---|---|
//! | `efi_info`: system table, size and place of the runtime map | zero page of this kernel | zero page |
//! | runtime map: 40-byte descriptors with virtual addresses | `runtime-map/N/*` | boot block |
//! | firmware vendor, tables, SMBIOS | `fw_vendor`, `config_table`, `systab` | `SETUP_EFI` node |
//!
//! Files are below `/sys/firmware/efi`. Source: `setup_efi_state()` in
//! `arch/x86/kernel/kexec-bzimage64.c`, `struct efi_setup_data` in `asm/efi.h`,
//! `efi_memory_desc_t` in `include/linux/efi.h`.

use crate::boot_params::OldBootParams;
use crate::bytes::{halves, put, u32_at};
use crate::files::{self, FileError};
use physmem::{PhysRange, RangeSet};
use std::path::{Path, PathBuf};

/// `EL64`: the loader was a 64-bit EFI program (`EFI64_LOADER_SIGNATURE`).
const EL64: [u8; 4] = *b"EL64";
/// The one version of descriptors there is (`EFI_MEMORY_DESCRIPTOR_VERSION`, UEFI 2.10 §7.2).
const DESCRIPTOR_VERSION: u32 = 1;
/// Bytes in `efi_memory_desc_t`.
const DESCRIPTOR_BYTES: usize = 40;
/// Bytes in `struct efi_setup_data`: four addresses and eight reserved words.
const SETUP_DATA_BYTES: usize = 96;
/// More runtime regions than any firmware has.
const MOST_DESCRIPTORS: usize = 4096;
/// How much is mapped from the configuration tables on. Their number is not shown in sysfs; 64 KiB
/// hold 2730 of 24 bytes.
const CONFIG_TABLE_REACH: u64 = 64 << 10;

/// What this kernel knows of EFI, ready to be handed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EfiState {
    systab: u64,
    secure_boot: u8,
    fw_vendor: u64,
    config_table: u64,
    smbios: u64,
    runtime: Vec<Descriptor>,
}

/// One runtime region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Descriptor {
    kind: u32,
    phys: u64,
    virt: u64,
    pages: u64,
    attribute: u64,
}

/// Why EFI cannot be handed on.
#[derive(Debug, thiserror::Error)]
pub enum EfiError {
    /// A file cannot be read or does not hold what it should.
    #[error(transparent)]
    File(#[from] FileError),
    /// 32-bit firmware under a 64-bit kernel.
    #[error(
        "the EFI firmware is 32-bit ({signature:?} in efi_info, expected \"EL64\"); its runtime \
         services cannot be handed on. Go on without EFI"
    )]
    Not64Bit {
        /// The signature found.
        signature: String,
    },
    /// Unknown descriptors.
    #[error("EFI memory descriptors have version {0}, expected 1. Go on without EFI")]
    DescriptorVersion(u32),
    /// An implausible number of regions.
    #[error("{} shows more than {MOST_DESCRIPTORS} regions. Go on without EFI", .0.display())]
    TooManyRegions(PathBuf),
}

impl EfiState {
    /// Reads it from `sysfs` (`/sys`) and the old zero page; `None` where the old kernel has no
    /// EFI runtime services (BIOS, or `efi=noruntime`).
    pub fn read(sysfs: &Path, old: &OldBootParams) -> Result<Option<Self>, EfiError> {
        let efi = sysfs.join("firmware/efi");
        let map = efi.join("runtime-map");
        let info = old.efi_info();
        let field = |at| u32_at(&info, at).unwrap_or(0);
        let memmap_size = field(0x14);
        if memmap_size == 0 || !map.is_dir() {
            return Ok(None);
        }
        if info[..4] != EL64 {
            let signature = String::from_utf8_lossy(&info[..4]).into_owned();
            return Err(EfiError::Not64Bit { signature });
        }
        if field(0x0c) != DESCRIPTOR_VERSION {
            return Err(EfiError::DescriptorVersion(field(0x0c)));
        }
        let systab_file = efi.join("systab");
        let tables = files::read_text(&systab_file)?;
        Ok(Some(Self {
            systab: u64::from(field(0x04)) | u64::from(field(0x18)) << 32,
            secure_boot: old.secure_boot(),
            fw_vendor: files::read_hex(&efi.join("fw_vendor"))?,
            config_table: files::read_hex(&efi.join("config_table"))?,
            smbios: table_address(&tables, "SMBIOS").unwrap_or(0),
            runtime: read_runtime_map(&map)?,
        }))
    }

    /// The `efi_info` of the zero page, for a runtime map at physical address `map_at`.
    pub(crate) fn info(&self, map_at: u64) -> [u8; 32] {
        let ((systab, systab_hi), (map, map_hi)) = (halves(self.systab), halves(map_at));
        let map_len = self.runtime.len() * DESCRIPTOR_BYTES;
        let words = [
            u32::from_le_bytes(EL64),
            systab,
            u32::try_from(DESCRIPTOR_BYTES).unwrap_or(0),
            DESCRIPTOR_VERSION,
            map,
            u32::try_from(map_len).expect("at most 4096 descriptors"),
            systab_hi,
            map_hi,
        ];
        let mut info = [0; 32];
        for (i, word) in words.into_iter().enumerate() {
            put(&mut info, i * 4, &word.to_le_bytes());
        }
        info
    }

    /// `secure_boot` of the zero page.
    pub(crate) const fn secure_boot(&self) -> u8 {
        self.secure_boot
    }

    /// The runtime map's bytes.
    pub(crate) fn runtime_map(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.runtime.len() * DESCRIPTOR_BYTES);
        for d in &self.runtime {
            bytes.extend(u64::from(d.kind).to_le_bytes()); // and 4 bytes of padding
            for word in [d.phys, d.virt, d.pages, d.attribute] {
                bytes.extend(word.to_le_bytes());
            }
        }
        bytes
    }

    /// The payload of the `SETUP_EFI` node.
    pub(crate) fn setup_data(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SETUP_DATA_BYTES);
        for word in [self.fw_vendor, 0, self.config_table, self.smbios] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.resize(SETUP_DATA_BYTES, 0);
        bytes
    }

    /// Memory that the next kernel reads before it has page tables of its own (`sev_enable()`
    /// looks for a confidential computing blob in the EFI tables): it must be mapped at the jump.
    pub fn reach(&self) -> RangeSet {
        let ranges = [
            PhysRange::from_len(self.systab, 4096),
            PhysRange::from_len(self.config_table, CONFIG_TABLE_REACH),
        ];
        ranges.into_iter().filter_map(Result::ok).collect()
    }
}

/// The physical address of `name` in the lines `NAME=0x…` of `/sys/firmware/efi/systab`.
pub(crate) fn table_address(systab: &str, name: &str) -> Option<u64> {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix("=0x").map(str::to_owned);
    u64::from_str_radix(systab.lines().find_map(value)?.trim(), 16).ok()
}

/// The regions in the order of their numbers.
fn read_runtime_map(map: &Path) -> Result<Vec<Descriptor>, EfiError> {
    let mut regions = Vec::new();
    for n in 0.. {
        let region = map.join(n.to_string());
        if !region.is_dir() {
            break;
        }
        if n >= MOST_DESCRIPTORS {
            return Err(EfiError::TooManyRegions(map.to_owned()));
        }
        let field = |name| files::read_hex(&region.join(name));
        let kind = field("type")?;
        regions.push(Descriptor {
            kind: u32::try_from(kind).map_err(|_| FileError::Content {
                path: region.join("type"),
                expected: "a 32-bit number",
                found: format!("{kind:#x}"),
            })?,
            phys: field("phys_addr")?,
            virt: field("virt_addr")?,
            pages: field("num_pages")?,
            attribute: field("attribute")?,
        });
    }
    Ok(regions)
}
