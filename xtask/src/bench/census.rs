//! Hold and census of one file on tmpfs, in one thread, by the code that `pkram kexec` runs.
//!
//! PKRAM published 86 ns a page, on other hardware and in the kernel, where no page tables need to
//! be filled. How quick this machine is says the time that it takes to fill the file.

use std::io::Write as _;

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
    let spec = SourceSpec {
        name: "bench".into(),
        what: What::Path(file.path().to_owned()),
        in_place: false,
    };
    let mut save = Save::new();
    add(&mut save, &[spec])?;

    let (held, hold_seconds) =
        timed(|| hold(&save, Manner { threads: 1, no_pins: false }, &Silent));
    let (held, census) = held?;
    let pages = census.pages();
    ensure!(pages == BYTES / PAGE, "{pages} pages of {} are held", BYTES / PAGE);

    let (change, look_seconds) = timed(|| census.changes_in_full(&save, &Silent));
    let change = change?;
    ensure!(change.is_none(), "the file changed while it was held: {change:?}");
    drop(held);

    let size = "4 KiB page of a 2 GiB file on tmpfs, 1 thread";
    let each = |seconds: f64| seconds * 1e9 / (BYTES / PAGE) as f64;
    Ok(vec![
        Figure::new(
            "census.hold",
            each(hold_seconds),
            "ns/page",
            format!("map, pin (io_uring) and read the frame of each {size}; PKRAM published 86 ns"),
        ),
        Figure::new(
            "census.pin",
            each(hold_seconds - look_seconds),
            "ns/page",
            "of it the pins: the difference to the last look",
        ),
        Figure::new(
            "census.last-look",
            each(look_seconds),
            "ns/page",
            format!("map and read the frame of each {size}, without pins: the last look"),
        ),
        Figure::new(
            "census.fill",
            each(fill_seconds),
            "ns/page",
            "for comparison, to write each page once before",
        ),
        Figure::new("census.extents", census.extents() as f64, "extents", "that the file lies in"),
    ])
}
