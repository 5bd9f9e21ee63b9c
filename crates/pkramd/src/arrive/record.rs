//! What became of every source in this boot: `/run/pkram/arrival.json`.

use crate::control::DIR;
use anyhow::Context as _;
use pkram::history::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What became of every source, by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Arrivals {
    pub(crate) version: u32,
    pub(crate) sources: BTreeMap<String, Came>,
}

/// What became of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "came")]
pub(crate) enum Came {
    /// Its pages are where they were, and its files are here.
    InPlace { at: Vec<String> },
    /// It was copied back.
    Copied { to: Vec<String> },
    /// There was nothing of it to come.
    Absent,
    /// It was to come, and did not.
    Missing { why: String },
}

impl Came {
    pub(super) fn is_here(&self) -> bool {
        matches!(self, Self::InPlace { .. } | Self::Copied { .. })
    }
}

impl Arrivals {
    /// What [`run`](super::run) wrote in this boot.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let text = fs::read(path()).context("what arrived is not known: pkram-arrive failed")?;
        serde_json::from_slice(&text).with_context(|| path().display().to_string())
    }

    /// In one word, and what is missing.
    pub(super) fn outcome(&self) -> (Outcome, Option<String>) {
        let missing = |(name, came): (&String, &Came)| match came {
            Came::Missing { why } => Some(format!("{name}: {why}")),
            _ => None,
        };
        let missing: Vec<_> = self.sources.iter().filter_map(missing).collect();
        let came = |came: &Came| matches!(came, Came::InPlace { .. } | Came::Copied { .. });
        let outcome = match (missing.is_empty(), self.sources.values().any(came)) {
            (true, _) => Outcome::Back,
            (false, true) => Outcome::Partly,
            (false, false) => Outcome::Lost,
        };
        (outcome, (!missing.is_empty()).then(|| missing.join("; ")))
    }

    pub(super) fn write(&self) -> anyhow::Result<()> {
        fs::create_dir_all(DIR)?;
        fs::write(path(), serde_json::to_vec(self)?).context("write what arrived")
    }
}

fn path() -> PathBuf {
    Path::new(DIR).join("arrival.json")
}
