//! The kernel command line of every machine.

use std::fmt;
use std::ops::Deref;
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What every machine's kernel is told, as text: stock, but quick to boot under TCG and sure to end on
/// a panic. Pass it on at a kexec.
///
/// `earlyprintk`: what the next kernel's decompressor complains of is on the console.
/// `norandmaps`: TCG keeps translated code by its virtual address, in one list for each page of
/// memory. Programs that start at new addresses each time make that list grow by thousands, and
/// each byte written over that page later walks it (QEMU: accel/tcg/translate-all.c,
/// `tb_invalidate_phys_page_range__locked`): a kernel unpacking itself there takes minutes.
/// `tsc_early_khz`: TCG shows the guest this machine's own time stamp counter. A kernel that counts
/// its rate while this machine is busy may come out at a third of it, and its clock runs three
/// times too fast from then on.
pub static APPEND: Append = Append(OnceLock::new());

const FIXED: &str = "earlyprintk=serial,ttyS0,115200 console=ttyS0 panic=-1 mitigations=off \
                     tsc=reliable no_timer_check norandmaps";

/// A text that is made when it is first used.
#[derive(Debug)]
pub struct Append(OnceLock<String>);

impl Deref for Append {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.get_or_init(|| format!("{FIXED} tsc_early_khz={}", tsc_khz()))
    }
}

impl fmt::Display for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// Ticks of the time stamp counter in a millisecond.
fn tsc_khz() -> u128 {
    let (began, from) = now();
    sleep(Duration::from_millis(50));
    let (ended, to) = now();
    u128::from(to.saturating_sub(from)) * 1_000_000 / (ended - began).as_nanos()
}

/// An instant, and the counter at it: of some pairs that which was read fastest.
fn now() -> (Instant, u64) {
    let read = |_| {
        let (before, tsc, after) = (Instant::now(), pkram::tsc(), Instant::now());
        (after - before, before, tsc)
    };
    let (_, at, tsc) = (0..100).map(read).min().expect("a hundred pairs");
    (at, tsc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_counts_agree() {
        // The kernel itself takes one percent for the same.
        assert!(tsc_khz().abs_diff(tsc_khz()) < tsc_khz() / 200);
    }
}
