//! The only unsafe code of this crate, one idea a file.

mod dm;
mod map;
mod pages;
mod pins;
mod resident;
mod shm;

pub(crate) use dm::dm_ioctl;
pub(crate) use map::{Access, FileMap};
pub(crate) use pages::PageRefs;
pub(crate) use pins::{BYTES_PER_BUFFER, Pins};
pub(crate) use resident::resident;
#[cfg(test)]
pub(crate) use shm::remove_shm;
pub(crate) use shm::{Attached, SHM_DEST, ShmStat, make_shm, set_shm, shm_stat};

/// The time stamp counter, which keeps counting across kexec.
pub fn tsc() -> u64 {
    // SAFETY: RDTSC is part of every x86-64 CPU, and Linux leaves CR4.TSD clear unless the process
    // asked for it with prctl(PR_SET_TSC).
    unsafe { core::arch::x86_64::_rdtsc() }
}
