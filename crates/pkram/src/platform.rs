//! Facts about this machine that the next kernel is told, and that the mover runs on.

use kexec::OldBootParams;
use kexec::boot_params::NotAZeroPage;
use kexec::efi::{EfiError, EfiState};
use kexec::identity::Paging;
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
        let cpuinfo = Path::new("/proc/cpuinfo");
        let text = fs::read_to_string(cpuinfo).map_err(io_at(cpuinfo))?;
        Ok(Self { rsdp, efi, paging: Paging::from_cpuinfo(&text), old })
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

fn io_at(path: &Path) -> impl Fn(io::Error) -> PlatformError + '_ {
    move |source| PlatformError::Io { path: path.to_owned(), source }
}
