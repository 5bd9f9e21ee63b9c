//! Which region is meant.

use super::device::{Device, DeviceError};
use super::discover::{Discovered, Region, Span};
use std::path::Path;
use uuid::Uuid;

/// Why a region cannot be chosen.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// Devices cannot be listed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// There is none.
    #[error("there is no region here{damaged}")]
    None {
        /// `""`, or what was found instead.
        damaged: String,
    },
    /// More than one, and no choice was made.
    #[error("there are {count} regions here; name one of them: {names}", count = .names.split(", ").count())]
    Several {
        /// Their UUIDs.
        names: String,
    },
    /// None has the name.
    #[error("no region is called {wanted:?}; there are: {names}")]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// Their UUIDs.
        names: String,
    },
    /// A part is not there.
    #[error(
        "region {region} has {count} spans, and these were not found: {missing:?}; it is left as it is"
    )]
    Incomplete {
        /// The region.
        region: Uuid,
        /// How many it should have.
        count: u32,
        /// Which are missing.
        missing: Vec<u32>,
    },
}

impl Discovered {
    /// The region called `name`: its UUID or the beginning of it, a device of it, or, without a
    /// name, the only one.
    pub fn choose(&self, name: Option<&str>) -> Result<&Region, RegionError> {
        let names = || {
            let all: Vec<_> = self.regions.iter().map(|r| r.uuid.to_string()).collect();
            all.join(", ")
        };
        let matching: Vec<_> =
            self.regions.iter().filter(|r| name.is_none_or(|n| r.is_called(n))).collect();
        match (matching.as_slice(), name) {
            ([one], _) if one.missing.is_empty() => Ok(one),
            ([one], _) => Err(RegionError::Incomplete {
                region: one.uuid,
                count: one.spans.first().map_or(0, |s| s.head.count),
                missing: one.missing.clone(),
            }),
            ([], _) if self.regions.is_empty() => {
                let damaged = self
                    .damaged
                    .iter()
                    .map(|d| format!("; {} at {}: {}", d.device.name(), d.device.range, d.error));
                Err(RegionError::None { damaged: damaged.collect() })
            }
            ([], Some(wanted)) => {
                Err(RegionError::Unknown { wanted: wanted.to_owned(), names: names() })
            }
            _ => Err(RegionError::Several { names: names() }),
        }
    }

    /// The spans of what is called `name` and is no whole region: damaged ones by their device,
    /// those of an incomplete region as [`Discovered::choose`] knows it.
    pub fn remains(&self, name: &str) -> Vec<&Device> {
        let incomplete = self.regions.iter().filter(|r| !r.missing.is_empty() && r.is_called(name));
        let spans = incomplete.flat_map(|r| &r.spans).map(|s| &s.device);
        let damaged = self.damaged.iter().map(|d| &d.device);
        spans.chain(damaged.filter(|d| d.block.as_deref() == Some(Path::new(name)))).collect()
    }
}

impl Region {
    fn is_called(&self, name: &str) -> bool {
        let name = name.strip_prefix("UUID=").unwrap_or(name);
        let by_device = |s: &Span| s.device.block.as_deref() == Some(Path::new(name));
        !name.is_empty()
            && (self.uuid.to_string().starts_with(name) || self.spans.iter().any(by_device))
    }
}
