//! A next kernel that is staged and ready: the only way to `kexec_load`.

use crate::check::{Scene, Unsafe};
use crate::mover_segment::MoverSegment;
use crate::moves::Moves;
use crate::sys::{self, KexecError, Segment};
use physmem::{E820Type, PhysRange};

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
    /// A move could fault half-way.
    #[error(
        "nothing was loaded: the mover's page tables do not reach {0}, which the memory map has"
    )]
    Unmapped(PhysRange),
    /// The kernel refused.
    #[error(transparent)]
    Kexec(#[from] KexecError),
}

impl KexecImage<'_> {
    /// Proves that no move loses anything or faults, and that the mover is made for its place.
    pub fn check(&self) -> Result<(), LoadError> {
        self.checked().map(|_| ())
    }

    /// Checks every move once more, then loads the mover segment. What was loaded before is
    /// forgotten. All staged pages must stay where they are until the [`sys::jump`].
    pub fn load(&self) -> Result<(), LoadError> {
        let segment = self.checked()?;
        Ok(sys::load(segment.to.start(), &[segment])?)
    }

    /// The segment to load, if nothing would be lost by it.
    fn checked(&self) -> Result<Segment<'_>, LoadError> {
        let (made, planned) = (self.mover.range(), self.scene.mover);
        if made != planned {
            return Err(LoadError::MoverElsewhere { made, planned });
        }
        self.scene.check(self.moves)?;
        // Every move is now known to lie in this memory.
        let map = self.scene.map;
        let memory = map.ram().union(&map.of_type(E820Type::Pram));
        if let Some(beyond) = memory.subtract(self.mover.mapped()).iter().next() {
            return Err(LoadError::Unmapped(beyond));
        }
        Ok(Segment { bytes: self.mover.bytes(), to: made })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Identity, Paging, reach};
    use crate::mover_segment::Orders;
    use physmem::{FrameSet, MemoryMap, RangeSet};

    const MIB: u64 = 1 << 20;

    // Only `checked` is called: no test may ever reach the kernel.
    #[test]
    fn offers_nothing_to_load_that_is_not_safe() {
        let range = |start, len| PhysRange::from_len(start, len).unwrap();
        let mut small_map = MemoryMap::default();
        small_map.overlay(range(MIB, 255 * MIB), E820Type::Ram);
        let mut map = small_map.clone();
        map.overlay(range(256 * MIB, 256 * MIB), E820Type::Ram);
        let (none, moves) = (RangeSet::new(), Moves::default());
        let paging = Paging { levels: 4, giant_pages: false };
        let identity = Identity::of(&reach(&small_map, None), paging).unwrap();
        let orders = Orders {
            moves: &moves,
            list: None,
            entry: 16 * MIB + 0x200,
            boot_params: 8 * MIB,
            timeline: None,
            serial_port: None,
        };
        let mover = MoverSegment::at(128 * MIB, &identity, orders).unwrap();
        let scene = Scene {
            map: &small_map,
            kept: &FrameSet::new(),
            list_pages: &none,
            mover: mover.range(),
            window: range(16 * MIB, 64 * MIB),
            payload: range(16 * MIB, 8 * MIB),
        };
        let check = |scene| match (KexecImage { scene, moves: &moves, mover: &mover }).checked() {
            Ok(segment) => Ok((segment.to, segment.bytes == mover.bytes())),
            Err(error) => Err(error),
        };
        assert_eq!(check(scene).unwrap(), (mover.range(), true));
        let unmapped = check(Scene { map: &map, ..scene }).unwrap_err();
        assert!(matches!(unmapped, LoadError::Unmapped(at) if at.start() == 256 * MIB));
        let elsewhere = check(Scene { mover: range(100 * MIB, 4096), ..scene }).unwrap_err();
        assert!(matches!(elsewhere, LoadError::MoverElsewhere { .. }));
        let kept = [range(8 * MIB, 4096)].into_iter().collect();
        let lost = check(Scene { kept: &kept, ..scene }).unwrap_err();
        assert!(matches!(lost, LoadError::Unsafe(_)));
    }
}
