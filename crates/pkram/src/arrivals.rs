//! What became of every source of `pkram.toml` in this boot: `/run/pkram/arrival.json`, as
//! `pkram-arrive.service` writes it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// Where it is.
pub const PATH: &str = "/run/pkram/arrival.json";

/// What became of every source, by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrivals {
    /// Version of this shape.
    pub version: u32,
    /// By the source's name.
    pub sources: BTreeMap<String, Came>,
    /// What services and users had handed over, by their names.
    #[serde(default)]
    pub handovers: BTreeMap<String, HandedOver>,
}

/// What became of one service's or user's descriptors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedOver {
    /// How many are here.
    pub descriptors: usize,
    /// Why others are not, for people.
    pub lost: Vec<String>,
}

/// What became of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "came")]
pub enum Came {
    /// Its pages are where they were, and its files are here.
    InPlace {
        /// Where.
        at: Vec<String>,
    },
    /// It was copied back.
    Copied {
        /// To where.
        to: Vec<String>,
    },
    /// There was nothing of it to come.
    Absent,
    /// It was to come, and did not.
    Missing {
        /// Why not, for people.
        why: String,
    },
}

impl Came {
    /// Whether it is here.
    #[must_use]
    pub const fn is_here(&self) -> bool {
        matches!(self, Self::InPlace { .. } | Self::Copied { .. })
    }
}

/// Why that is not known, or cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum ArrivalsError {
    /// The file: nobody wrote it, as where pkram-arrive.service failed, or nobody may.
    #[error("{PATH}, what became of each source: {0}")]
    Io(#[from] io::Error),
    /// Somebody else wrote it.
    #[error("{PATH}: {0}")]
    Json(#[from] serde_json::Error),
}

impl Arrivals {
    /// What was written in this boot.
    ///
    /// # Errors
    /// Nothing was.
    pub fn read() -> Result<Self, ArrivalsError> {
        Ok(serde_json::from_slice(&fs::read(Path::new(PATH))?)?)
    }

    /// Writes it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self) -> Result<(), ArrivalsError> {
        let path = Path::new(PATH);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        Ok(fs::write(path, serde_json::to_vec(self)?)?)
    }

    /// What was to come and did not, a source's or of a handover, with the reason.
    pub fn missing(&self) -> impl Iterator<Item = (&str, &str)> {
        let sources = self.sources.iter().filter_map(|(name, came)| match came {
            Came::Missing { why } => Some((name.as_str(), why.as_str())),
            _ => None,
        });
        let handovers = self.handovers.iter();
        sources.chain(handovers.flat_map(|(owner, HandedOver { lost, .. })| {
            lost.iter().map(|why| (owner.as_str(), why.as_str()))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        // As pkramd 0.1.0 writes it.
        let text = r#"{"version":1,"sources":{"a":{"came":"in-place","at":["/x"]},
            "b":{"came":"missing","why":"no region"},"c":{"came":"absent"},
            "d":{"came":"copied","to":["/y"]}}}"#;
        let arrivals: Arrivals = serde_json::from_str(text).unwrap();
        assert_eq!(arrivals.missing().collect::<Vec<_>>(), [("b", "no region")]);
    }

    #[test]
    fn what_a_service_lost_is_missing_as_well() {
        let lost = vec!["its record is none".to_owned()];
        let owners =
            [("app.service", HandedOver { descriptors: 1, lost }), ("fine", HandedOver::default())];
        let handovers = owners.map(|(owner, of)| (owner.to_owned(), of)).into();
        let arrivals = Arrivals { handovers, ..Arrivals::default() };
        let again: Arrivals =
            serde_json::from_slice(&serde_json::to_vec(&arrivals).unwrap()).unwrap();
        assert_eq!(again.missing().collect::<Vec<_>>(), [("app.service", "its record is none")]);
    }
}
