//! Facts about this machine that the next kernel is told, and that the mover runs on.

use kexec::OldBootParams;
use kexec::boot_params::NotAZeroPage;
use kexec::efi::{EfiError, EfiState};
use kexec::identity::Paging;
use physmem::{E820Type, MemoryMap, PhysRange, RangeSet};
use rustix::rand::{GetRandomFlags, getrandom};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why the machine cannot be described to the next kernel.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// A file of /proc or /sys cannot be read.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The running kernel's own boot parameters.
    #[error("/sys/kernel/boot_params/data: {0}")]
    BootParams(#[from] NotAZeroPage),
    /// EFI.
    #[error(transparent)]
    Efi(#[from] EfiError),
    /// No random numbers.
    #[error("getrandom: {0}")]
    Random(io::Error),
}

/// The machine as the running kernel knows it.
#[derive(Debug)]
pub(crate) struct Platform {
    pub(crate) old: OldBootParams,
    pub(crate) rsdp: Option<u64>,
    pub(crate) efi: Option<EfiState>,
    pub(crate) paging: Paging,
}

impl Platform {
    pub(crate) fn read() -> Result<Self, PlatformError> {
        let path = Path::new("/sys/kernel/boot_params/data");
        let old = OldBootParams::new(&fs::read(path).map_err(io_at(path))?)?;
        let efi = EfiState::read(Path::new("/sys"), &old)?;
        let rsdp = kexec::acpi::rsdp(Path::new("/sys"), Some(&old));
        Ok(Self { rsdp, efi, paging: paging()?, old })
    }

    /// All memory that the mover and the next kernel's first instructions may touch: everything
    /// that the map names below the largest address of memory, and the low 4 GiB, where ACPI and
    /// EFI tables lie.
    pub(crate) fn reach(&self, map: &MemoryMap) -> RangeSet {
        let low = PhysRange::new(0, 1 << 32).ok();
        let memory = [E820Type::Ram, E820Type::Pram, E820Type::AcpiTables, E820Type::AcpiNvs];
        let named = map.entries().iter().filter(|e| memory.contains(&e.kind)).map(|e| e.range);
        let reach: RangeSet = named.chain(low).collect();
        match &self.efi {
            Some(efi) => reach.union(&efi.reach()),
            None => reach,
        }
    }

    pub(crate) fn fresh_seed(&self) -> Result<[u8; 32], PlatformError> {
        let mut seed = [0; 32];
        random(&mut seed)?;
        Ok(seed)
    }

    pub(crate) fn random_u64(&self) -> Result<u64, PlatformError> {
        let mut bytes = [0; 8];
        random(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

fn random(bytes: &mut [u8]) -> Result<(), PlatformError> {
    // A request of up to 256 bytes is filled whole or not at all (getrandom(2)).
    getrandom(bytes, GetRandomFlags::empty()).map_err(|e| PlatformError::Random(e.into()))?;
    Ok(())
}

/// Five levels exactly where this kernel uses five: then it offers addresses of 57 bits, and the
/// CPU flag `la57` is shown (`no5lvl` clears it).
fn paging() -> Result<Paging, PlatformError> {
    let path = Path::new("/proc/cpuinfo");
    let text = fs::read_to_string(path).map_err(io_at(path))?;
    let flags = text.lines().find(|l| l.starts_with("flags")).unwrap_or_default();
    let has = |flag| flags.split_ascii_whitespace().any(|f| f == flag);
    Ok(Paging { levels: if has("la57") { 5 } else { 4 }, giant_pages: has("pdpe1gb") })
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> PlatformError + '_ {
    move |source| PlatformError::Io { path: path.to_owned(), source }
}
