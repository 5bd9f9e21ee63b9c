//! Reserved regions: memory that is kept out of RAM from boot on, by `memmap=SIZE!START`.
//!
//! ```text
//! set_aside: place ─► drop-in of the boot loader ─► reboot ─┐
//!   ┌───────────────────────────────────────────────────────┘
//! arrive: range is persistent memory? ─► blank, and never used: make an empty region, once
//!                                     └► a region: heads, marks, metadata, not stale ─► count it
//! ```
//!
//! Such a region costs a size that is fixed beforehand. In return no `kexec_load` is needed, so that
//! lockdown does not matter, and it outlives a reboot through a firmware that leaves memory alone.
//! Nothing is ever written over anything that could be data.

mod arrive;
mod blank;
mod error;
mod grub;
mod make;
mod place;
mod state;
mod ways;
mod wipe;

pub use arrive::{Arrival, Standing, arrive};
pub use blank::Finding;
pub use error::ArriveError;
pub use grub::{GrubError, parameter, update as update_grub};
pub use make::MakeError;
pub use place::PlaceError;
pub(crate) use state::refuse_stale;
pub use state::{Stale, StateError};
pub use ways::Ways;
pub use wipe::{Wipe, WipeError, withdraw_wipe};

use crate::machine::{self, MachineError};
use physmem::PhysRange;
use state::State;
use std::path::PathBuf;

/// Why nothing is set aside, or taken back.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// The memory map.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// No place.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The boot loader.
    #[error(transparent)]
    Grub(#[from] GrubError),
    /// The note on disk.
    #[error(transparent)]
    State(#[from] StateError),
    /// One reservation at a time.
    #[error(
        "{range} is reserved already; `pkram reserve` says how it stands, and `pkram reserve \
         --remove` takes it back"
    )]
    Already {
        /// Where.
        range: PhysRange,
    },
    /// Nothing to take back.
    #[error("nothing is reserved here")]
    Nothing,
}

/// Memory that will be kept out of RAM from the next boot on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where.
    pub range: PhysRange,
    /// The kernel parameter.
    pub parameter: String,
    /// The boot loader's drop-in, unless it was to be left alone.
    pub drop_in: Option<PathBuf>,
}

/// Chooses a range for a region of `size` bytes, notes it, and tells GRUB unless `print` is set.
pub fn set_aside(size: u64, print: bool) -> Result<SetAside, ReserveError> {
    if let Some(state) = State::load()? {
        return Err(ReserveError::Already { range: state.range()? });
    }
    let map = machine::booted_map()?;
    let range = place::choose(&map, &machine::iomem()?, size, machine::memory_block()?)?;
    let drop_in = if print { None } else { Some(grub::write(range)?) };
    State::new(range, machine::boot_id()?).save()?;
    Ok(SetAside { range, parameter: parameter(range), drop_in })
}

/// Takes a reservation back: the range is RAM from the next boot on. What it carries stays as it is
/// until then.
pub fn remove() -> Result<SetAside, ReserveError> {
    let state = State::load()?;
    let drop_in = grub::remove()?;
    let range = state.ok_or(ReserveError::Nothing)?.range()?;
    State::remove()?;
    Ok(SetAside { range, parameter: parameter(range), drop_in })
}
