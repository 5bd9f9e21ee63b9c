//! The system calls: load, unload, jump. The only unsafe code of this crate.

use physmem::{PAGE_SIZE, PhysRange};
use rustix::system::{RebootCommand, reboot};
use std::ffi::{CStr, c_long, c_ulong, c_void};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// `KEXEC_SEGMENT_MAX`, `include/uapi/linux/kexec.h`.
pub const MOST_SEGMENTS: usize = 16;
/// `KEXEC_ARCH_X86_64`: the ELF machine number in the upper half, `include/uapi/linux/kexec.h`.
const ARCH_X86_64: c_ulong = 62 << 16;
/// There is no initrd, `include/uapi/linux/kexec.h`.
const KEXEC_FILE_NO_INITRAMFS: c_ulong = 4;

/// Bytes, and where the old kernel puts them at the jump.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment<'a> {
    /// What to put there.
    pub(crate) bytes: &'a [u8],
    /// Where: whole pages, at least as long as `bytes`; the rest is filled with zeros.
    pub(crate) to: PhysRange,
}

/// `struct kexec_segment`, `include/uapi/linux/kexec.h`.
#[repr(C)]
struct RawSegment {
    buf: *const c_void,
    bufsz: usize,
    mem: usize,
    memsz: usize,
}

/// Why the kernel did not do it.
#[derive(Debug, thiserror::Error)]
pub enum KexecError {
    /// Segments that the kernel would refuse, found before it was asked.
    #[error("kexec segment {at}: {why}")]
    Segment {
        /// Where it should go.
        at: PhysRange,
        /// What is wrong.
        why: &'static str,
    },
    /// Too many segments.
    #[error("{0} kexec segments, but the kernel takes at most {MOST_SEGMENTS}")]
    TooManySegments(usize),
    /// The system call failed.
    #[error("{call}: {source}; {likely}")]
    Call {
        /// Which call.
        call: &'static str,
        /// The error that it returned.
        source: io::Error,
        /// What the likely cause is, and what to do.
        likely: &'static str,
    },
}

/// `kexec_load()`—Makes `segments` what the next [`jump`] enters, at `entry`. What was loaded
/// before is forgotten. The kernel copies the bytes; they are not needed afterwards.
///
/// The kernel does **not** check what lies at the destinations: see [`crate::Scene::check`].
pub(crate) fn load(entry: u64, segments: &[Segment<'_>]) -> Result<(), KexecError> {
    kexec_load(entry, &raw_segments(segments)?)
}

/// `kexec_file_load()`—Makes a kernel file what the next [`jump`] enters. The kernel makes the memory
/// map itself, of its own: regions that are here go along, nothing else does. It checks the
/// signature where it must, so this is allowed under lockdown.
pub fn load_file(
    kernel: BorrowedFd<'_>,
    initrd: Option<BorrowedFd<'_>>,
    cmdline: &CStr,
) -> Result<(), KexecError> {
    let flags = if initrd.is_none() { KEXEC_FILE_NO_INITRAMFS } else { 0 };
    let initrd = initrd.map_or(-1, |fd| fd.as_raw_fd());
    let cmdline = cmdline.to_bytes_with_nul();
    // SAFETY: kexec_file_load(2) takes two descriptors, which live as long as their borrows, and
    // reads `cmdline.len()` bytes, the last of them 0, from a slice that outlives the call. It
    // writes no memory of this process.
    let result: c_long = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            kernel.as_raw_fd(),
            initrd,
            cmdline.len(),
            cmdline.as_ptr(),
            flags,
        )
    };
    if result == 0 {
        return Ok(());
    }
    let source = io::Error::last_os_error();
    let likely = match source.raw_os_error() {
        Some(libc::EPERM) => {
            "CAP_SYS_BOOT is needed, kernel.kexec_load_disabled must be 0, and under lockdown the \
             kernel's signature must be one that this kernel trusts"
        }
        Some(libc::ENOSYS) => "this kernel is built without CONFIG_KEXEC_FILE",
        Some(libc::EBUSY) => "another kexec call is under way; try again",
        Some(libc::ENOEXEC) => "the file is no kernel image",
        Some(libc::ENOMEM | libc::EADDRNOTAVAIL) => "too little free memory for the kernel",
        Some(libc::EKEYREJECTED | libc::ENODATA | libc::EBADMSG) => {
            "the kernel's signature is missing or not trusted"
        }
        _ => "unexpected: see the kernel log",
    };
    Err(KexecError::Call { call: "kexec_file_load", source, likely })
}

/// Takes back what was loaded.
pub fn unload() -> Result<(), KexecError> {
    kexec_load(0, &[])
}

/// `reboot(LINUX_REBOOT_CMD_KEXEC)`—Jumps into what was loaded. Returns only on failure.
pub fn jump() -> KexecError {
    let source = match reboot(RebootCommand::Kexec) {
        Ok(()) => io::Error::other("the call returned"),
        Err(errno) => errno.into(),
    };
    let likely = match source.raw_os_error() {
        Some(libc::EINVAL) => "no kernel is loaded; load one first",
        Some(libc::EPERM) => "CAP_SYS_BOOT is needed in the initial user namespace: run as root",
        Some(libc::EBUSY) => "another kexec call is under way; try again",
        _ => "a driver or reboot notifier may have refused: see the kernel log",
    };
    KexecError::Call { call: "reboot(KEXEC)", source, likely }
}

/// What the kernel is given, if it would take it.
fn raw_segments(segments: &[Segment<'_>]) -> Result<Vec<RawSegment>, KexecError> {
    if segments.len() > MOST_SEGMENTS {
        return Err(KexecError::TooManySegments(segments.len()));
    }
    segments.iter().map(raw_segment).collect()
}

fn raw_segment(segment: &Segment<'_>) -> Result<RawSegment, KexecError> {
    let Segment { bytes, to } = *segment;
    let wrong = |why| KexecError::Segment { at: to, why };
    if !to.is_aligned(PAGE_SIZE) {
        return Err(wrong("its ends are not multiples of 4096"));
    }
    let mem =
        usize::try_from(to.start()).map_err(|_| wrong("its address has more than 64 bits"))?;
    let memsz = usize::try_from(to.len()).map_err(|_| wrong("its length has more than 64 bits"))?;
    if bytes.len() > memsz {
        return Err(wrong("it has more bytes than place"));
    }
    Ok(RawSegment { buf: bytes.as_ptr().cast(), bufsz: bytes.len(), mem, memsz })
}

fn kexec_load(entry: u64, segments: &[RawSegment]) -> Result<(), KexecError> {
    // SAFETY: kexec_load(2) reads `segments.len()` structs of the layout of RawSegment from the
    // pointer, and from each struct `bufsz` readable bytes at `buf`: raw_segment() took both from
    // one slice that outlives this call, since `load` borrows it. It writes no memory of this
    // process. What happens to physical memory, happens at the jump.
    let result: c_long = unsafe {
        libc::syscall(libc::SYS_kexec_load, entry, segments.len(), segments.as_ptr(), ARCH_X86_64)
    };
    if result == 0 {
        return Ok(());
    }
    let source = io::Error::last_os_error();
    let likely = match source.raw_os_error() {
        Some(libc::EPERM) => {
            "CAP_SYS_BOOT is needed, kernel.kexec_load_disabled must be 0, and lockdown (Secure \
             Boot) must be off: run `pkram check`"
        }
        Some(libc::ENOSYS) => "this kernel is built without CONFIG_KEXEC",
        Some(libc::EBUSY) => "another kexec call is under way; try again",
        Some(libc::ENOMEM) => "too little free memory for the copies of the segments",
        Some(libc::EADDRNOTAVAIL) => "a segment is not whole pages or passes the end of memory",
        Some(libc::EINVAL) => "segments overlap, or take more than half of RAM",
        _ => "unexpected: see the kernel log",
    };
    Err(KexecError::Call { call: "kexec_load", source, likely })
}

#[cfg(test)]
mod tests {
    use super::*;

    // Only `raw_segments` is called: no test may ever reach the kernel.
    #[test]
    fn refuses_before_the_kernel_is_asked() {
        let page = [0; 4097];
        let to = |start, len| PhysRange::from_len(start, len).unwrap();
        let raw = |bytes, to| raw_segments(&[Segment { bytes, to }]);
        let refused = |bytes, to| raw(bytes, to).map(|_| ()).unwrap_err().to_string();
        assert!(refused(&page[..1], to(0x1001, 0xfff)).contains("not multiples of 4096"));
        assert!(refused(&page[..1], to(0x1000, 0xfff)).contains("not multiples of 4096"));
        assert!(refused(&page, to(0x1000, 0x1000)).contains("more bytes than place"));
        let taken = raw(&page, to(0x1000, 0x2000)).unwrap();
        let RawSegment { bufsz, mem, memsz, .. } = taken[0];
        assert_eq!((bufsz, mem, memsz), (4097, 0x1000, 0x2000));
        let one = Segment { bytes: &page[..1], to: to(0x1000, 0x1000) };
        assert_eq!(raw_segments(&[one; 16]).map(|raw| raw.len()).ok(), Some(16));
        let error = raw_segments(&[one; 17]).map(|_| ()).unwrap_err();
        assert!(matches!(error, KexecError::TooManySegments(17)));
    }
}
