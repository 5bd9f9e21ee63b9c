//! Why a reserved range is of no use as it is, and what to do.

use super::blank::Finding;
use super::make::MakeError;
use super::state::StateError;
use crate::machine::MachineError;
use crate::region::contents::ContentsError;
use crate::region::{DamagedReason, DeviceError};
use physmem::PhysRange;
use std::io;
use std::path::PathBuf;
use uuid::Uuid;

/// What to do where pkram does not write.
const REMEDY: &str = "If nothing there is wanted, clear the whole range yourself (dd if=/dev/zero \
    of=/dev/pmemN bs=2M), then say `pkram reserve --init`";

/// Why a reserved range is of no use as it is.
#[derive(Debug, thiserror::Error)]
pub enum ArriveError {
    /// The memory map.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// Devices.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The note on disk.
    #[error(transparent)]
    State(#[from] StateError),
    /// The region cannot be read.
    #[error(transparent)]
    Contents(#[from] ContentsError),
    /// No region can be made.
    #[error(transparent)]
    Make(#[from] MakeError),
    /// The command line.
    #[error("/proc/cmdline: {0}")]
    Cmdline(io::Error),
    /// Several, and no note which is meant.
    #[error(
        "the kernel's command line sets several ranges aside ({0}); reserve one with pkram only"
    )]
    Several(String),
    /// Booted without the parameter.
    #[error(
        "{range} is RAM in this boot, because {parameter} is not on the kernel's command line: {lost}. \
         Did update-grub run, and was its entry booted?"
    )]
    Unprotected {
        /// Where.
        range: PhysRange,
        /// What should be there.
        parameter: String,
        /// What is gone with it.
        lost: String,
    },
    /// No device.
    #[error("{range} is persistent memory, but has no device: are nd_e820 and nd_pmem there?")]
    NoDevice {
        /// Where.
        range: PhysRange,
    },
    /// Released.
    #[error(
        "the region in {range} was released; take the reservation back with `pkram reserve \
         --remove`, or clear the range after the next boot. {REMEDY}"
    )]
    Released {
        /// Where.
        range: PhysRange,
    },
    /// Held by another driver.
    #[error(
        "{range} has no block device, because another driver holds {device}; unbind it, or take \
         the reservation back with `pkram reserve --remove`"
    )]
    Held {
        /// Where.
        range: PhysRange,
        /// The namespace.
        device: PathBuf,
    },
    /// Damaged.
    #[error("{device} at {range} is not used: {reason}. {REMEDY}")]
    Damaged {
        /// The block device or namespace.
        device: String,
        /// Where.
        range: PhysRange,
        /// Why.
        reason: Box<DamagedReason>,
    },
    /// The metadata.
    #[error(
        "region {region} is damaged and not used: {problem} (`pkram verify` says more). {REMEDY}"
    )]
    Metadata {
        /// Which.
        region: Uuid,
        /// The first problem.
        problem: String,
    },
    /// A saved region, or the spans of another.
    #[error(
        "{range} carries a part of region {region}, which is no reserved one; it is left as it is"
    )]
    Foreign {
        /// Where.
        range: PhysRange,
        /// Which.
        region: Uuid,
    },
    /// The memory is blank, but a region was here.
    #[error(
        "region {region} was made in {range}, and nothing of it is left: the memory was cleared, by \
         the firmware or by somebody. `pkram reserve --init` makes a new, empty region"
    )]
    Lost {
        /// Which.
        region: Uuid,
        /// Where.
        range: PhysRange,
    },
    /// Not blank.
    #[error("{device} carries {what} at offset {at:#x}; nothing is written over it. {REMEDY}",
        device = .device.display(), what = .found.what, at = .found.at)]
    NotBlank {
        /// The block device.
        device: PathBuf,
        /// What.
        found: Finding,
    },
    /// The device cannot be used.
    #[error("{device}: {source}", device = .device.display())]
    Io {
        /// Which.
        device: PathBuf,
        /// Why.
        source: io::Error,
    },
}
