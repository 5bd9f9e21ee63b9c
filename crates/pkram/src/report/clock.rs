//! This kernel's own clock: when it began to count, and what happened when on it.
//!
//! The kernel's log and systemd count in seconds of `CLOCK_MONOTONIC`. To join them to the time
//! stamp counter, both are read at one instant; the counter's rate as the old kernel measured it is
//! good to about 1/20000, so that must happen soon after the boot ([`SOON`]).

use crate::klog;
use crate::sys::tsc;
use rustix::time::{ClockId, Timespec, clock_gettime};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::Command;

/// Until when the clocks can be joined, in seconds after the kernel's start: by then they are some
/// 50 ms apart.
pub const SOON: f64 = 900.0;

/// systemd runs where this is (`sd_booted(3)`).
const BOOTED: &str = "/run/systemd/system";

/// This boot, in seconds of the kernel's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Boot {
    /// TSC when the clock began.
    pub zero: Option<u64>,
    /// When the first program ran.
    pub init: Option<f64>,
    /// When systemd took over from the initrd.
    pub user_space: Option<f64>,
    /// When systemd had started everything.
    pub finished: Option<f64>,
}

impl Boot {
    /// As far as it can be told now. `tsc_hz` is the counter's rate.
    #[must_use]
    pub fn read(tsc_hz: u64) -> Self {
        let log = klog::read().unwrap_or_default();
        let mut boot = Self { zero: zero(tsc_hz), init: first_program(&log), ..Self::default() };
        if Path::new(BOOTED).exists() {
            let names =
                "InitRDTimestampMonotonic,UserspaceTimestampMonotonic,FinishTimestampMonotonic";
            let shown = Command::new("systemctl").args(["show", "--property", names]).output();
            boot.take(
                &shown.map(|s| String::from_utf8_lossy(&s.stdout).into_owned()).unwrap_or_default(),
            );
        }
        boot
    }

    /// What is known now, and where nothing is, what was known `earlier` in the same boot: the log is
    /// overwritten in time. When the clock began is best known early.
    #[must_use]
    pub fn with(self, earlier: Self) -> Self {
        Self {
            zero: earlier.zero.or(self.zero),
            init: self.init.or(earlier.init),
            user_space: self.user_space.or(earlier.user_space),
            finished: self.finished.or(earlier.finished),
        }
    }

    /// Whether every number is one that can be shown: what is read from a file may be anything.
    pub(crate) fn is_sound(&self) -> bool {
        let mut marks = [self.init, self.user_space, self.finished].into_iter().flatten();
        marks.all(|seconds| (0.0..1e9).contains(&seconds))
    }

    /// What `systemctl show` says: `NAME=microseconds`, 0 for what has not happened.
    fn take(&mut self, shown: &str) {
        let micros = |name: &str| {
            let value = shown.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('='))?;
            // Above 2^53 µs, 285 years, nothing is a time.
            let micros = value.parse::<u64>().ok().filter(|m| *m > 0 && *m < 1 << 53)?;
            Some(std::time::Duration::from_micros(micros).as_secs_f64())
        };
        // The log is overwritten in time; systemd remembers.
        self.init = self.init.or_else(|| micros("InitRDTimestampMonotonic"));
        self.user_space = micros("UserspaceTimestampMonotonic");
        self.finished = micros("FinishTimestampMonotonic");
    }
}

/// Seconds of `CLOCK_MONOTONIC`.
#[must_use]
pub fn monotonic() -> f64 {
    seconds(clock_gettime(ClockId::Monotonic))
}

fn seconds(time: Timespec) -> f64 {
    std::time::Duration::try_from(time).unwrap_or_default().as_secs_f64()
}

/// The TSC when the kernel's clock began; unknown where too much time has passed since, or where
/// the machine slept, which the kernel's clock does not count.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "at most 900 s of ticks, neither below 0 nor above 2^53"
)]
fn zero(tsc_hz: u64) -> Option<u64> {
    let (now, ticks) = (monotonic(), tsc());
    let slept = seconds(clock_gettime(ClockId::Boottime)) - now;
    let soon = now < SOON && slept < 0.001;
    soon.then(|| ticks.checked_sub((now * tsc_hz as f64) as u64))?
}

/// When the kernel says that it runs its first program (`init/main.c: run_init_process()`).
fn first_program(log: &str) -> Option<f64> {
    let line = log.lines().find(|line| {
        let text = line.split_once("] ").map(|(_, text)| text).unwrap_or_default();
        text.starts_with("Run /") && text.ends_with(" as init process")
    })?;
    let (stamp, _) = line.strip_prefix('[')?.split_once(']')?;
    stamp.trim().parse().ok().filter(|seconds: &f64| seconds.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_when_the_first_program_ran() {
        let log = "[    0.000000] Linux version 6.1\n\
                   [    0.900000] someone: Run /init as init process or not\n\
                   [    1.250000] Run /init as init process\n\
                   [    3.000000] Run /sbin/init as init process\n";
        assert_eq!(first_program(log), Some(1.25));
        assert_eq!(first_program("[ x] Run /init as init process"), None);
        assert_eq!(first_program(""), None);
    }

    #[test]
    fn systemd_tells_the_rest() {
        let mut boot = Boot::default();
        // As systemd 252 prints it on a machine whose initrd has no systemd.
        boot.take(
            "InitRDTimestampMonotonic=0\nUserspaceTimestampMonotonic=2500000\n\
             FinishTimestampMonotonic=99999999999999999999\n",
        );
        let want = Boot { user_space: Some(2.5), ..Boot::default() };
        assert_eq!(boot, want);
        boot.take("InitRDTimestampMonotonic=1000000\ngarbage\nFinishTimestampMonotonic=");
        assert_eq!((boot.init, boot.user_space, boot.finished), (Some(1.0), None, None));
        let earlier =
            Boot { zero: Some(1), user_space: Some(2.0), init: Some(9.0), finished: None };
        let both = Boot { zero: Some(5), ..boot }.with(earlier);
        assert_eq!(both, Boot { init: Some(1.0), ..earlier });
        assert!(both.is_sound() && !Boot { finished: Some(f64::NAN), ..both }.is_sound());
    }
}
