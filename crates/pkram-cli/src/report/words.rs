//! What things are called, and how numbers are written.

use pkram::history::{Entry, Outcome, Way};
use pkram::picture::{Kind, Strip};
use pkram::report::timeline::{Name, Part, Until};
use std::time::{Duration, UNIX_EPOCH};

/// A phase: its name, and what happens in it.
pub(super) const fn phase(name: Name) -> (&'static str, &'static str) {
    match name {
        Name::Freeze => ("freeze", "services stop"),
        Name::Hold => ("hold", "sources are held, their pages looked up"),
        Name::Compose => ("compose", "plan, region and next kernel are made ready"),
        Name::Load => ("load", "the kernel takes the mover"),
        Name::Teardown => ("teardown", "the rest of the old system stops"),
        Name::LastLook => ("last look", "is everything as it was planned for?"),
        Name::Shutdown => ("shutdown", "the old kernel stops devices and processors"),
        Name::Check => ("check", "the mover checks its orders"),
        Name::Moves => ("moves", "pages that must move are copied"),
        Name::Metadata => ("metadata", "the region's metadata is written"),
        Name::Place => ("place", "the next kernel is put into its place"),
        Name::Kernel => ("kernel", "the next kernel unpacks itself and boots"),
        Name::Initrd => ("initrd", "its initrd works"),
        Name::Services => ("user space", "what starts until the memory is back"),
        Name::Boot => ("boot", "what starts after that"),
    }
}

/// Who is at work.
pub(super) const fn part(part: Part) -> &'static str {
    match part {
        Part::OldSystem => "old system",
        Part::Mover => "mover",
        Part::NextKernel => "next kernel",
        Part::UserSpace => "user space",
    }
}

/// What ended the blackout.
pub(super) const fn until(until: Until) -> &'static str {
    match until {
        Until::Init => "until the first program ran",
        Until::UserSpace => "until user space began",
        Until::Arrived => "until the memory was back",
        Until::Booted => "until the boot was finished",
    }
}

/// What a piece of memory is used for.
pub(super) const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Ram => "RAM",
        Kind::Region => "region",
        Kind::Other => "not pkram's",
        Kind::Window => "next kernel",
        Kind::Initrd => "initrd",
        Kind::Parameters => "parameters",
        Kind::Mover => "mover",
        Kind::Kernel => "kernel",
        Kind::GivenBack => "given back",
        Kind::Released => "released",
    }
}

/// The same, and of which region, as far as one tells them apart.
pub(super) fn strip(strip: &Strip) -> String {
    let region = strip
        .region
        .iter()
        .map(|uuid| format!(" {}", plain(uuid).chars().take(8).collect::<String>()));
    format!("{}{}", kind(strip.kind), region.collect::<String>())
}

/// The same, for names of CSS classes and labels of metrics.
pub(super) const fn slug(kind: Kind) -> &'static str {
    match kind {
        Kind::Ram => "ram",
        Kind::Region => "region",
        Kind::Other => "other",
        Kind::Window => "window",
        Kind::Initrd => "initrd",
        Kind::Parameters => "parameters",
        Kind::Mover => "mover",
        Kind::Kernel => "kernel",
        Kind::GivenBack => "given-back",
        Kind::Released => "released",
    }
}

/// What came of a kexec.
pub(super) fn outcome(entry: &Entry) -> &'static str {
    match entry.arrival.as_ref().map(|a| a.outcome) {
        Some(Outcome::Back) => "back",
        Some(Outcome::Partly) => "partly back",
        Some(Outcome::Lost) => "lost",
        None => "not noted",
    }
}

/// Who did it.
pub(super) const fn way(way: Way) -> &'static str {
    match way {
        Way::Command => "pkram",
        Way::Service => "pkramd",
    }
}

/// `1.234 s`, `12.3 ms`, `45 µs`.
pub(super) fn seconds(seconds: f64) -> String {
    match seconds.abs() {
        s if s >= 100.0 => format!("{seconds:.0} s"),
        s if s >= 1.0 => format!("{seconds:.2} s"),
        s if s >= 0.1 => format!("{:.0} ms", seconds * 1e3),
        s if s >= 1e-3 => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{:.0} µs", seconds * 1e6),
    }
}

/// Nanoseconds since 1970 as `2026-11-22 15:04:05 UTC`.
pub(super) fn moment(nanos: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(nanos / 1_000_000_000);
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.replace('T', " ").replace('Z', " UTC")
}

/// A part of a whole in percent, as `0.3 %`.
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub(super) fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", part as f64 * 100.0 / whole.max(1) as f64)
}

/// What others wrote, without what a terminal would obey.
pub(super) fn plain(text: &str) -> String {
    let seen = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().take(200).map(seen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        let texts = [123.4, 1.2345, 0.5, 0.0123, 0.000_045, 0.0].map(seconds);
        assert_eq!(texts, ["123 s", "1.23 s", "500 ms", "12.3 ms", "45 µs", "0 µs"]);
        assert_eq!(moment(1_700_000_000_999_999_999), "2023-11-14 22:13:20 UTC");
        assert_eq!(moment(u64::MAX), "2554-07-21 23:34:33 UTC");
        assert_eq!(percent(1, 0), "100.0 %");
        assert_eq!(plain("a\u{1b}[31m\n"), "a\u{fffd}[31m\u{fffd}");
    }
}
