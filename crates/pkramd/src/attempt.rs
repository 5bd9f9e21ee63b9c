//! What was to come through the last kexec, noted on disk before the jump: without it, nobody in
//! the next kernel could tell memory that is missing from memory that never was.

use crate::journal::Event;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// What pkram keeps over boots.
pub(crate) const STATE: &str = "/var/lib/pkram";
const FILE: &str = "attempt.json";

/// One kexec that was prepared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    /// The region that was made; none where nothing was to be held.
    pub(crate) region: Option<String>,
    /// The nodes that were to come through.
    pub(crate) nodes: Vec<String>,
    /// Why it failed, if the one that went down could tell.
    #[serde(default)]
    pub(crate) failed: Option<String>,
}

impl Attempt {
    /// Notes it down, for certain; a full disk is no reason to lose what is kept.
    pub(crate) fn begin(region: Option<String>, nodes: Vec<String>) {
        if let Err(error) = (Self { region, nodes, failed: None }).write() {
            Event::Note.tell(&format!(
                "{STATE}/{FILE}: {error}; whether memory is missing will not be known"
            ));
        }
    }

    /// Whether one was noted.
    pub(crate) fn is_noted() -> bool {
        Path::new(STATE).join(FILE).exists()
    }

    /// Notes that it failed.
    pub(crate) fn fail(why: &str) -> io::Result<()> {
        let noted = Self::read().unwrap_or_default();
        Self { failed: Some(why.to_owned()), ..noted }.write()
    }

    /// What was noted before this boot, if anything was; it is forgotten.
    pub(crate) fn take() -> Option<Self> {
        let noted = Self::read();
        // Noted twice it would make memory seem missing that was never sent.
        let _ = fs::remove_file(Path::new(STATE).join(FILE));
        noted
    }

    fn read() -> Option<Self> {
        serde_json::from_slice(&fs::read(Path::new(STATE).join(FILE)).ok()?).ok()
    }

    fn write(&self) -> io::Result<()> {
        write_whole(FILE, &serde_json::to_vec(self)?)
    }
}

/// Writes a file of ours that is there whole or not at all.
pub(crate) fn write_whole(name: &str, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(STATE)?;
    let new = Path::new(STATE).join(format!("{name}.new"));
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(new, Path::new(STATE).join(name))?;
    File::open(STATE)?.sync_all()
}

/// The required sources whose memory has been here once: without it their services do not start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Expected {
    sources: Vec<String>,
}

const EXPECTED: &str = "expected.json";

impl Expected {
    /// As it was noted; nothing where nothing was, or nothing readable.
    pub(crate) fn read() -> Self {
        let text = fs::read(Path::new(STATE).join(EXPECTED)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Notes it down.
    pub(crate) fn write(&self) -> io::Result<()> {
        write_whole(EXPECTED, &serde_json::to_vec(self)?)
    }

    /// Whether a source is expected.
    pub(crate) fn has(&self, source: &str) -> bool {
        self.sources.iter().any(|s| s == source)
    }

    /// Expects a source no more. Says whether it was expected.
    pub(crate) fn remove(&mut self, source: &str) -> bool {
        let before = self.sources.len();
        self.sources.retain(|s| s != source);
        self.sources.len() < before
    }

    /// Expects a source from now on.
    pub(crate) fn add(&mut self, source: &str) {
        if !self.has(source) {
            self.sources.push(source.to_owned());
        }
    }
}
