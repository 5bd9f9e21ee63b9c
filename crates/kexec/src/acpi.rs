//! Where ACPI's root pointer is.
//!
//! Under BIOS the next kernel finds it in the first MiB by itself. Under EFI it must be told: the
//! zero page of this kernel knows it when its own loader did (`acpi_rsdp_addr`), else
//! `/sys/firmware/efi/systab` does. kexec-tools looks in the same places (`get_acpi_rsdp()`).

use crate::boot_params::OldBootParams;
use crate::{efi, files};
use physmem::ADDRESS_LIMIT;
use std::path::Path;

/// The physical address of the RSDP from `sysfs` (`/sys`) and the old zero page, or `None` where
/// the next kernel is left to find it.
pub fn rsdp(sysfs: &Path, old: Option<&OldBootParams>) -> Option<u64> {
    let plausible = |address: &u64| (1..ADDRESS_LIMIT).contains(address);
    old.and_then(OldBootParams::acpi_rsdp).filter(plausible).or_else(|| {
        let systab = files::read_text(&sysfs.join("firmware/efi/systab")).ok()?;
        // ACPI 2.0 and later before 1.0.
        ["ACPI20", "ACPI"]
            .iter()
            .find_map(|name| efi::table_address(&systab, name))
            .filter(plausible)
    })
}
