//! SysV shared memory segments (`shmctl(2)`, `shmat(2)`).

use super::map::Access;
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

/// Makes a segment with this key, size in bytes and mode; fails if there is one already.
pub(crate) fn make_shm(key: i32, bytes: u64, mode: u16, huge: bool) -> io::Result<i32> {
    let size = usize::try_from(bytes).map_err(io::Error::other)?;
    let huge = if huge { libc::SHM_HUGETLB } else { 0 };
    let flags = libc::IPC_CREAT | libc::IPC_EXCL | huge | i32::from(mode & 0o777);
    // SAFETY: takes integers only.
    let id = unsafe { libc::shmget(key, size, flags) };
    if id < 0 { Err(io::Error::last_os_error()) } else { Ok(id) }
}

/// Gives a segment its owner and mode.
pub(crate) fn set_shm(id: i32, uid: u32, gid: u32, mode: u16) -> io::Result<()> {
    let mut set = MaybeUninit::<libc::shmid_ds>::zeroed();
    // SAFETY: all fields are integers, for which zeros are valid.
    let fields = unsafe { set.assume_init_mut() };
    fields.shm_perm.uid = uid;
    fields.shm_perm.gid = gid;
    fields.shm_perm.mode = mode & 0o777;
    // SAFETY: IPC_SET reads one `struct shmid_ds`, which was filled above.
    let done = unsafe { libc::shmctl(id, libc::IPC_SET, set.as_mut_ptr()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Destroys a segment.
#[cfg(test)]
pub(crate) fn remove_shm(id: i32) -> io::Result<()> {
    // SAFETY: IPC_RMID reads no structure, so that the pointer is not used.
    let done = unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A segment attached, detached on drop.
#[derive(Debug)]
pub(crate) struct Attached {
    start: NonNull<c_void>,
}

impl Attached {
    /// Attaches the segment.
    pub(crate) fn new(id: i32, access: Access) -> io::Result<Self> {
        let flags = if access == Access::Read { libc::SHM_RDONLY } else { 0 };
        // SAFETY: without SHM_REMAP and with a null hint no existing mapping is replaced.
        let start = unsafe { libc::shmat(id, std::ptr::null(), flags) };
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
