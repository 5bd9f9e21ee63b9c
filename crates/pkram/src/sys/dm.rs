//! Device-mapper's ioctls.

use std::io;
use std::os::fd::BorrowedFd;

/// One device-mapper ioctl (`include/uapi/linux/dm-ioctl.h`): `buffer` begins with a `struct
/// dm_ioctl` whose `data_size` is the buffer's length.
pub(crate) fn dm_ioctl(control: BorrowedFd<'_>, command: u8, buffer: &mut [u8]) -> io::Result<()> {
    const STRUCT_DM_IOCTL: u64 = 312;
    /// Where `data_size` lies in the struct.
    const DATA_SIZE: std::ops::Range<usize> = 12..16;
    let claimed = buffer.get(DATA_SIZE).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    let fits = claimed.is_some_and(|size| size as usize == buffer.len());
    assert!(fits && buffer.len() as u64 >= STRUCT_DM_IOCTL, "no struct dm_ioctl");
    // _IOWR(0xfd, command, struct dm_ioctl), `include/uapi/asm-generic/ioctl.h`.
    let request = 3 << 30 | STRUCT_DM_IOCTL << 16 | 0xfd << 8 | u64::from(command);
    // SAFETY: the kernel reads and writes at most `data_size` bytes at the pointer, which is the
    // length of the exclusively borrowed buffer (asserted above).
    let done = unsafe {
        libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&control), request, buffer.as_mut_ptr())
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
