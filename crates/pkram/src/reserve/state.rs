//! What is remembered of a reservation outside of memory: `/var/lib/pkram/reserve.json`.
//!
//! Memory alone cannot tell that it was somebody else's RAM in between. The file can: it says what
//! was reserved, which region was made there, and which generation it has to have by now. Without
//! the file (another root disk, or somebody removed it) a region is judged by itself alone.

use crate::head::SpanHead;
use crate::marks::Count;
use physmem::PhysRange;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Where it is kept.
const FILE: &str = "/var/lib/pkram/reserve.json";

/// Version of the file's shape.
const VERSION: u32 = 1;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its contents.
    #[error("{path}: {what}; repair it, or remove it if no reservation is meant", path = .path.display())]
    Bad {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// A reserved region that cannot be what was written to it last.
#[derive(Debug, thiserror::Error)]
pub enum Stale {
    /// An older generation, or one whose memory was RAM since.
    #[error(
        "region {region} is stale: it has generation {found}, expected {expected} at least \
         ({FILE}); its memory was RAM, or another system's, since. It is left as it is"
    )]
    Generation {
        /// The region.
        region: Uuid,
        /// Its generation.
        found: u64,
        /// What the file says.
        expected: u64,
    },
    /// From before the reservation.
    #[error(
        "region {region} is a remnant: this memory was RAM when it was reserved ({FILE}), and the \
         region that was made here since is {expected}. It is left as it is"
    )]
    Remnant {
        /// The region.
        region: Uuid,
        /// The one of this reservation, or `none`.
        expected: String,
    },
    /// The file.
    #[error(transparent)]
    State(#[from] StateError),
}

/// A reservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    start: u64,
    len: u64,
    /// The boot in which the range was chosen; it was RAM then.
    pub(super) boot: Uuid,
    /// The region that was made there.
    pub(super) region: Option<Uuid>,
    /// The least generation that the region can have.
    pub(super) generation: u64,
}

impl State {
    pub(super) fn new(range: PhysRange, boot: Uuid) -> Self {
        let (start, len) = (range.start(), range.len());
        Self { version: VERSION, start, len, boot, region: None, generation: 0 }
    }

    /// With the region that is there now.
    pub(super) fn with(self, region: Uuid, generation: u64) -> Self {
        Self { region: Some(region), generation, ..self }
    }

    pub(super) fn range(&self) -> Result<PhysRange, StateError> {
        PhysRange::from_len(self.start, self.len).map_err(|e| bad(e.to_string()))
    }

    pub(super) fn load() -> Result<Option<Self>, StateError> {
        let text = match fs::read(FILE) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(io_at)?,
        };
        let state: Self = serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))?;
        if state.version != VERSION {
            return Err(bad(format!("version {}, this pkram reads {VERSION}", state.version)));
        }
        Ok(Some(state))
    }

    /// Replaces the file as a whole, so that a crash leaves the old or the new one.
    pub(super) fn save(&self) -> Result<(), StateError> {
        let text = serde_json::to_vec_pretty(self).map_err(|e| bad(e.to_string()))?;
        write_whole(Path::new(FILE), &text).map_err(io_at)
    }

    pub(super) fn remove() -> Result<(), StateError> {
        match fs::remove_file(FILE) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(io_at),
        }
    }

    fn judge(&self, head: &SpanHead, count: Count) -> Result<(), Stale> {
        let region = head.region;
        if self.range()?.intersect(head.range).is_none() {
            return Ok(());
        }
        if self.region != Some(region) {
            let expected = self.region.map_or("none".to_owned(), |r| r.to_string());
            return Err(Stale::Remnant { region, expected });
        }
        let (found, expected) = (count.generation, self.generation);
        if found < expected { Err(Stale::Generation { region, found, expected }) } else { Ok(()) }
    }
}

/// Refuses a reserved region that the file knows to be stale.
pub(crate) fn refuse_stale(head: &SpanHead, count: Count) -> Result<(), Stale> {
    State::load()?.map_or(Ok(()), |state| state.judge(head, count))
}

/// Writes a file that is there as a whole or not at all, and its folder.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let partial = path.with_extension("partial");
    let mut file = File::create(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    File::open(folder)?.sync_all()
}

fn io_at(source: io::Error) -> StateError {
    StateError::Io { path: FILE.into(), source }
}

fn bad(what: String) -> StateError {
    StateError::Bad { path: FILE.into(), what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_is_stale() {
        let range = PhysRange::from_len(0x4000_0000, 64 << 20).unwrap();
        let (region, boot) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let counted = Count { generation: 4, boot };
        let (count, region_blocks) = (1, range.pages());
        let head = SpanHead {
            region,
            index: 0,
            count,
            range,
            first_block: 0,
            region_blocks,
            created: 0,
            marks_from: Some(9),
        };
        let state = State { region: Some(region), generation: 4, ..State::new(range, boot) };
        assert!(state.judge(&head, counted).is_ok());
        assert!(State { generation: 3, ..state.clone() }.judge(&head, counted).is_ok());
        let older = State { generation: 5, ..state.clone() }.judge(&head, counted);
        assert!(matches!(older, Err(Stale::Generation { found: 4, expected: 5, .. })));
        assert!(matches!(
            State::new(range, boot).judge(&head, counted),
            Err(Stale::Remnant { .. })
        ));
        // Regions that lie elsewhere are no business of the file's.
        let elsewhere = PhysRange::from_len(0x8000_0000, 64 << 20).unwrap();
        assert!(state.judge(&SpanHead { range: elsewhere, ..head }, counted).is_ok());
    }
}
