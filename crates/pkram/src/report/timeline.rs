//! Where the time went: the phases of one kexec, one after the other.
//!
//! ```text
//!       old system                             mover                      next kernel   user space
//! ├ freeze ┼ hold ┼ compose ┼ load ┼ … ┼ last look ┼ shutdown ┼ check ┼ … ┼ place ┼ kernel ┼ initrd ┼ …
//! stopped  start                       look        jump       entered         placed   init
//! ╰──────────────────────────────────── blackout ──────────────────────────────────────────── arrived
//! ```
//!
//! All marks are seconds on one clock, the time stamp counter's, which keeps counting across the
//! jump. A mark that is not known makes its phases unknown: they are left out.

use super::clock::Boot;
use crate::handover::Handover;
use serde::{Deserialize, Serialize};

/// The phases of one kexec.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// In the order in which they began.
    pub phases: Vec<Phase>,
    /// Seconds from the last instant at which the old system served until [`until`](Self::until).
    pub blackout: Option<f64>,
    /// What ends the blackout, as far as it is known.
    pub until: Option<Until>,
}

/// A phase.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// Which.
    pub name: Name,
    /// Seconds after the blackout began; negative before it.
    pub start: f64,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// What ends a blackout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Until {
    /// The first program of the next kernel ran.
    Init,
    /// The system's own user space began.
    UserSpace,
    /// The kept memory was back for those who need it.
    Arrived,
    /// The boot was finished.
    Booted,
}

/// What a phase is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    /// Services stop.
    Freeze,
    /// Sources are held and read.
    Hold,
    /// The plan is made, the region composed, the next kernel staged.
    Compose,
    /// The kernel takes the mover.
    Load,
    /// The rest of the old system stops.
    Teardown,
    /// Whether everything is still as it was planned for.
    LastLook,
    /// The old kernel stops devices and processors.
    Shutdown,
    /// The mover checks its orders.
    Check,
    /// It moves what must move.
    Moves,
    /// It writes the region's metadata.
    Metadata,
    /// It puts the next kernel into place.
    Place,
    /// The next kernel unpacks itself and boots.
    Kernel,
    /// Its initrd works.
    Initrd,
    /// User space until the memory is back.
    Services,
    /// What boots after that.
    Boot,
}

/// Who is at work in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The old kernel and its user space.
    OldSystem,
    /// The mover.
    Mover,
    /// The next kernel, until its first program runs.
    NextKernel,
    /// Initrd and user space.
    UserSpace,
}

impl Name {
    /// Who is at work.
    #[must_use]
    pub const fn part(self) -> Part {
        match self {
            Self::Freeze
            | Self::Hold
            | Self::Compose
            | Self::Load
            | Self::Teardown
            | Self::LastLook
            | Self::Shutdown => Part::OldSystem,
            Self::Check | Self::Moves | Self::Metadata | Self::Place => Part::Mover,
            Self::Kernel => Part::NextKernel,
            Self::Initrd | Self::Services | Self::Boot => Part::UserSpace,
        }
    }
}

/// When things happened, in seconds from the jump (`reboot(2)`).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Marks {
    stopped: Option<f64>,
    start: Option<f64>,
    held: Option<f64>,
    composed: Option<f64>,
    loaded: Option<f64>,
    look: Option<f64>,
    mover: [Option<f64>; 5],
    init: Option<f64>,
    user_space: Option<f64>,
    arrived: Option<f64>,
    booted: Option<f64>,
}

impl Marks {
    /// The marks of the record and, where this kernel's clock is known, of this boot. `arrived` is in
    /// seconds of this kernel's clock.
    pub(super) fn of(record: &Handover, boot: &Boot, arrived: Option<f64>) -> Self {
        let at = |tsc: u64| match tsc.checked_sub(record.jump_tsc) {
            Some(_) => record.seconds(record.jump_tsc, tsc),
            None => record.seconds(tsc, record.jump_tsc).map(|before| -before),
        };
        let zero = boot.zero.and_then(at);
        // A clock that began before the mover had ended is none of this boot's.
        let placed = at(record.mover[4]);
        let zero = zero.filter(|zero| placed.is_some_and(|placed| placed <= *zero));
        let here = |mark: Option<f64>| Some(zero? + mark?);
        Self {
            stopped: at(record.stopped_tsc),
            start: at(record.start_tsc),
            held: at(record.held_tsc),
            composed: at(record.composed_tsc),
            loaded: at(record.loaded_tsc),
            look: at(record.look_tsc),
            mover: record.mover.map(at),
            init: here(boot.init),
            user_space: here(boot.user_space),
            arrived: here(arrived),
            booted: here(boot.finished),
        }
    }
}

impl Timeline {
    /// The phases between marks.
    pub(super) fn of(marks: &Marks) -> Self {
        let Marks { stopped, start, held, composed, loaded, look, mover, init, .. } = *marks;
        let Marks { user_space, arrived, booted, .. } = *marks;
        let [entered, checked, moved, metadata, placed] = mover;
        let before = |mark: Option<f64>| stopped.zip(mark).is_some_and(|(s, m)| s <= m);
        let frozen = if before(start) { start } else { look };
        let jump = Some(0.0);
        let mut phases = Phases { begin: stopped.or(start).unwrap_or(0.0), phases: Vec::new() };
        // Who says nothing of a stop means the start.
        if stopped != start {
            phases.add(Name::Freeze, stopped, frozen);
        }
        phases.add(Name::Hold, start, held);
        phases.add(Name::Compose, held, composed);
        phases.add(Name::Load, composed, loaded);
        // What was loaded long before is no part of the blackout, and no phase of its own.
        if before(loaded) {
            phases.add(Name::Teardown, loaded, look);
        }
        phases.add(Name::LastLook, look.or(loaded), jump);
        phases.add(Name::Shutdown, jump, entered);
        phases.add(Name::Check, entered, checked);
        phases.add(Name::Moves, checked, moved);
        phases.add(Name::Metadata, moved, metadata);
        phases.add(Name::Place, metadata, placed);
        phases.add(Name::Kernel, placed, init);

        // From the first program on: what comes when depends on the system.
        let mut later: Vec<(f64, Until)> = [
            (init, Until::Init),
            (user_space, Until::UserSpace),
            (arrived, Until::Arrived),
            (booted, Until::Booted),
        ]
        .into_iter()
        .filter_map(|(mark, until)| Some((mark?, until)))
        .collect();
        later.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut is_back = false;
        for pair in later.windows(2) {
            let [(from, begins), (to, ends)] = [pair[0], pair[1]];
            is_back |= begins == Until::Arrived;
            let name = match (begins, ends) {
                _ if is_back => Name::Boot,
                (Until::Init, Until::UserSpace) => Name::Initrd,
                (Until::Init, Until::Arrived) if user_space.is_some() => Name::Initrd,
                _ => Name::Services,
            };
            phases.add(name, Some(from), Some(to));
        }
        let end = later.iter().find(|mark| mark.1 == Until::Arrived).or(later.last());
        let blackout = end.and_then(|end| Some(micros(end.0 - stopped.or(start)?)));
        let mut phases = phases.phases;
        phases.sort_by(|a, b| a.start.total_cmp(&b.start));
        Self { phases, blackout, until: end.map(|end| end.1) }
    }

    /// How long a phase took, in seconds.
    #[must_use]
    pub fn seconds(&self, name: Name) -> Option<f64> {
        let of_name = self.phases.iter().filter(|phase| phase.name == name);
        of_name.map(|phase| phase.seconds).reduce(|a, b| a + b)
    }

    /// Whether every number is one that can be shown: what is read from a file may be anything.
    pub(crate) fn is_sound(&self) -> bool {
        let mut numbers = self.phases.iter().flat_map(|p| [p.start, p.seconds]);
        let sound = |seconds: f64| seconds.is_finite() && seconds.abs() < 1e9;
        self.phases.len() <= 32
            && numbers.all(sound)
            && self.phases.iter().all(|p| p.seconds >= 0.0)
            && self.blackout.is_none_or(sound)
    }
}

/// Seconds to the microsecond: nothing here is more exact.
fn micros(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

struct Phases {
    begin: f64,
    phases: Vec<Phase>,
}

impl Phases {
    fn add(&mut self, name: Name, from: Option<f64>, to: Option<f64>) {
        if let (Some(from), Some(to)) = (from, to)
            && to >= from
        {
            let (start, seconds) = (micros(from - self.begin), micros(to - from));
            self.phases.push(Phase { name, start, seconds });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten ticks a second.
    fn record() -> Handover {
        Handover {
            tsc_hz: 10,
            stopped_tsc: 900,
            start_tsc: 920,
            held_tsc: 930,
            composed_tsc: 935,
            loaded_tsc: 940,
            look_tsc: 990,
            jump_tsc: 1000,
            mover: [1010, 1011, 1013, 1014, 1020],
            ..Handover::default()
        }
    }

    const BOOT: Boot =
        Boot { zero: Some(1025), init: Some(1.0), user_space: Some(3.0), finished: Some(9.0) };

    fn names(timeline: &Timeline) -> Vec<Name> {
        timeline.phases.iter().map(|p| p.name).collect()
    }

    fn timeline(record: &Handover, boot: &Boot, arrived: Option<f64>) -> Timeline {
        Timeline::of(&Marks::of(record, boot, arrived))
    }

    #[test]
    fn phases_follow_each_other_and_add_up_to_the_blackout() {
        let t = timeline(&record(), &BOOT, Some(5.0));
        let last = t.phases.last().unwrap();
        assert_eq!((last.name, last.seconds), (Name::Boot, 4.0));
        for pair in t.phases.windows(2) {
            assert!((pair[0].start + pair[0].seconds - pair[1].start).abs() < 1e-9, "{pair:?}");
        }
        let sum: f64 = t.phases.iter().map(|p| p.seconds).sum();
        assert_eq!((t.blackout, t.until), (Some(17.5), Some(Until::Arrived)));
        assert!((sum - 17.5 - last.seconds).abs() < 1e-9);
        assert_eq!(t.seconds(Name::Freeze), Some(2.0));
        assert_eq!(t.seconds(Name::Teardown), Some(5.0));
        assert_eq!(t.seconds(Name::Kernel), Some(1.5));
        assert!(t.is_sound());
    }

    #[test]
    fn what_was_loaded_long_before_is_no_blackout() {
        let record = Handover { stopped_tsc: 980, ..record() };
        let t = timeline(&record, &BOOT, None);
        assert_eq!(t.seconds(Name::Teardown), None);
        assert_eq!(t.seconds(Name::Freeze), Some(1.0));
        assert_eq!(t.phases[0], Phase { name: Name::Hold, start: -6.0, seconds: 1.0 });
        assert_eq!((t.blackout, t.until), (Some(13.5), Some(Until::Booted)));
    }

    #[test]
    fn memory_may_be_back_before_the_initrd_has_ended() {
        let t = timeline(&record(), &BOOT, Some(2.0));
        assert_eq!(names(&t)[12..], [Name::Initrd, Name::Boot, Name::Boot]);
        assert_eq!((t.seconds(Name::Initrd), t.seconds(Name::Boot)), (Some(1.0), Some(7.0)));
    }

    #[test]
    fn what_is_unknown_is_left_out() {
        let t = timeline(&record(), &Boot::default(), Some(5.0));
        assert_eq!(names(&t).last(), Some(&Name::Place));
        assert_eq!((t.blackout, t.until), (None, None));
        // A clock of another boot.
        let t = timeline(&record(), &Boot { zero: Some(1015), ..BOOT }, None);
        assert_eq!(names(&t).last(), Some(&Name::Place));
        let t = timeline(&Handover { tsc_hz: 0, ..record() }, &BOOT, None);
        assert_eq!(t.phases, []);
        // A record of a version that had neither mark.
        let t = timeline(&Handover { stopped_tsc: 0, look_tsc: 0, ..record() }, &BOOT, None);
        assert_eq!(t.seconds(Name::LastLook), Some(6.0));
        assert_eq!(t.blackout, Some(19.5));
    }
}
