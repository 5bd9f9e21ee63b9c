//! PID 1 of a virtual machine inside the test machine: a workload that knows when it was disturbed.
//!
//! ```text
//! mount proc, sysfs ─► fill most of memory ─► [ check a page, write it anew ] for ever
//!                                              └─► a line of JSON a second on the console
//! ```
//!
//! A page's content follows from its number and the round in which it was written. Each round reads
//! what the round before wrote, so a page that was lost, swapped or taken back in time shows.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, mount};
use serde::Serialize;

use crate::ballast::available;
use crate::rng::Rng;

/// Words of 8 bytes in a page.
const PAGE_WORDS: usize = 512;

/// Of the memory that is available, the pattern gets so many eighths.
const EIGHTHS: u64 = 7;

const TICK: Duration = Duration::from_secs(1);

/// What it says every second.
#[derive(Serialize)]
struct Beat<'a> {
    boot_id: &'a str,
    /// Seconds since the kernel started, as it counts them itself.
    uptime: f64,
    /// The machine's battery-backed clock, in seconds since 1970: it goes on while the machine
    /// stands still.
    rtc: Option<u64>,
    /// Lines so far, this one included.
    counter: u64,
    /// Bytes under the pattern.
    bytes: u64,
    /// Rounds that came to their end: each checked every page.
    rounds: u64,
    /// Pages that were not what they should be, ever.
    wrong: u64,
}

/// Runs for ever.
pub(crate) fn run() -> Result<()> {
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys")] {
        mount(kind, target, kind, MountFlags::empty(), None)
            .with_context(|| format!("mount {kind}"))?;
    }
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let mut pattern = Pattern::fill(available()? / 8 * EIGHTHS)?;
    let mut next = Instant::now();
    for counter in 1.. {
        while Instant::now() < next {
            pattern.step();
        }
        next += TICK;
        let beat = Beat {
            boot_id: boot_id.trim(),
            uptime: uptime()?,
            rtc: rtc(),
            counter,
            bytes: u64::try_from(pattern.words.len() * size_of::<u64>())?,
            rounds: pattern.round,
            wrong: pattern.wrong,
        };
        println!("{}", serde_json::to_string(&beat)?);
    }
    Ok(())
}

struct Pattern {
    words: Vec<u64>,
    /// The page that is looked at next.
    page: usize,
    /// Complete rounds. Pages before `page` are of the next one.
    round: u64,
    wrong: u64,
}

impl Pattern {
    fn fill(bytes: u64) -> Result<Self> {
        let pages = usize::try_from(bytes)? / size_of::<u64>() / PAGE_WORDS;
        let mut words = vec![0; pages * PAGE_WORDS];
        for (page, words) in words.chunks_exact_mut(PAGE_WORDS).enumerate() {
            write(words, page, 0);
        }
        Ok(Self { words, page: 0, round: 0, wrong: 0 })
    }

    /// Checks one page and writes it for the next round.
    fn step(&mut self) {
        let start = self.page * PAGE_WORDS;
        let words = &mut self.words[start..start + PAGE_WORDS];
        self.wrong += u64::from(!is(words, self.page, self.round));
        write(words, self.page, self.round + 1);
        self.page += 1;
        if self.page * PAGE_WORDS == self.words.len() {
            self.page = 0;
            self.round += 1;
        }
    }
}

fn numbers(page: usize, round: u64) -> Rng {
    Rng::stream(round, page as u64)
}

fn write(words: &mut [u64], page: usize, round: u64) {
    let mut numbers = numbers(page, round);
    words.fill_with(|| numbers.next());
}

fn is(words: &[u64], page: usize, round: u64) -> bool {
    let mut numbers = numbers(page, round);
    words.iter().all(|&word| word == numbers.next())
}

fn uptime() -> Result<f64> {
    let text = fs::read_to_string("/proc/uptime")?;
    text.split(' ').next().unwrap_or_default().parse().context("/proc/uptime")
}

/// None where the machine has no such clock.
fn rtc() -> Option<u64> {
    fs::read_to_string("/sys/class/rtc/rtc0/since_epoch").ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 8 * 4096;

    fn round(pattern: &mut Pattern) {
        (0..8).for_each(|_| pattern.step());
    }

    #[test]
    fn an_undisturbed_pattern_goes_on_and_on() {
        let mut pattern = Pattern::fill(BYTES).unwrap();
        (0..3).for_each(|_| round(&mut pattern));
        assert_eq!((pattern.round, pattern.wrong), (3, 0));
    }

    #[test]
    fn one_bit_a_page_of_before_and_swapped_pages_show() {
        let mut pattern = Pattern::fill(BYTES).unwrap();
        let before = pattern.words.clone();
        round(&mut pattern);
        pattern.words[PAGE_WORDS] ^= 1;
        pattern.words[2 * PAGE_WORDS..3 * PAGE_WORDS]
            .copy_from_slice(&before[2 * PAGE_WORDS..3 * PAGE_WORDS]);
        let (left, right) = pattern.words.split_at_mut(5 * PAGE_WORDS);
        left[4 * PAGE_WORDS..].swap_with_slice(&mut right[..PAGE_WORDS]);
        round(&mut pattern);
        assert_eq!((pattern.round, pattern.wrong), (2, 4));
        round(&mut pattern);
        assert_eq!(pattern.wrong, 4, "what was written anew is right again");
    }
}
