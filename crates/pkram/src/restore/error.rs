//! Why nothing, or not all, was restored.

use crate::region::contents::ContentsError;
use crate::region::{DeviceError, ReleaseError};
use regionfs::read::ReadError;
use std::io;
use std::path::PathBuf;
use uuid::Uuid;

/// Why nothing, or not all, was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Without one nobody knows where the nodes came from.
    #[error("region {region} has no .pkram/manifest.json; mount it and copy what you need")]
    NoManifest {
        /// The region.
        region: Uuid,
    },
    /// The metadata is not whole.
    #[error(
        "region {region} has {count} faults, and nothing was restored; the first: {first} \
         (`pkram verify` lists them; mount it for reading and copy what can be read)"
    )]
    Damaged {
        /// The region.
        region: Uuid,
        /// How many.
        count: usize,
        /// The first.
        first: String,
    },
    /// Spans are gone that no restore gave back.
    #[error(
        "region {region} has lost its spans {missing:?}, and nothing was restored; \
         if they were given back by a restore before the last kexec, what it copied is where it was"
    )]
    Lost {
        /// The region.
        region: Uuid,
        /// Which.
        missing: Vec<u32>,
    },
    /// Somebody has it.
    #[error(
        "region {region} is mounted or open; unmount it first (`pkram list` shows its devices)"
    )]
    InUse {
        /// The region.
        region: Uuid,
    },
    /// Another restore has it.
    #[error("region {region} is being restored already; wait for that, and look at its outcome")]
    UnderWay {
        /// The region.
        region: Uuid,
    },
    /// No such node.
    #[error("no node is called {name:?}; there are: {names}")]
    NoNode {
        /// What was asked for.
        name: String,
        /// What there is.
        names: String,
    },
    /// It came from nowhere that is here.
    #[error("node {name:?} came from {origin}, which is gone; say where it is to go with --to DIR")]
    NoPlace {
        /// The node.
        name: String,
        /// What it was.
        origin: String,
    },
    /// Data of spans that were given back lie where an earlier run has put them.
    #[error(
        "node {name:?} was restored in part by an earlier run, to another place than this one or to \
         one that is gone; run the same restore again, with the same --to"
    )]
    Elsewhere {
        /// The node.
        name: String,
    },
    /// Something else came beside a file.
    #[error(
        "node {name:?} was one file, and has other files beside it now; say where they are to go with --to DIR"
    )]
    NotAlone {
        /// The node.
        name: String,
    },
    /// What was memory would go to a disk.
    #[error(
        "{path} would lie on {filesystem}, where it did not come from; mount a tmpfs or hugetlbfs \
         there first, or say where it is to go with --to DIR",
        path = .path.display()
    )]
    OtherKind {
        /// The place.
        path: PathBuf,
        /// What it lies on.
        filesystem: String,
    },
    /// The place is taken.
    #[error("{path} is there already and not empty; move it away, or restore elsewhere with --to DIR", path = .path.display())]
    Taken {
        /// Where.
        path: PathBuf,
    },
    /// A file of the target.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A segment.
    #[error(
        "SysV segment with key {key:#x}: {source}; `ipcs -m` lists the segments, `ipcrm` removes one"
    )]
    Segment {
        /// Its key.
        key: i32,
        /// Why.
        source: io::Error,
    },
    /// A filesystem has too little room from the start.
    #[error(
        "the filesystem of {path} has {free} bytes free, and {bytes} are to be copied there; no data \
         were copied yet: make it larger (`mount -o remount,size=…`) and run the same restore again",
        path = .path.display()
    )]
    NoRoom {
        /// A file there.
        path: PathBuf,
        /// What is to be copied.
        bytes: u64,
        /// What there is.
        free: u64,
    },
    /// Copies would take more memory than there is.
    #[error(
        "{available} bytes of memory are available, and on the way {missing} more would be needed; no \
         data were copied: free memory, restore some nodes at a time with --keep, or use the region \
         in place (`pkram mount`)"
    )]
    NoMemory {
        /// What there is.
        available: u64,
        /// What is missing.
        missing: u64,
    },
    /// Figures cannot be read.
    #[error(transparent)]
    Machine(#[from] crate::machine::MachineError),
    /// No room for data.
    #[error(
        "{path}: no room for {bytes} bytes at {offset:#x} ({source}); make the tmpfs larger \
         (`mount -o remount,size=…`), free memory or add huge pages, and run the same restore again",
        path = .path.display()
    )]
    Full {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// How much.
        bytes: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// The region.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The region.
    #[error(transparent)]
    Contents(#[from] ContentsError),
    /// Devices.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Giving memory back.
    #[error(transparent)]
    Release(#[from] ReleaseError),
}

pub(super) fn io_at<P: AsRef<std::path::Path> + ?Sized>(
    path: &P,
) -> impl Fn(io::Error) -> RestoreError + '_ {
    move |source| RestoreError::Io { path: path.as_ref().to_owned(), source }
}
