//! The zero page: `struct boot_params`, 4096 bytes, made from scratch.
//!
//! | offset | field | from |
//! |---|---|---|
//! | 0x000 | `screen_info` | old kernel (memory size and old command line pointer cleared) |
//! | 0x070 | `acpi_rsdp_addr` | [`crate::acpi`] |
//! | 0x0c0 | `ext_ramdisk_image`, `_size`, `ext_cmd_line_ptr` | upper halves |
//! | 0x140 | `edid_info` | old kernel |
//! | 0x1c0 | `efi_info`, 0x1ec `secure_boot` | [`crate::efi`] |
//! | 0x1e0 | `alt_mem_k` | memory map |
//! | 0x1e8 | `e820_entries`, 0x2d0 `e820_table` | memory map |
//! | 0x1e9 | EDD counts, 0x290 `edd_mbr_sig_buffer`, 0xd00 `eddbuf` | old kernel |
//! | 0x1f1 | setup header | kernel file; loader fields ours; 0x23c `hardware_subarch` old kernel |
//!
//! Source of every offset: `Documentation/arch/x86/zero-page.rst`, `asm/bootparam.h`; of what is
//! carried over: `setup_boot_parameters()` in `arch/x86/kernel/kexec-bzimage64.c` and kexec-tools'
//! `setup_linux_system_parameters()`.

use crate::bytes::{array, halves, put, u32_at, u64_at};
use crate::bzimage::{BzImage, SETUP_HEADER};
use crate::e820::{E820Table, ENTRY_BYTES, IN_ZERO_PAGE};
use physmem::{PhysRange, RangeSet};
use std::fmt;

/// Bytes in the zero page.
pub const ZERO_PAGE: usize = 4096;

/// `type_of_loader`: kexec-tools' number (0xD), version 0. With 0 here the kernel would ignore
/// the initrd.
const LOADER_KEXEC: u8 = 0xd0;

/// Fields of the old kernel's zero page that describe the machine and still hold.
const CARRIED: [(usize, usize); 7] = [
    (0x000, 0x40),  // screen_info
    (0x140, 0x80),  // edid_info
    (0x1e9, 2),     // eddbuf_entries, edd_mbr_sig_buf_entries
    (0x23c, 4),     // hardware_subarch
    (0x240, 8),     // hardware_subarch_data
    (0x290, 0x40),  // edd_mbr_sig_buffer
    (0xd00, 0x1ec), // eddbuf
];

/// The zero page with which the running kernel was booted, from `/sys/kernel/boot_params/data`.
#[derive(Clone, PartialEq, Eq)]
pub struct OldBootParams {
    bytes: Box<[u8; ZERO_PAGE]>,
}

/// `/sys/kernel/boot_params/data` is not a zero page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("/sys/kernel/boot_params/data has {found} bytes, expected 4096; is this an x86 kernel?")]
pub struct NotAZeroPage {
    /// Its length.
    pub found: usize,
}

impl OldBootParams {
    /// Takes the file's contents.
    pub fn new(data: &[u8]) -> Result<Self, NotAZeroPage> {
        let bytes = array::<ZERO_PAGE>(data, 0)
            .filter(|_| data.len() == ZERO_PAGE)
            .ok_or(NotAZeroPage { found: data.len() })?;
        Ok(Self { bytes: Box::new(bytes) })
    }

    /// `acpi_rsdp_addr`, where the old kernel's loader gave one.
    pub fn acpi_rsdp(&self) -> Option<u64> {
        u64_at(&*self.bytes, 0x70).filter(|&a| a != 0)
    }

    /// `efi_info`, all zero under BIOS.
    pub fn efi_info(&self) -> [u8; 32] {
        array(&*self.bytes, 0x1c0).unwrap_or([0; 32])
    }

    /// RAM that an older kernel called its own in the map that it handed to `kexec_file_load`: its
    /// `setup_data` nodes, as type 128 (`E820_TYPE_RESERVED_KERN`, `e820__reserve_setup_data()` in
    /// `arch/x86/kernel/e820.c` before Linux 7). No firmware uses the type. Later kernels do not
    /// know it and leave such memory alone.
    pub fn ram_of_older_kernels(&self) -> RangeSet {
        const RESERVED_KERN: u32 = 128;
        let entries = self.bytes[0x2d0..].chunks_exact(ENTRY_BYTES).take(self.bytes[0x1e8].into());
        let range = |entry: &[u8]| {
            let (start, len) = (u64_at(entry, 0)?, u64_at(entry, 8)?);
            let of_that_type = u32_at(entry, 16)? == RESERVED_KERN;
            PhysRange::from_len(start, len).ok().filter(|_| of_that_type)
        };
        entries.take(IN_ZERO_PAGE).filter_map(range).collect()
    }

    /// `secure_boot` (0 unset, 1 unknown, 2 disabled, 3 enabled: `enum efi_secureboot_mode`).
    pub fn secure_boot(&self) -> u8 {
        self.bytes[0x1ec]
    }
}

impl fmt::Debug for OldBootParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OldBootParams").finish_non_exhaustive()
    }
}

/// A zero page in the making.
pub(crate) struct ZeroPage {
    bytes: Vec<u8>,
}

impl ZeroPage {
    /// The setup header of `kernel`, its 64-bit loader fields, and nothing else.
    pub(crate) fn for_kernel(kernel: &BzImage<'_>) -> Self {
        let mut page = Self { bytes: vec![0; ZERO_PAGE] };
        page.put(SETUP_HEADER, kernel.setup_header());
        page.put(0x210, &[LOADER_KEXEC]);
        // LOADED_HIGH and the rest tell real-mode code what to do, which never runs.
        page.put(0x211, &[0]);
        page.put_initrd(None);
        page.put_setup_data(0);
        page
    }

    /// Carries over what the old kernel knows about the machine.
    pub(crate) fn carry(&mut self, old: &OldBootParams) {
        for (at, len) in CARRIED {
            self.put(at, &old.bytes[at..at + len]);
        }
        // ext_mem_k; cl_magic and cl_offset of a loader that used the 2.01 command line.
        self.put(0x02, &[0; 2]);
        self.put(0x20, &[0; 4]);
    }

    /// The memory map, and what BIOS calls would have said of it.
    pub(crate) fn put_memory(&mut self, table: &E820Table<'_>) {
        let kib = table.kib_above_first_mib();
        let most_bios = u16::try_from(kib).unwrap_or(u16::MAX).min(0xfc00);
        self.put(0x02, &most_bios.to_le_bytes());
        self.put(0x1e0, &u32::try_from(kib).unwrap_or(u32::MAX).to_le_bytes());
        self.put(0x1e8, &[table.count_in_zero_page()]);
        self.put(0x2d0, &table.zero_page());
    }

    /// Where the initrd will lie.
    pub(crate) fn put_initrd(&mut self, initrd: Option<PhysRange>) {
        let (address, len) = initrd.map_or((0, 0), |i| (i.start(), i.len()));
        let ((address, address_hi), (len, len_hi)) = (halves(address), halves(len));
        self.put(0x218, &address.to_le_bytes());
        self.put(0x21c, &len.to_le_bytes());
        self.put(0x0c0, &address_hi.to_le_bytes());
        self.put(0x0c4, &len_hi.to_le_bytes());
    }

    /// Where the NUL-terminated command line will lie.
    pub(crate) fn put_cmdline(&mut self, address: u64) {
        let (low, high) = halves(address);
        self.put(0x228, &low.to_le_bytes());
        self.put(0x0c8, &high.to_le_bytes());
    }

    pub(crate) fn put_setup_data(&mut self, head: u64) {
        self.put(0x250, &head.to_le_bytes());
    }

    pub(crate) fn put_rsdp(&mut self, address: u64) {
        self.put(0x70, &address.to_le_bytes());
    }

    /// `efi_info` and `secure_boot`.
    pub(crate) fn put_efi(&mut self, efi_info: &[u8; 32], secure_boot: u8) {
        self.put(0x1c0, efi_info);
        self.put(0x1ec, &[secure_boot]);
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn put(&mut self, at: usize, value: &[u8]) {
        put(&mut self.bytes, at, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_older_kernels_called_their_own() {
        let mut page = vec![0; ZERO_PAGE];
        let entries = [(0, 0x9fc00, 1), (0x4bf_0080, 0xa8, 128), (1 << 20, 0, 128), (5, 6, 2)];
        page[0x1e8] = 4;
        for (i, (start, len, kind)) in entries.into_iter().enumerate() {
            let at = 0x2d0 + i * ENTRY_BYTES;
            put(&mut page, at, &u64::to_le_bytes(start));
            put(&mut page, at + 8, &u64::to_le_bytes(len));
            put(&mut page, at + 16, &u32::to_le_bytes(kind));
        }
        let found = |page: &[u8]| OldBootParams::new(page).unwrap().ram_of_older_kernels();
        assert_eq!(found(&page), PhysRange::from_len(0x4bf_0080, 0xa8).unwrap().into());
        // A count past the table is no reason to read what follows it.
        page[0x1e8] = 255;
        put(&mut page, 0x2d0 + 128 * ENTRY_BYTES + 16, &128_u32.to_le_bytes());
        put(&mut page, 0x2d0 + 128 * ENTRY_BYTES + 8, &1_u64.to_le_bytes());
        assert_eq!(found(&page).count(), 1);
        page[0x1e8] = 1;
        assert!(found(&page).is_empty());
    }
}
