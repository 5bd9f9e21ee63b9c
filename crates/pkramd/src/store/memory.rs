//! What a descriptor is: memory that can be kept, or not, and why.
//!
//! The descriptor may be a trap: a file on FUSE or NFS whose server never answers. So nothing asks
//! the file's filesystem before it is known to be tmpfs or hugetlbfs; those two alone have seals.

use pkram::filesystem::describe;
use pkram::source::FileId;
use rustix::fs::{
    AtFlags, FileType, OFlags, Statx, StatxFlags, fcntl_get_seals, fcntl_getfl, fstat, statx,
};
use rustix::io::Errno;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// What an open file in memory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Which file.
    pub file: FileId,
    /// How it is open: access mode and `O_APPEND`.
    pub flags: OFlags,
    /// Its size in bytes.
    pub size: u64,
}

/// Why a descriptor cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// Not a file.
    #[error(
        "it is {what}, which cannot go over a kexec; what can is memory: memfds, files on tmpfs or \
         hugetlbfs"
    )]
    Kind {
        /// What it is.
        what: &'static str,
    },
    /// A file elsewhere.
    #[error(
        "it lies on {filesystem}, which is there in the next kernel without pkram; only memory need \
         be handed over: memfds, files on tmpfs or hugetlbfs"
    )]
    Disk {
        /// Where it lies.
        filesystem: String,
    },
    /// Opened as a path only.
    #[error("it was opened with O_PATH, which gives no access to its content; open it for reading")]
    Path,
    /// The system did not say.
    #[error("cannot see what it is: {0}")]
    Io(#[from] io::Error),
}

/// Which file a descriptor is open on, and how, whatever it is. Its size is left out: a
/// filesystem would be asked for it.
pub(super) fn identify(descriptor: impl AsFd) -> io::Result<(FileId, OFlags)> {
    let flags = fcntl_getfl(&descriptor)? & (OFlags::ACCMODE | OFlags::APPEND | OFlags::PATH);
    Ok((FileId::of(&cached(&descriptor)?), flags))
}

/// What the kernel knows without asking the filesystem.
fn cached(descriptor: impl AsFd) -> io::Result<Statx> {
    // `AT_STATX_DONT_SYNC`, `include/uapi/linux/fcntl.h`.
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    Ok(statx(descriptor, "", flags, StatxFlags::empty())?)
}

/// Refuses what is no memory.
pub(super) fn look(descriptor: impl AsFd) -> Result<Memory, MemoryError> {
    let (file, flags) = identify(&descriptor)?;
    if flags.contains(OFlags::PATH) {
        return Err(MemoryError::Path);
    }
    // `memfd_file_seals_ptr`, `mm/memfd.c`: files of shmem and of hugetlbfs, and no others.
    match fcntl_get_seals(&descriptor) {
        Err(Errno::INVAL) => return Err(describe_other(&cached(&descriptor)?)),
        sealed => sealed.map_err(io::Error::from)?,
    };
    Ok(Memory { file, flags, size: size(&descriptor)? })
}

/// The size of a file that is known to be memory, in bytes.
pub(super) fn size(descriptor: impl AsFd) -> io::Result<u64> {
    u64::try_from(fstat(descriptor)?.st_size).map_err(io::Error::other)
}

fn describe_other(stat: &Statx) -> MemoryError {
    let what = match FileType::from_raw_mode(u32::from(stat.stx_mode)) {
        FileType::RegularFile => {
            let filesystem = describe(stat.stx_dev_major, stat.stx_dev_minor);
            return MemoryError::Disk { filesystem };
        }
        FileType::Socket => "a socket",
        FileType::Fifo => "a pipe",
        FileType::Directory => "a directory",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Symlink => "a symlink",
        // Inodes of anon_inodefs have no type: fs/anon_inodes.c.
        FileType::Unknown => "an eventfd or something else of the kernel's",
    };
    MemoryError::Kind { what }
}

/// What a file is called: a memfd by the name that it was made with, another by its own.
pub(super) fn name(descriptor: impl AsFd) -> io::Result<String> {
    let link = fs::read_link(format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd()))?;
    let link = link.to_string_lossy();
    let link = link.strip_suffix(" (deleted)").unwrap_or(&link);
    let name = link.strip_prefix("/memfd:").or_else(|| link.rsplit('/').next());
    Ok(name.unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{EventfdFlags, eventfd};
    use rustix::fs::{MemfdFlags, Mode, memfd_create, open};
    use std::os::unix::net::UnixStream;

    #[test]
    fn memory_is_told_from_what_is_none() {
        let memfd = memfd_create("a/b (c)", MemfdFlags::CLOEXEC).unwrap();
        assert_eq!(name(&memfd).unwrap(), "a/b (c)");
        assert_eq!(look(&memfd).unwrap().flags, OFlags::RDWR);
        let why = |fd: &dyn AsFd| look(fd.as_fd()).unwrap_err().to_string();
        assert!(why(&UnixStream::pair().unwrap().0).starts_with("it is a socket"));
        assert!(why(&rustix::pipe::pipe().unwrap().0).starts_with("it is a pipe"));
        assert!(why(&eventfd(0, EventfdFlags::empty()).unwrap()).starts_with("it is an eventfd"));
        assert!(why(&fs::File::open("/dev/null").unwrap()).starts_with("it is a device"));
        assert!(why(&fs::File::open("/").unwrap()).starts_with("it is a directory"));
        assert!(why(&fs::File::open("/proc/self/stat").unwrap()).contains("proc, mounted on "));
        let path = format!("/proc/self/fd/{}", memfd.as_raw_fd());
        let path = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        assert!(why(&path).contains("O_PATH"));
    }
}
