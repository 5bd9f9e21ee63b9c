//! Hold and census of one file on tmpfs, by the code that `pkram kexec` runs.
//!
//! PKRAM published 86 ns a page of 4 KiB and 8.9 ns on sixteen processors, on other hardware and in
//! the kernel, where no page tables need to be filled. How quick this machine is says the time that
//! it takes to fill the file.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use physmem::PAGE_SIZE;
use pkram::census::{Manner, PageExtent, hold};
use pkram::nodes::Save;
use pkram::progress::Silent;
use pkram::source::{SourceSpec, What, add};

use super::figure::Figure;
use super::once::timed;

/// A tmpfs on every Linux.
const TMPFS: &str = "/dev/shm";

const BYTES: u64 = 2 << 30;

/// Pages of 4 KiB, as every tmpfs has them.
pub(super) fn small() -> Result<Vec<Figure>> {
    measure(Path::new(TMPFS), "census", 4 << 10)
}

/// Pages of 2 MiB, on a tmpfs that uses them. It is mounted where nobody else sees it: this process
/// has mounts of its own ([`super::once::with_own_mounts`]).
pub(super) fn huge() -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let mount = ["-t", "tmpfs", "-o", "huge=always", "none"];
    let status = Command::new("mount").args(mount).arg(folder.path()).status()?;
    ensure!(status.success(), "no tmpfs with huge pages: {status}");
    let figures = measure(folder.path(), "census.huge", 2 << 20);
    let status = Command::new("umount").arg(folder.path()).status()?;
    ensure!(status.success(), "cannot unmount {}: {status}", folder.path().display());
    figures
}

fn measure(folder: &Path, group: &str, page: u64) -> Result<Vec<Figure>> {
    let mut file = tempfile::Builder::new().prefix("pkram-bench-").tempfile_in(folder)?;
    let piece = vec![0x5a; 1 << 20];
    let fill = || (0..BYTES >> 20).try_for_each(|_| file.write_all(&piece));
    let (filled, fill_seconds) = timed(fill);
    filled.with_context(|| format!("fill a file in {}", folder.display()))?;
    let mut save = Save::new();
    let what = What::Path(file.path().to_owned());
    add(&mut save, &[SourceSpec { name: "bench".into(), what, in_place: false }])?;

    let take = |threads| hold(&save, Manner { threads, no_pins: false }, &Silent);
    let (held, hold_seconds) = timed(|| take(1));
    let (held, census) = held?;
    let pages = census.pages();
    ensure!(pages == BYTES / PAGE_SIZE, "{pages} pages of {} are held", BYTES / PAGE_SIZE);
    let whole = |e: &PageExtent| (e.pfn * PAGE_SIZE).is_multiple_of(page);
    let extents = census.files.iter().flat_map(|file| &file.extents);
    ensure!(extents.into_iter().all(whole), "not all in pages of {page} bytes");

    let (change, look_seconds) = timed(|| census.changes_in_full(&save, &Silent));
    let change = change?;
    ensure!(change.is_none(), "the file changed while it was held: {change:?}");
    drop(held);

    let start = Instant::now();
    let both = take(2)?;
    let two_seconds = start.elapsed().as_secs_f64();
    drop(both);

    let size = format!("{} KiB page of a 2 GiB file on tmpfs", page >> 10);
    let rows = [
        (
            "hold",
            hold_seconds,
            format!("map, pin (io_uring) and read the frame of each {size}, 1 thread"),
        ),
        (
            "pin",
            hold_seconds - look_seconds,
            "of it the pins: the difference to the last look".into(),
        ),
        (
            "last-look",
            look_seconds,
            format!("map and read the frame of each {size}, 1 thread, without pins: the last look"),
        ),
        ("hold-2", two_seconds, "as hold, 2 threads, time that passes".into()),
        ("fill", fill_seconds, "for comparison, to write each page once before".into()),
    ];
    let row = |(name, seconds, about): (&str, f64, String)| {
        let each = seconds * 1e9 / (BYTES / page) as f64;
        Figure::new(&format!("{group}.{name}"), each, "ns/page", about)
    };
    let mut figures: Vec<_> = rows.into_iter().map(row).collect();
    let extents = census.extents() as f64;
    figures.push(Figure::new(
        &format!("{group}.extents"),
        extents,
        "extents",
        "that the file lies in",
    ));
    Ok(figures)
}
