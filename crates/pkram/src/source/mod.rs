//! Sources: what a user asks to keep, and how it is found on tmpfs.

mod filesystem;
mod names;
mod spec;
mod walk;

pub use spec::{SourceSpec, SpecError, check_names};
pub use walk::{SourceError, SourceFile, Sources, walk};
