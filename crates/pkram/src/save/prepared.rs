//! A save that is ready: load it, take the last look, jump; or drop it.

use super::costs::Costs;
use super::next::NextKernel;
use super::options::SaveError;
use super::stage::Image;
use crate::census::{Census, Hold};
use crate::handover::Handover;
use crate::manifest::Manifest;
use crate::nodes::Save;
use crate::progress::Progress;
use crate::staging::Staging;
use crate::sys::tsc;
use kexec::{KexecImage, MoverSegment, Scene};
use physmem::{FrameSet, MemoryMap, PhysRange};
use plan::{Layout, MoveRun};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// A plan that can be looked at, loaded, or dropped without a trace.
#[derive(Debug)]
pub struct Prepared {
    /// What is kept.
    pub save: Save,
    /// Where they lie.
    pub census: Census,
    /// Where everything goes.
    pub layout: Layout,
    /// The moves of preserved pages, in order.
    pub moves: Vec<MoveRun>,
    /// What the region will say about itself.
    pub manifest: Manifest,
    /// The next kernel.
    pub next: NextKernel,
    /// What of the next kernel's RAM is taken before any program runs.
    pub costs: Costs,
    /// What the user should know.
    pub notes: Vec<String>,
    pub(super) region: Uuid,
    /// Never read, but as long as it lives the pages stay.
    pub(super) _hold: Hold,
    pub(super) staging: Staging,
    pub(super) image: Image,
    pub(super) mover: MoverSegment,
    pub(super) handover: Handover,
    /// Where in the boot block the record begins.
    pub(super) handover_offset: u64,
    pub(super) next_map: MemoryMap,
    pub(super) kept: FrameSet,
    pub(super) payload: PhysRange,
    pub(super) clock: Clock,
    /// When the old system stopped serving, if somebody said so.
    pub(super) stopped: Option<SystemTime>,
    pub(super) loaded: bool,
}

/// Both clocks at one instant, to find the TSC's rate later.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) tsc: u64,
    pub(super) time: SystemTime,
}

impl Clock {
    pub(super) fn now() -> Self {
        Self { tsc: tsc(), time: SystemTime::now() }
    }

    /// Ticks in a second, from this instant to now; at least 10 ms apart to mean anything.
    fn rate(self) -> u64 {
        let now = Self::now();
        let nanos = now.time.duration_since(self.time).unwrap_or(Duration::ZERO).as_nanos();
        let ticks = u128::from(now.tsc.saturating_sub(self.tsc));
        let rate = (ticks * 1_000_000_000).checked_div(nanos).unwrap_or(0);
        u64::try_from(rate).unwrap_or(0)
    }
}

impl Prepared {
    /// The region's UUID.
    pub fn region(&self) -> Uuid {
        self.region
    }

    pub(super) fn kexec_image(&self) -> KexecImage<'_> {
        let scene = Scene {
            map: &self.next_map,
            kept: &self.kept,
            list_pages: &self.image.list_pages,
            mover: self.layout.mover,
            window: self.layout.window,
            payload: self.payload,
        };
        KexecImage { scene, moves: &self.image.moves, mover: &self.mover }
    }

    /// Gives the mover to the kernel, after the proof that no move destroys what is kept. Whatever
    /// was loaded before is forgotten.
    pub fn load(&mut self) -> Result<(), SaveError> {
        self.kexec_image().load()?;
        self.loaded = true;
        self.next.close_initrd();
        self.handover.loaded_tsc = tsc();
        Ok(())
    }

    /// Says when the old system stopped serving, which begins the blackout; else it is when
    /// [`prepare`](super::prepare()) began.
    pub fn set_stopped(&mut self, at: SystemTime) {
        self.stopped = Some(at);
    }

    /// What [`set_stopped`](Self::set_stopped) was told.
    #[must_use]
    pub const fn stopped(&self) -> Option<SystemTime> {
        self.stopped
    }

    /// The last look: whether every file is still as it was planned for. Before it all other
    /// filesystems are written out, because the jump does not do it.
    pub fn last_look(&mut self, progress: &dyn Progress) -> Result<(), SaveError> {
        self.handover.look_tsc = tsc();
        rustix::fs::sync();
        match self.census.changes(&self.save, progress)? {
            None => Ok(()),
            Some((path, change)) => Err(SaveError::Changed { path, change }),
        }
    }

    /// Takes the load back.
    pub fn unload(mut self) -> Result<(), SaveError> {
        kexec::sys::unload()?;
        self.loaded = false;
        Ok(())
    }

    /// Enters the next kernel. Returns only if that fails; what was loaded is taken back then.
    ///
    /// Loads once more first: another program may have loaded a kernel of its own meanwhile, to
    /// which every page that is held here would be free memory.
    pub fn jump(mut self) -> SaveError {
        let loaded_tsc = self.handover.loaded_tsc;
        if let Err(error) = self.load() {
            return error;
        }
        self.handover.loaded_tsc = loaded_tsc;
        self.handover.tsc_hz = self.clock.rate();
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.handover.jump_time = u64::try_from(time.as_nanos()).unwrap_or(0);
        self.handover.jump_tsc = tsc();
        self.handover.stopped_tsc = self.stopped_tsc();
        let record = self.handover.to_bytes();
        self.image.patch_boot_block(&self.staging, self.handover_offset, &record);
        kexec::sys::jump().into()
    }

    /// [`stopped`](Self::set_stopped) on the jump's clock; 0 where it was before that began to count.
    fn stopped_tsc(&self) -> u64 {
        let Handover { tsc_hz, jump_tsc, jump_time, start_tsc, .. } = self.handover;
        let Some(stopped) = self.stopped else { return start_tsc };
        let stopped = stopped.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_nanos();
        let nanos = u128::from(jump_time).saturating_sub(stopped);
        let ticks = u64::try_from(nanos * u128::from(tsc_hz) / 1_000_000_000).unwrap_or(u64::MAX);
        jump_tsc.saturating_sub(ticks)
    }
}

impl Drop for Prepared {
    /// What is loaded means nothing without the pages that are held and staged here.
    fn drop(&mut self) {
        if self.loaded {
            // Nobody is left to tell.
            let _ = kexec::sys::unload();
        }
    }
}
