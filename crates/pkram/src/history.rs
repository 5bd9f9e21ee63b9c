//! The last kexecs: `/var/lib/pkram/history.jsonl`, one JSON object a line, the latest last.
//!
//! ```text
//! old kernel   begin(entry)   the line is there, without an arrival
//! next kernel  finish(..)     the line of this boot's region gets its arrival
//! ```
//!
//! A line without an arrival is a kexec that did not come through, or that nobody waited for. At most
//! [`MAX_ENTRIES`] lines are kept. What is no line of ours when the file is read is passed over.

use crate::handover::Handover;
use crate::machine::{MachineError, boot_id, kernel_release};
use crate::progress::Progress;
use crate::report::clock::{Boot, SOON, monotonic};
use crate::report::timeline::Timeline;
use crate::save::{Prepared, SaveError};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// What pkram keeps over boots.
const STATE: &str = "/var/lib/pkram";
const FILE: &str = "history.jsonl";

/// So many kexecs are remembered.
pub const MAX_ENTRIES: usize = 100;

/// A file longer than this is none of ours, in bytes.
const MAX_FILE: u64 = 4 << 20;

/// Why the history cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// A file of it.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something else grew where it should be.
    #[error("{path} has {len} bytes, expected at most {MAX_FILE}; move it away", path = .path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its length.
        len: u64,
    },
    /// Which boot this is cannot be told.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// This kernel was not started by pkram, so nothing can have arrived.
    #[error("this kernel was not started by pkram: there is no handover record")]
    NotOurs,
}

/// One kexec.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The region that was made.
    pub region: Uuid,
    /// Who did it.
    pub way: Way,
    /// Nanoseconds since 1970 when this was written down.
    pub began: u64,
    /// Nanoseconds since 1970 when the old system stopped serving, if that is known.
    #[serde(default)]
    pub stopped: Option<u64>,
    /// Release of the kernel before.
    pub old_kernel: String,
    /// Release of the kernel that was loaded, as its image says.
    pub next_kernel: Option<String>,
    /// Nodes.
    pub sources: u64,
    /// Bytes kept.
    pub kept: u64,
    /// Of them, bytes that the mover copied.
    pub moved: u64,
    /// Spans of the region.
    pub spans: u64,
    /// What came of it.
    #[serde(default)]
    pub arrival: Option<Arrival>,
}

/// Who did a kexec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// `pkram kexec` or `pkram exec`.
    Command,
    /// The daemon, in a shutdown.
    Service,
}

/// How it was in the next kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arrival {
    /// That boot.
    pub boot: Uuid,
    /// Release of the kernel that runs there.
    pub kernel: String,
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Seconds of that kernel's clock (`CLOCK_MONOTONIC`).
    pub monotonic: f64,
    /// That boot, as far as it could be told then.
    pub clock: Boot,
    /// Whether everything is back.
    pub outcome: Outcome,
    /// Why not, for people.
    #[serde(default)]
    pub message: Option<String>,
    /// Where the time went until then.
    pub timeline: Timeline,
}

/// Whether what was kept is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All of it.
    Back,
    /// Some of it.
    Partly,
    /// None of it.
    Lost,
}

impl Entry {
    /// What is known before the jump.
    #[must_use]
    pub fn of(prepared: &Prepared, way: Way) -> Self {
        let manifest = &prepared.manifest;
        Self {
            region: prepared.region(),
            way,
            began: nanos(SystemTime::now()),
            stopped: prepared.stopped().map(nanos),
            old_kernel: manifest.old_kernel.clone(),
            next_kernel: manifest.next_kernel.clone(),
            sources: manifest.sources.len() as u64,
            kept: manifest.plan.preserved,
            moved: manifest.plan.moved,
            spans: manifest.plan.spans.len() as u64,
            arrival: None,
        }
    }
}

/// Writes down that a kexec is about to happen; it is on the disk when this returns.
///
/// # Errors
/// The file cannot be written; the kexec can go on without it.
pub fn begin(entry: Entry) -> Result<(), HistoryError> {
    let dir = Path::new(STATE);
    let mut entries = read_in(dir)?;
    entries.retain(|e| e.region != entry.region);
    entries.push(entry);
    write_in(dir, &entries)
}

/// Takes back what [`begin`] wrote down: the kexec did not happen.
///
/// # Errors
/// The file cannot be written.
pub fn abandon(region: Uuid) -> Result<(), HistoryError> {
    let dir = Path::new(STATE);
    let mut entries = read_in(dir)?;
    entries.retain(|e| e.region != region);
    write_in(dir, &entries)
}

/// Writes down what came of the kexec that started this kernel. Of several calls in one boot the
/// first counts; a kexec that [`begin`] could not write down has no entry to finish.
///
/// # Errors
/// This kernel was not started by pkram, or the file cannot be written.
pub fn finish(outcome: Outcome, message: Option<String>) -> Result<(), HistoryError> {
    let record = Handover::of_this_boot().ok_or(HistoryError::NotOurs)?;
    let dir = Path::new(STATE);
    let mut entries = read_in(dir)?;
    let unfinished = |e: &&mut Entry| e.region == record.region && e.arrival.is_none();
    let Some(entry) = entries.iter_mut().find(unfinished) else { return Ok(()) };
    let boot = Boot::read(record.tsc_hz);
    let monotonic = monotonic();
    entry.arrival = Some(Arrival {
        boot: boot_id()?,
        kernel: kernel_release(),
        time: nanos(SystemTime::now()),
        monotonic,
        clock: boot,
        outcome,
        message,
        timeline: Timeline::measure(&record, &boot, Some(monotonic)),
    });
    write_in(dir, &entries)
}

/// Writes down that the memory of a region is back, where that is the region of the kexec that
/// started this kernel and nobody has done so before. Later than [`SOON`] after the boot it means
/// nothing: somebody looks at what has long been there.
///
/// # Errors
/// The file cannot be written.
pub fn came_back(region: Uuid) -> Result<(), HistoryError> {
    let is_it = Handover::of_this_boot().is_some_and(|record| record.region == region);
    if is_it && monotonic() < SOON { finish(Outcome::Back, None) } else { Ok(()) }
}

/// Writes the kexec down, takes the last look, and jumps. Returns only if that fails; what was
/// loaded and written down is taken back then.
pub fn jump(mut prepared: Prepared, way: Way, progress: &dyn Progress) -> SaveError {
    let region = prepared.region();
    // A history is no reason not to go on.
    let _ = begin(Entry::of(&prepared, way));
    let error = match prepared.last_look(progress) {
        Ok(()) => prepared.jump(),
        Err(error) => error,
    };
    let _ = abandon(region);
    error
}

/// The entries, oldest first; none where there is no history.
///
/// # Errors
/// The file is there, but cannot be read, or is too long.
pub fn read() -> Result<Vec<Entry>, HistoryError> {
    read_in(Path::new(STATE))
}

fn read_in(dir: &Path) -> Result<Vec<Entry>, HistoryError> {
    let path = dir.join(FILE);
    let file = match File::open(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(io_at(&path))?,
    };
    let len = file.metadata().map_err(io_at(&path))?.len();
    let mut text = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(io_at(&path))?;
    if text.len() as u64 > MAX_FILE {
        return Err(HistoryError::TooLong { path, len });
    }
    let lines = text.split(|byte| *byte == b'\n');
    let entries = lines.filter_map(|line| serde_json::from_slice::<Entry>(line).ok());
    let sound = |e: &Entry| {
        e.arrival.as_ref().is_none_or(|a| {
            (0.0..1e9).contains(&a.monotonic) && a.clock.is_sound() && a.timeline.is_sound()
        })
    };
    let entries: Vec<_> = entries.filter(sound).collect();
    let old = entries.len().saturating_sub(MAX_ENTRIES);
    Ok(entries.into_iter().skip(old).collect())
}

/// The file is there whole or as it was.
fn write_in(dir: &Path, entries: &[Entry]) -> Result<(), HistoryError> {
    let mut text = Vec::new();
    for entry in &entries[entries.len().saturating_sub(MAX_ENTRIES)..] {
        let line = serde_json::to_vec(entry).map_err(io::Error::other);
        text.extend(line.map_err(io_at(&dir.join(FILE)))?);
        text.push(b'\n');
    }
    fs::create_dir_all(dir).map_err(io_at(dir))?;
    let new = dir.join(format!("{FILE}.new"));
    let mut file = File::create(&new).map_err(io_at(&new))?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(io_at(&new))?;
    fs::rename(&new, dir.join(FILE)).map_err(io_at(&new))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_at(dir))
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> HistoryError + '_ {
    move |source| HistoryError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u128) -> Entry {
        Entry {
            region: Uuid::from_u128(number),
            way: Way::Service,
            began: 1,
            stopped: None,
            old_kernel: "6.1".to_owned(),
            next_kernel: None,
            sources: 1,
            kept: 4096,
            moved: 0,
            spans: 1,
            arrival: None,
        }
    }

    #[test]
    fn the_last_hundred_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("pkram");
        assert_eq!(read_in(&dir).unwrap(), []);
        let all: Vec<_> = (0..130).map(entry).collect();
        write_in(&dir, &all).unwrap();
        assert_eq!(read_in(&dir).unwrap(), all[30..]);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn whatever_lies_there_nothing_breaks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let good = serde_json::to_string(&entry(7)).unwrap();
        let mut wild = entry(8);
        wild.arrival = Some(Arrival {
            boot: Uuid::nil(),
            kernel: String::new(),
            time: 0,
            monotonic: 1e300,
            clock: Boot::default(),
            outcome: Outcome::Back,
            message: None,
            timeline: Timeline { blackout: Some(1e300), ..Timeline::default() },
        });
        let wild = serde_json::to_string(&wild).unwrap();
        let nested = "[".repeat(100_000);
        let cut = &good[..good.len() / 2];
        fs::write(&path, format!("\u{0}\n{nested}\n{cut}\n{wild}\n{good}\n{{}}\n")).unwrap();
        assert_eq!(read_in(dir.path()).unwrap(), [entry(7)]);
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(matches!(read_in(dir.path()), Err(HistoryError::TooLong { .. })));
    }
}
