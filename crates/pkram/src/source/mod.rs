//! Sources: what a user asks to keep, made nodes of a [`Save`].
//!
//! | source | node |
//! |---|---|
//! | a tree on tmpfs or hugetlbfs | the same tree |
//! | a file there | a directory like its own, with the file |
//! | a memfd of a process | a directory with one file of the memfd's name |
//! | a SysV segment | a directory with the file `segment` |

mod error;
mod memfd;
mod spec;
mod sysv;
mod tree;

pub use error::SourceError;
pub use spec::{SourceSpec, SpecError, What, check_names, escape_path};
pub(crate) use sysv::SEGMENT;

use crate::nodes::Save;
use std::path::Path;

/// Whether a file or directory can be a source, by itself; nothing inside of it is looked at.
///
/// # Errors
/// Why it cannot.
pub fn look(path: &Path) -> Result<(), SourceError> {
    tree::Top::look(path).map(drop)
}

/// Adds all sources to the save, each as a node of its name.
///
/// # Errors
/// A source that cannot be kept, and why; two with one name.
pub fn add(save: &mut Save, specs: &[SourceSpec]) -> Result<(), SourceError> {
    add_each(save, specs)?.into_iter().collect()
}

/// Adds those sources that can be kept, and says of each whether it was.
///
/// # Errors
/// Two with one name.
pub fn add_each(
    save: &mut Save,
    specs: &[SourceSpec],
) -> Result<Vec<Result<(), SourceError>>, SpecError> {
    check_names(specs)?;
    let mut trees = tree::Trees::default();
    let mut add = |SourceSpec { name, what, in_place }: &SourceSpec| match what {
        What::Path(path) => trees.add(save, name, path, *in_place),
        What::Memfd { pid, fd } => memfd::add(save, name, *pid, *fd, *in_place),
        What::Sysv { id } => sysv::add(save, name, *id, *in_place),
    };
    Ok(specs.iter().map(&mut add).collect())
}
