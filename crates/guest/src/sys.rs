//! The one unsafe corner: memory that is looked at and filled from outside of Rust's rules, and
//! programs traced from system call to system call.

#![expect(unsafe_code, reason = "mmap, SysV memory and ptrace have no safe form")]

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::ptr::{copy_nonoverlapping, null, null_mut, read_volatile};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A shared mapping of a whole file.
pub(crate) struct Mapping {
    base: *mut c_void,
    length: usize,
    writable: bool,
}

impl Mapping {
    /// A mapping to look at.
    pub(crate) fn new(file: &File, length: usize) -> io::Result<Self> {
        Self::with(file, length, false)
    }

    /// A mapping to fill.
    pub(crate) fn writable(file: &File, length: usize) -> io::Result<Self> {
        Self::with(file, length, true)
    }

    fn with(file: &File, length: usize, writable: bool) -> io::Result<Self> {
        let write = if writable { ProtFlags::WRITE } else { ProtFlags::empty() };
        let protection = ProtFlags::READ | write;
        // SAFETY: a null hint with no MAP_FIXED lets the kernel choose an address, so no existing
        // mapping is touched; `file` is open for the whole call.
        let base = unsafe { mmap(null_mut(), length, protection, MapFlags::SHARED, file, 0) }?;
        Ok(Self { base, length, writable })
    }

    pub(crate) fn address(&self) -> usize {
        self.base.addr()
    }

    /// Makes the page that holds this byte present.
    pub(crate) fn touch(&self, offset: usize) {
        assert!(offset < self.length, "{offset} is beyond the mapping's {} bytes", self.length);
        // SAFETY: inside the one allocated object that the mapping is, by the assertion.
        let byte = unsafe { self.base.cast::<u8>().add(offset) };
        // SAFETY: the mapping is readable and lives as long as `self`; a `u8` has no alignment and
        // no invalid value. The value is dropped, so it does not matter who else writes to it. A
        // file truncated meanwhile gives SIGBUS, which ends this test tool and harms nothing.
        unsafe { read_volatile(byte) };
    }

    /// Puts bytes there.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(self.writable && offset + bytes.len() <= self.length, "beyond the mapping");
        // SAFETY: inside the one allocated object that the mapping is, by the assertion.
        let to = unsafe { self.base.cast::<u8>().add(offset) };
        // SAFETY: `to` is valid and writable for these bytes by the assertion, and no reference
        // into the mapping is ever given out, so `bytes` lies elsewhere.
        unsafe { copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }
}

/// Makes a SysV segment, fills it and returns its identifier.
pub(crate) fn make_segment(key: i32, bytes: &[u8], huge: bool) -> io::Result<i32> {
    let flags = libc::IPC_CREAT | libc::IPC_EXCL | 0o640;
    let flags = if huge { flags | libc::SHM_HUGETLB } else { flags };
    // SAFETY: takes integers only.
    let id = unsafe { libc::shmget(key, bytes.len(), flags) };
    if id < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a null hint without SHM_REMAP replaces no existing mapping.
    let base = unsafe { libc::shmat(id, null(), 0) };
    if base.addr() == usize::MAX {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the segment was just attached, writable and at least as long as `bytes`, which lie
    // in Rust's own memory.
    unsafe { copy_nonoverlapping(bytes.as_ptr(), base.cast(), bytes.len()) };
    // SAFETY: the address is that of the attachment; nothing points into it any more.
    unsafe { libc::shmdt(base) };
    Ok(id)
}

/// The bytes of the SysV segment with this identifier; fails if it has another length.
pub(crate) fn read_segment(id: i32, length: usize) -> io::Result<Vec<u8>> {
    let mut stat = MaybeUninit::<libc::shmid_ds>::uninit();
    // SAFETY: IPC_STAT writes one `struct shmid_ds` to the pointer, which has room for it.
    if unsafe { libc::shmctl(id, libc::IPC_STAT, stat.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so the kernel has filled the structure.
    let found = unsafe { stat.assume_init() }.shm_segsz;
    if found != length {
        return Err(io::Error::other(format!("{found} bytes, expected {length}")));
    }
    // SAFETY: a null hint without SHM_REMAP replaces no existing mapping.
    let base = unsafe { libc::shmat(id, null(), libc::SHM_RDONLY) };
    if base.addr() == usize::MAX {
        return Err(io::Error::last_os_error());
    }
    let mut bytes = vec![0; length];
    // SAFETY: the segment is attached and has `length` bytes for good, as was just seen; `bytes` has
    // as many, in Rust's own memory.
    unsafe { copy_nonoverlapping(base.cast(), bytes.as_mut_ptr(), length) };
    // SAFETY: the address is that of the attachment; nothing points into it any more.
    unsafe { libc::shmdt(base) };
    Ok(bytes)
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `base` and `length` are those of a successful mmap, unmapped nowhere else, and
        // no reference into the mapping is ever given out.
        let _ = unsafe { munmap(self.base, self.length) };
    }
}

/// A program that stops at each of its system calls.
pub(crate) struct Traced {
    pid: libc::pid_t,
    /// Whether the next stop is the way into a call rather than out of it.
    entering: bool,
    status: Option<ExitStatus>,
}

impl Traced {
    /// Starts the program, stopped before its first instruction.
    pub(crate) fn spawn(command: &mut Command) -> io::Result<Self> {
        let trace_me = || ptrace(libc::PTRACE_TRACEME, 0, null_mut());
        // SAFETY: between fork and exec the closure makes one system call and touches neither
        // memory nor locks.
        unsafe { command.pre_exec(trace_me) };
        let pid = libc::pid_t::try_from(command.spawn()?.id()).map_err(io::Error::other)?;
        let mut traced = Self { pid, entering: true, status: None };
        traced.wait()?;
        let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;
        let options = usize::try_from(options).map_err(io::Error::other)?;
        ptrace(libc::PTRACE_SETOPTIONS, pid, std::ptr::without_provenance_mut(options))?;
        Ok(traced)
    }

    /// Runs to the way into the next system call and returns its number; `None` at the end.
    pub(crate) fn next_call(&mut self) -> io::Result<Option<u64>> {
        let mut signal = 0;
        while self.status.is_none() {
            let data = std::ptr::without_provenance_mut(signal);
            ptrace(libc::PTRACE_SYSCALL, self.pid, data)?;
            signal = match self.wait()? {
                // A stop at a call, by PTRACE_O_TRACESYSGOOD.
                Some(stop) if stop == libc::SIGTRAP | 0x80 => {
                    self.entering = !self.entering;
                    if !self.entering {
                        return Ok(Some(self.call()?));
                    }
                    0
                }
                Some(other) => usize::try_from(other).map_err(io::Error::other)?,
                None => 0,
            };
        }
        Ok(None)
    }

    /// Kills the program where it stands: the call that it is in is not made.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        // SAFETY: kill takes two integers; the child has not been waited for to its end, so the
        // number is its own.
        if unsafe { libc::kill(self.pid, libc::SIGKILL) } < 0 {
            return Err(io::Error::last_os_error());
        }
        while self.status.is_none() {
            self.wait()?;
        }
        Ok(())
    }

    /// How it ended.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        self.status
    }

    /// The signal that the program stopped for, `None` at its end.
    fn wait(&mut self) -> io::Result<Option<i32>> {
        let mut raw = 0;
        // SAFETY: the pointer is to a live integer of ours, which the call fills in.
        if unsafe { libc::waitpid(self.pid, &raw mut raw, 0) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let status = ExitStatus::from_raw(raw);
        if status.stopped_signal().is_none() {
            self.status = Some(status);
        }
        Ok(status.stopped_signal())
    }

    fn call(&self) -> io::Result<u64> {
        let mut registers = MaybeUninit::<libc::user_regs_struct>::zeroed();
        ptrace(libc::PTRACE_GETREGS, self.pid, registers.as_mut_ptr().cast())?;
        // SAFETY: plain integers, zeroed before and filled in by the successful call.
        Ok(unsafe { registers.assume_init() }.orig_rax)
    }
}

fn ptrace(request: libc::c_uint, pid: libc::pid_t, data: *mut c_void) -> io::Result<()> {
    // SAFETY: of the requests above only PTRACE_GETREGS writes through `data`, which then points to
    // a whole `user_regs_struct`; the others take it as a number.
    let done = unsafe { libc::ptrace(request, pid, null_mut::<c_void>(), data) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
