//! What a save is asked for, and why it is refused.

use super::compose::TreeFault;
use super::next::{NextError, NextOptions};
use super::stage::StageError;
use crate::census::{CensusError, Change, Manner};
use crate::machine::MachineError;
use crate::platform::PlatformError;
use crate::region::DeviceError;
use crate::staging::StagingError;
use kexec::boot_block::BootBlockError;
use kexec::identity::IdentityError;
use kexec::image::LoadError;
use kexec::mover_segment::MoverSegmentError;
use kexec::preflight::Obstacle;
use kexec::sys::KexecError;
use plan::PlanError;
use regionfs::ComposeError;
use std::path::PathBuf;

/// What the user chose.
#[derive(Clone, Debug)]
pub struct Options {
    /// The next kernel.
    pub next: NextOptions,
    /// RAM that the next kernel must have, in bytes; by default what it takes to boot, and some
    /// for programs (see [`Costs`](super::Costs)).
    pub reserve_ram: Option<u64>,
    /// Whether pages of hugetlbfs may be moved where there is no plan otherwise.
    pub move_huge: bool,
    /// Copying the region out and giving it back piece by piece is to take no more RAM than one part
    /// in so many of the data; by default no more than the next kernel has left, where that can be.
    pub pieces: Option<u64>,
    /// How to hold the pages.
    pub manner: Manner,
    /// Fixes the choice of the kernel's place; random by default.
    pub seed: Option<u64>,
    /// Go on although the next kernel or its command line seems unable to see the region.
    pub force: bool,
}

impl Options {
    /// Everything as it is by default, into this kernel.
    #[must_use]
    pub fn new(next: NextOptions) -> Self {
        Self {
            next,
            reserve_ram: None,
            move_huge: false,
            pieces: None,
            manner: Manner::default(),
            seed: None,
            force: false,
        }
    }
}

/// Why memory cannot be saved.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says what it wraps")]
pub enum SaveError {
    #[error(transparent)]
    Census(#[from] CensusError),
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Platform(#[from] PlatformError),
    #[error(transparent)]
    Next(#[from] NextError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Tree(#[from] TreeFault),
    #[error(transparent)]
    Compose(#[from] ComposeError),
    #[error(transparent)]
    Staging(#[from] StagingError),
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error(transparent)]
    BootBlock(#[from] BootBlockError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Mover(#[from] MoverSegmentError),
    #[error(transparent)]
    Kexec(#[from] KexecError),
    #[error("{path} {change} since it was read", path = .path.display())]
    Changed { path: PathBuf, change: Change },
    #[error("the region's metadata keeps growing over the room planned for it ({blocks} blocks)")]
    HeadGrows { blocks: u64 },
    #[error(
        "{bytes} bytes of this machine's memory are broken (HardwareCorrupted in /proc/meminfo); \
         the mover could run into them"
    )]
    Poisoned { bytes: u64 },
    #[error("nothing to keep: the save has no node")]
    Nothing,
    #[error("{}", lines(.0))]
    Obstacles(Vec<Obstacle>),
}

impl SaveError {
    /// What would help, where that is known.
    pub fn remedy(&self) -> Option<String> {
        let known = match self {
            Self::Plan(error) => error.remedy()?,
            Self::Changed { .. } | Self::Census(CensusError::Unsteady { .. }) => {
                "stop what writes to it and try again"
            }
            Self::Census(CensusError::Shared { .. }) => "give it once",
            Self::Poisoned { .. } => "replace the memory, or go on with --force if you know better",
            Self::Next(NextError::Blind(_)) => {
                "choose another kernel or command line, or go on with --force if you know better"
            }
            Self::Staging(StagingError::Memory { .. }) => "free some memory and try again",
            Self::Obstacles(obstacles) => {
                return Some(obstacles.iter().map(Obstacle::remedy).collect::<Vec<_>>().join("; "));
            }
            _ => return None,
        };
        Some(known.to_owned())
    }
}

fn lines(obstacles: &[Obstacle]) -> String {
    obstacles.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
