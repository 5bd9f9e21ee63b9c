//! SysV shared memory segments (`shmctl(2)`, `shmat(2)`).

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// What the system knows of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShmStat {
    pub(crate) key: i32,
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) bytes: u64,
    pub(crate) attached: u64,
}

/// `SHM_DEST`, `include/uapi/linux/shm.h`: destroyed when the last one detaches.
pub(crate) const SHM_DEST: u16 = 0o1000;

/// Asks for the segment with this identifier.
pub(crate) fn shm_stat(id: i32) -> io::Result<ShmStat> {
    let mut stat = MaybeUninit::<libc::shmid_ds>::uninit();
    // SAFETY: IPC_STAT writes one `struct shmid_ds` to the pointer, which has room for it.
    let done = unsafe { libc::shmctl(id, libc::IPC_STAT, stat.as_mut_ptr()) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so the kernel has filled the structure; all of its fields are
    // integers.
    let stat = unsafe { stat.assume_init() };
    Ok(ShmStat {
        key: stat.shm_perm.__key,
        mode: stat.shm_perm.mode,
        uid: stat.shm_perm.uid,
        gid: stat.shm_perm.gid,
        bytes: stat.shm_segsz as u64,
        attached: stat.shm_nattch,
    })
}

/// A segment attached for reading, detached on drop.
#[derive(Debug)]
pub(crate) struct Attached {
    start: NonNull<c_void>,
}

impl Attached {
    /// Attaches the segment.
    pub(crate) fn new(id: i32) -> io::Result<Self> {
        // SAFETY: without SHM_REMAP and with a null hint no existing mapping is replaced.
        let start = unsafe { libc::shmat(id, std::ptr::null(), libc::SHM_RDONLY) };
        // shmat(2) returns (void *) -1 on failure.
        match NonNull::new(start).filter(|p| p.addr().get() != usize::MAX) {
            Some(start) => Ok(Self { start }),
            None => Err(io::Error::last_os_error()),
        }
    }

    /// Where it is attached.
    pub(crate) fn address(&self) -> u64 {
        self.start.addr().get() as u64
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // SAFETY: the address is that of the attachment made in `new`; nothing points into it.
        let gone = unsafe { libc::shmdt(self.start.as_ptr()) };
        debug_assert_eq!(gone, 0);
    }
}
