//! What the guest says, a line a second, and whether it is one life.

use serde::Deserialize;

/// A line of `guest inner`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Beat {
    pub(super) boot_id: String,
    /// Seconds since the guest's kernel started, by its own clock.
    pub(super) uptime: f64,
    /// Seconds since 1970, by the battery-backed clock of the guest's machine.
    pub(super) rtc: Option<u64>,
    /// Lines so far.
    pub(super) counter: u64,
    /// Bytes under the pattern.
    pub(super) bytes: u64,
    /// How often all of the pattern was checked.
    pub(super) rounds: u64,
    /// Pages that were ever wrong.
    pub(super) wrong: u64,
}

/// Between two lines the guest may be late by so many seconds of its own; emulators are.
const LATE: f64 = 5.0;

/// All of them on a serial port, in their order; what else is said there is passed over.
pub(super) fn of(serial: &str) -> Vec<Beat> {
    serial.lines().filter_map(|line| serde_json::from_str(line.trim()).ok()).collect()
}

/// No line is missing or said twice, the clock goes on without a jump, no page was ever wrong.
pub(super) fn one_life(beats: &[Beat]) -> bool {
    let mut expected = 1..;
    beats.iter().all(|beat| expected.next() == Some(beat.counter) && beat.wrong == 0)
        && beats.windows(2).all(|pair| {
            let step = pair[1].uptime - pair[0].uptime;
            pair[0].boot_id == pair[1].boot_id
                && pair[0].rounds <= pair[1].rounds
                && (0.0..LATE).contains(&step)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(counter: u64, change: impl Fn(&mut Beat)) -> Beat {
        let mut beat = Beat {
            boot_id: "a".into(),
            uptime: 9.5 + f64::from(u32::try_from(counter).unwrap()),
            rtc: None,
            counter,
            bytes: 4096,
            rounds: counter / 2,
            wrong: 0,
        };
        change(&mut beat);
        beat
    }

    #[test]
    fn a_line_that_was_cut_by_the_pause_is_whole_again() {
        let (before, after) = (
            "[    1.0] booting\r\n{\"boot_id\":\"a\",\"uptime\":10.5,\"rtc\":null,\"coun",
            "ter\":1,\"bytes\":4096,\"rounds\":0,\"wrong\":0}\r\n",
        );
        assert_eq!(of(before), []);
        assert_eq!(of(&(before.to_owned() + after)), [said(1, |_| {})]);
    }

    #[test]
    fn a_restart_a_gap_and_a_wrong_page_are_seen() {
        let life = |change: &dyn Fn(&mut Beat)| {
            one_life(&[said(1, |_| {}), said(2, |_| {}), said(3, change)])
        };
        assert!(life(&|_| {}));
        assert!(!life(&|beat| beat.boot_id = "b".into()));
        assert!(!life(&|beat| beat.counter = 4));
        assert!(!life(&|beat| beat.counter = 1));
        assert!(!life(&|beat| beat.uptime = 1.0));
        assert!(!life(&|beat| beat.uptime += 20.0));
        assert!(!life(&|beat| beat.rounds = 0));
        assert!(!life(&|beat| beat.wrong = 1));
    }
}
