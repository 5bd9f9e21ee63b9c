//! Releasing a region: from here on it is none, and its memory is the system's again.
//!
//! ```text
//! nobody uses it ─► every span is ours alone ─► heads marked ─► hand back, span by span
//!                                               └ the first span's mark is the instant
//! ```
//!
//! Killed at any instant a region is whole, or it is released: one aligned store turns the magic of
//! the first head, and spans whose region's first head is so marked are released with it. A mark
//! stays in the span's first block, which the system never gets before the next kexec. So any
//! later kernel's pkram, whatever tool started that kernel, sees that the memory is free.

use super::device::{Device, DeviceError};
use super::discover::{Discovered, Region, Span, discover};
use super::handback::{self, HandBackError, hand_back, prepare, returnable, wake};
use super::mount::{joined, joined_name, part};
use super::users::{Use, Users, users_of};
use crate::head::{HEAD_BYTES, HeadError, RELEASED, RESTORED, SpanHead};
use crate::machine::{self, MachineError};
use physmem::PhysRange;
use rustix::fs::{Mode, OFlags, open, stat};
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// ext4's superblock begins here and is as long as this (`struct ext4_super_block`, `fs/ext4/ext4.h`).
const SUPERBLOCK: usize = 1024;

/// How long the device itself may be open elsewhere: udev looks into it after every change.
const PROBING: Duration = Duration::from_secs(3);

/// Why memory is not given back.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// Somebody has it.
    #[error("{device} is in use, and nothing was released: {users}", device = .device.display())]
    InUse {
        /// The device.
        device: PathBuf,
        /// By whom.
        users: Users,
    },
    /// A device refused.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no way back to System RAM.
    #[error(transparent)]
    HandBack(#[from] HandBackError),
    /// Devices cannot be listed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Figures cannot be read.
    #[error(transparent)]
    Machine(#[from] MachineError),
}

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Bytes that are System RAM again.
    pub returned: u64,
    /// Bytes that stay aside until the next kexec.
    pub left: u64,
    /// Why less came back than could have.
    pub troubles: Vec<String>,
}

/// Gives the memory of `region` back. Its content is lost.
pub fn release(region: &Region) -> Result<Released, ReleaseError> {
    let devices: Vec<_> = region.spans.iter().map(|s| &s.device).collect();
    refuse_users(&devices, joined(&joined_name(region)))?;
    // A device that joins the spans goes unless somebody has it, which the next step finds out.
    let _ = part(region);
    make_free(region.spans.iter().map(|s| (&s.device, s.head)).collect(), RELEASED)
}

/// Gives back damaged spans, and what is left of a region with missing ones: memory that somebody
/// who can judge it says is ours.
pub fn release_remains(remains: &[&Device]) -> Result<Released, ReleaseError> {
    refuse_users(remains, None)?;
    // Heads of their own: the old ones may be a copy of what another region says of itself.
    make_free(remains.iter().map(|&d| (d, lone_head(d.range))).collect(), RELEASED)
}

/// Gives back one span of a region that lives on: what it carried lies elsewhere by now.
pub(crate) fn release_span(span: &Span) -> Result<Released, ReleaseError> {
    refuse_users(&[&span.device], None)?;
    make_free(vec![(&span.device, span.head)], RESTORED)
}

fn make_free(spans: Vec<(&Device, SpanHead)>, magic: [u8; 8]) -> Result<Released, ReleaseError> {
    // First see that every span is free, so that a refusal changes nothing.
    let locked: Vec<_> = spans.iter().map(|(d, _)| exclusive(d)).collect::<Result<_, _>>()?;
    // Then see that there is a way back, and only then make the region none, all of it.
    let block = machine::memory_block()?;
    if spans.iter().any(|(device, _)| returns(device, block) > 0) {
        prepare()?;
    }
    for ((device, head), file) in spans.iter().zip(locked) {
        mark(&file, head, magic).map_err(io_at(device))?;
    }
    Ok(hand_all_back(spans.into_iter().map(|(device, _)| device), block))
}

/// Gives back what was released before and is not in the system: because a release was killed, or
/// because another tool's kexec set the memory aside again.
pub fn finish() -> Result<Released, ReleaseError> {
    let found = wake_all()?;
    let block = machine::memory_block()?;
    if found.released.iter().any(|d| handback::given_back(d.range, block) < returns(d, block)) {
        prepare()?;
    }
    for device in found.released.iter().filter(|d| d.block.is_some()) {
        // Of a region whose first span alone could be marked.
        let file = exclusive(device)?;
        if !is_marked(&file).map_err(io_at(device))? {
            mark(&file, &lone_head(device.range), RELEASED).map_err(io_at(device))?;
        }
    }
    Ok(hand_all_back(&found.released, block))
}

/// All that is there, with what a killed release has left without a driver.
pub(crate) fn wake_all() -> Result<Discovered, DeviceError> {
    let found = discover()?;
    if found.strangers.iter().filter(|d| wake(d)).count() == 0 {
        return Ok(found);
    }
    discover()
}

/// How much of a released span is System RAM now, in bytes.
pub fn given_back(span: &Device) -> Result<u64, MachineError> {
    Ok(handback::given_back(span.range, machine::memory_block()?))
}

/// What could come back of a span.
pub(crate) fn returns(device: &Device, block: u64) -> u64 {
    returnable(device.range, block).map_or(0, PhysRange::len)
}

fn hand_all_back<'a>(devices: impl IntoIterator<Item = &'a Device>, block: u64) -> Released {
    let mut released = Released::default();
    for device in devices {
        let before = handback::given_back(device.range, block);
        if let Err(error) = hand_back(device, block) {
            released.troubles.push(error.to_string());
        }
        let now = handback::given_back(device.range, block);
        released.returned += now.saturating_sub(before);
        released.left += device.range.len() - now;
    }
    released
}

/// Writes the head with another magic, and zeros over the filesystem's superblock, so that nobody
/// mounts by label what is no region any more. One write within one page.
fn mark(file: &File, head: &SpanHead, magic: [u8; 8]) -> io::Result<()> {
    let mut bytes = [0; HEAD_BYTES + SUPERBLOCK];
    bytes[..HEAD_BYTES].copy_from_slice(&head.to_bytes());
    bytes[..magic.len()].copy_from_slice(&magic);
    file.write_all_at(&bytes, 0)?;
    file.sync_all()
}

fn is_marked(file: &File) -> io::Result<bool> {
    let mut head = [0; HEAD_BYTES];
    file.read_exact_at(&mut head, 0)?;
    Ok(matches!(SpanHead::parse(&head), Err(HeadError::Released { .. })))
}

/// The head of a span that belongs to no region.
fn lone_head(range: PhysRange) -> SpanHead {
    let region_blocks = range.pages();
    let (region, index, count) = (Uuid::new_v4(), 0, 1);
    SpanHead {
        region,
        index,
        count,
        range,
        first_block: 0,
        region_blocks,
        created: 0,
        marks_from: None,
    }
}

/// Refuses with the names of those who use the devices, or what joins them.
fn refuse_users(devices: &[&Device], joined: Option<PathBuf>) -> Result<(), ReleaseError> {
    let paths: Vec<_> = devices.iter().filter_map(|d| d.block.clone()).chain(joined).collect();
    let devices = numbers(&paths);
    let deadline = Instant::now() + PROBING;
    loop {
        let users = users_of(&devices);
        let Some(device) = paths.first().filter(|_| !users.is_empty()) else { return Ok(()) };
        let passing = users.iter().all(|u| matches!(u.how, Use::Device(_)));
        if !passing || Instant::now() > deadline {
            return Err(ReleaseError::InUse { device: device.clone(), users: Users(users) });
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Opens the span's block device as a filesystem would: fails if anything else has it.
fn exclusive(device: &Device) -> Result<File, ReleaseError> {
    let path = device.block.clone().unwrap_or_default();
    match open(&path, OFlags::RDWR | OFlags::EXCL | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => Ok(fd.into()),
        Err(rustix::io::Errno::BUSY) => {
            let users = Users(users_of(&numbers(std::slice::from_ref(&path))));
            Err(ReleaseError::InUse { device: path, users })
        }
        Err(e) => Err(ReleaseError::Io { path, source: e.into() }),
    }
}

impl Region {
    /// Whether a filesystem or anything else has one of the spans.
    pub fn in_use(&self) -> bool {
        let busy = |s: &Span| matches!(exclusive(&s.device), Err(ReleaseError::InUse { .. }));
        self.spans.iter().any(busy)
    }
}

/// The device numbers of block devices.
fn numbers(paths: &[PathBuf]) -> HashSet<u64> {
    paths.iter().filter_map(|path| stat(path).ok()).map(|s| s.st_rdev).collect()
}

fn io_at(device: &Device) -> impl FnOnce(io::Error) -> ReleaseError + '_ {
    |source| ReleaseError::Io { path: device.block.clone().unwrap_or_default(), source }
}
