//! Several spans as one block device: a `dm-linear` table, by three device-mapper ioctls.
//!
//! `struct dm_ioctl` and `struct dm_target_spec`: `include/uapi/linux/dm-ioctl.h`. dm-linear passes
//! DAX through when all its parts have it (`drivers/md/dm-linear.c: linear_dax_direct_access`).

use crate::sys::dm_ioctl;
use std::fs::File;
use std::io;
use std::mem::offset_of;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const DEV_CREATE: u8 = 3;
const DEV_REMOVE: u8 = 4;
/// Resumes when `DM_SUSPEND_FLAG` is not set.
const DEV_SUSPEND: u8 = 6;
const TABLE_LOAD: u8 = 9;

const SECTOR: u64 = 512;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    version: [U32; 3],
    data_size: U32,
    data_start: U32,
    target_count: U32,
    open_count: U32,
    flags: U32,
    event_nr: U32,
    padding: U32,
    dev: U64,
    name: [u8; 128],
    uuid: [u8; 129],
    data: [u8; 7],
}

const _: () = assert!(size_of::<Header>() == 312);

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Target {
    sector_start: U64,
    length: U64,
    status: U32,
    /// Distance to the next target, from the start of this one.
    next: U32,
    kind: [u8; 16],
}

/// One part of the joined device.
pub(super) struct Part<'a> {
    /// Its block device.
    pub(super) device: &'a Path,
    /// Its length in bytes.
    pub(super) len: u64,
}

/// Makes the device `name` from `parts`, one after the other, and says where it is.
pub(super) fn join(name: &str, parts: &[Part<'_>]) -> io::Result<PathBuf> {
    let control = File::options().read(true).write(true).open("/dev/mapper/control")?;
    // One of this name without a table is of no use to anybody; one in use refuses to go.
    let _ = dm_ioctl(control.as_fd(), DEV_REMOVE, &mut request(name, 0, &[]));
    let mut create = request(name, 0, &[]);
    let uuid = offset_of!(Header, uuid);
    create[uuid..uuid + name.len()].copy_from_slice(name.as_bytes());
    dm_ioctl(control.as_fd(), DEV_CREATE, &mut create)?;
    let built = load_and_resume(&control, name, parts);
    if built.is_err() {
        // Leave nothing half-made behind; the first error is the one to tell.
        let _ = dm_ioctl(control.as_fd(), DEV_REMOVE, &mut request(name, 0, &[]));
    }
    built
}

/// Removes the device `name`.
pub(super) fn remove(name: &str) -> io::Result<()> {
    let control = File::options().read(true).write(true).open("/dev/mapper/control")?;
    dm_ioctl(control.as_fd(), DEV_REMOVE, &mut request(name, 0, &[]))
}

fn load_and_resume(control: &File, name: &str, parts: &[Part<'_>]) -> io::Result<PathBuf> {
    let count = u32::try_from(parts.len()).map_err(io::Error::other)?;
    let mut table = request(name, count, &targets(parts)?);
    dm_ioctl(control.as_fd(), TABLE_LOAD, &mut table)?;
    let mut resume = request(name, 0, &[]);
    dm_ioctl(control.as_fd(), DEV_SUSPEND, &mut resume)?;
    let (header, _) = Header::read_from_prefix(&resume).expect("the buffer begins with a header");
    // huge_encode_dev, `include/linux/kdev_t.h`: minor bits 0-7 and 20-31.
    let dev = header.dev.get();
    let minor = dev & 0xff | dev >> 12 & 0xfff_ff00;
    Ok(PathBuf::from(format!("/dev/dm-{minor}")))
}

fn targets(parts: &[Part<'_>]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut sector = 0;
    for part in parts {
        let mut params = format!("{} 0\0", part.device.display()).into_bytes();
        params.resize(params.len().next_multiple_of(8), 0);
        let next = size_of::<Target>() + params.len();
        let mut kind = [0; 16];
        kind[..6].copy_from_slice(b"linear");
        let target = Target {
            sector_start: sector.into(),
            length: (part.len / SECTOR).into(),
            status: 0.into(),
            next: u32::try_from(next).map_err(io::Error::other)?.into(),
            kind,
        };
        bytes.extend_from_slice(target.as_bytes());
        bytes.extend(params);
        sector += part.len / SECTOR;
    }
    Ok(bytes)
}

/// A request for the device `name`. The UUID stays empty: it is given once, at creation, and after
/// that a device is asked for by name *or* UUID (`__find_device_hash_cell`, `drivers/md/dm-ioctl.c`).
fn request(name: &str, target_count: u32, payload: &[u8]) -> Vec<u8> {
    let data_start = size_of::<Header>();
    let data_size = u32::try_from(data_start + payload.len()).unwrap_or(u32::MAX);
    let mut header = Header {
        version: [4.into(), 0.into(), 0.into()],
        data_size: data_size.into(),
        data_start: 312.into(),
        target_count: target_count.into(),
        open_count: 0.into(),
        flags: 0.into(),
        event_nr: 0.into(),
        padding: 0.into(),
        dev: 0.into(),
        name: [0; 128],
        uuid: [0; 129],
        data: [0; 7],
    };
    header.name[..name.len()].copy_from_slice(name.as_bytes());
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}
