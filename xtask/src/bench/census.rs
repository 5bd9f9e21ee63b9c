//! Hold and census of one file on tmpfs, by the code that `pkram kexec` runs.
//!
//! PKRAM published 86 ns a page, on other hardware and in the kernel, where no page tables need to
//! be filled. How quick this machine is says the time that it takes to fill the file.

use std::io::Write as _;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use pkram::census::{Manner, hold};
use pkram::nodes::Save;
use pkram::progress::Silent;
use pkram::source::{SourceSpec, What, add};

use super::figure::Figure;
use super::once::timed;

/// A tmpfs on every Linux.
const TMPFS: &str = "/dev/shm";

const BYTES: u64 = 2 << 30;

const PAGE: u64 = 4096;

pub(super) fn measure() -> Result<Vec<Figure>> {
    let mut file = tempfile::Builder::new().prefix("pkram-bench-").tempfile_in(TMPFS)?;
    let piece = vec![0x5a; 1 << 20];
    let fill = || (0..BYTES >> 20).try_for_each(|_| file.write_all(&piece));
    let (filled, fill_seconds) = timed(fill);
    filled.with_context(|| format!("fill a file in {TMPFS}"))?;
    let mut save = Save::new();
    let what = What::Path(file.path().to_owned());
    add(&mut save, &[SourceSpec { name: "bench".into(), what, in_place: false }])?;

    let take = |threads| hold(&save, Manner { threads, no_pins: false }, &Silent);
    let (held, hold_seconds) = timed(|| take(1));
    let (held, census) = held?;
    let pages = census.pages();
    ensure!(pages == BYTES / PAGE, "{pages} pages of {} are held", BYTES / PAGE);

    let (change, look_seconds) = timed(|| census.changes_in_full(&save, &Silent));
    let change = change?;
    ensure!(change.is_none(), "the file changed while it was held: {change:?}");
    drop(held);

    let start = Instant::now();
    let both = take(2)?;
    let two_seconds = start.elapsed().as_secs_f64();
    drop(both);

    let size = "4 KiB page of a 2 GiB file on tmpfs";
    let each = |seconds: f64| seconds * 1e9 / (BYTES / PAGE) as f64;
    let rows = [
        (
            "hold",
            each(hold_seconds),
            format!(
                "pin (io_uring) and read the frame of each {size}, 1 thread; PKRAM published 86 ns"
            ),
        ),
        (
            "pin",
            each(hold_seconds - look_seconds),
            "of it the pins: the difference to the last look".into(),
        ),
        (
            "last-look",
            each(look_seconds),
            format!("map and read the frame of each {size}, 1 thread, without pins: the last look"),
        ),
        (
            "hold-2",
            each(two_seconds),
            format!("as census.hold, 2 threads, time that passes; each {size}"),
        ),
        ("fill", each(fill_seconds), "for comparison, to write each page once before".into()),
    ];
    let row = |(name, value, about): (&str, f64, String)| {
        Figure::new(&format!("census.{name}"), value, "ns/page", about)
    };
    let mut figures: Vec<_> = rows.into_iter().map(row).collect();
    let extents = census.extents() as f64;
    figures.push(Figure::new("census.extents", extents, "extents", "that the file lies in"));
    Ok(figures)
}
