//! A next kernel that is staged and ready: the only way to `kexec_load`.

use crate::check::{Scene, Unsafe};
use crate::mover_segment::MoverSegment;
use crate::moves::Moves;
use crate::sys::{self, KexecError, Segment};
use physmem::PhysRange;

/// Everything that the jump depends on.
#[derive(Clone, Copy, Debug)]
pub struct KexecImage<'a> {
    /// What lies where.
    pub scene: Scene<'a>,
    /// What will be moved.
    pub moves: &'a Moves,
    /// Who moves it.
    pub mover: &'a MoverSegment,
}

/// Why nothing was loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Something would be lost.
    #[error("nothing was loaded, because the plan is not safe: {0}")]
    Unsafe(#[from] Unsafe),
    /// The mover was made for another place.
    #[error(
        "nothing was loaded: the mover segment was made for {made}, but is planned at {planned}"
    )]
    MoverElsewhere {
        /// Where it must lie.
        made: PhysRange,
        /// Where the scene has it.
        planned: PhysRange,
    },
    /// The kernel refused.
    #[error(transparent)]
    Kexec(#[from] KexecError),
}

impl KexecImage<'_> {
    /// Proves that no move loses anything, and that the mover is made for its place.
    pub fn check(&self) -> Result<(), LoadError> {
        let (made, planned) = (self.mover.range(), self.scene.mover);
        if made != planned {
            return Err(LoadError::MoverElsewhere { made, planned });
        }
        Ok(self.scene.check(self.moves)?)
    }

    /// Checks every move once more, then loads the mover segment. What was loaded before is
    /// forgotten. All staged pages must stay where they are until the [`sys::jump`].
    pub fn load(&self) -> Result<(), LoadError> {
        self.check()?;
        let to = self.mover.range();
        Ok(sys::load(to.start(), &[Segment { bytes: self.mover.bytes(), to }])?)
    }
}
