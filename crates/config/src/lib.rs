//! `pkram.toml`: read, merged with its drop-ins, checked.
//!
//! ```text
//! files ─► each section by itself ─► laid over each other ─► checked against each other ─► Config
//!   └────────────┴─────────────────── all errors at once ──────────────┴───────────────► Rejected
//! ```
//!
//! [`Rejected::rest`] is what is right all the same.
//!
//! # The file
//!
//! The text of `pkram.toml(5)`. `crates/config/pkram.toml` is the commented file that is installed.
#![doc = include_str!("../pkram.toml.md")]
#![forbid(unsafe_code)]

mod check;
mod draft;
mod error;
mod files;
mod kind;
mod name;
mod near;
mod pattern;
mod place;
mod section;
mod show;
pub mod size;
mod unit;
mod values;

pub use error::{ConfigError, Other, Problem, Rejected, Warning};
pub use name::HANDOVER_NODES;
pub use place::Place;
pub use values::{Arrival, Cmdline, Config, Handover, Kernel, Reboot, Shutdown, Source, What, Who};

use draft::Draft;
use files::Found;
use place::File;
use std::path::Path;

impl Config {
    /// Reads `/etc/pkram/pkram.toml` and its drop-ins below a root. No file at all is an empty
    /// configuration.
    ///
    /// # Errors
    /// Everything that is wrong in any of the files.
    pub fn read(root: &Path) -> Result<Self, Rejected> {
        Self::from(files::find(root))
    }

    /// Reads one file, and no drop-ins.
    ///
    /// # Errors
    /// Everything that is wrong in it.
    pub fn read_file(path: &Path) -> Result<Self, Rejected> {
        Self::from(files::only(path))
    }

    /// Reads the text of one file; `path` is for messages.
    ///
    /// # Errors
    /// Everything that is wrong in it.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Rejected> {
        let files = vec![File::new(path, text.to_owned())];
        Self::from(Found { files, ..Found::default() })
    }

    fn from(found: Found) -> Result<Self, Rejected> {
        let mut draft = Draft { torn: !found.errors.is_empty(), ..Draft::default() };
        (draft.report.errors, draft.report.warnings) = (found.errors, found.warnings);
        found.files.iter().for_each(|file| draft.lay(file));
        draft.finish()
    }
}
