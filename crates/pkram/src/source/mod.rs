//! Sources: what a user asks to keep, made nodes of a [`Save`].
//!
//! | source | node |
//! |---|---|
//! | a tree on tmpfs or hugetlbfs | the same tree |
//! | a file there | a directory like its own, with the file |
//! | a memfd of a process | a directory with one file of the memfd's name |
//! | a SysV segment | a directory with the file `segment` |

mod error;
mod file_id;
mod memfd;
mod spec;
mod sysv;
mod tree;

pub use error::SourceError;
pub use file_id::FileId;
pub use spec::{SourceSpec, SpecError, What, check_names, escape_path};
pub(crate) use sysv::SEGMENT;

use crate::nodes::{Entry, Save};
use std::collections::{BTreeMap, BTreeSet};
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
    add_each(save, specs, &BTreeSet::new())?.outcomes.into_iter().collect()
}

/// What became of sources.
#[derive(Debug)]
pub struct Added {
    /// Of each one, in their order: whether it was added.
    pub outcomes: Vec<Result<(), SourceError>>,
    /// Those of the files asked for that are in one of their trees.
    pub found: BTreeMap<FileId, Entry>,
}

/// Adds those sources that can be kept. Says where in the save the files of `wanted` are: no file can
/// be in it twice.
///
/// # Errors
/// Two with one name.
pub fn add_each(
    save: &mut Save,
    specs: &[SourceSpec],
    wanted: &BTreeSet<FileId>,
) -> Result<Added, SpecError> {
    check_names(specs)?;
    // A file may be a source by itself, or open in a process, and in the tree of another.
    let single = specs.iter().filter_map(|spec| match &spec.what {
        What::Path(path) => tree::single_file(path),
        What::Memfd { pid, fd } => memfd::file(*pid, *fd),
        What::Sysv { .. } => None,
    });
    let wanted_or_single = wanted.iter().copied().chain(single).collect();
    let mut trees = tree::Trees::new(&wanted_or_single);
    let mut add = |SourceSpec { name, what, in_place }: &SourceSpec| match what {
        What::Path(path) => trees.add(save, name, path, *in_place),
        What::Memfd { pid, fd } => memfd::add(&mut trees, save, name, (*pid, *fd), *in_place),
        What::Sysv { id } => sysv::add(save, name, *id, *in_place),
    };
    let mut outcomes: Vec<_> = specs.iter().map(|_| Ok(())).collect();
    // Trees give a file all of its names; what is open gets one more.
    let is_open = |spec: &SourceSpec| matches!(spec.what, What::Memfd { .. });
    let (open, named): (Vec<_>, Vec<_>) =
        specs.iter().enumerate().partition(|(_, spec)| is_open(spec));
    for (index, spec) in named.into_iter().chain(open) {
        outcomes[index] = add(spec);
    }
    Ok(Added { outcomes, found: trees.places_of(wanted) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::fd::AsRawFd;

    fn spec(name: &str, path: &Path) -> SourceSpec {
        SourceSpec::parse(&format!("{name}={}", path.display())).unwrap()
    }

    #[test]
    fn a_file_is_in_a_save_once_whoever_names_it() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "content").unwrap();
        let open = fs::File::open(at("file")).unwrap();
        let fd = u32::try_from(open.as_raw_fd()).unwrap();
        let open = |name: &str| SourceSpec {
            name: name.to_owned(),
            what: What::Memfd { pid: std::process::id(), fd },
            in_place: false,
        };
        let specs = [
            open("three"),
            spec("one", &at("file")),
            spec("all", dir.path()),
            spec("two", &at("file")),
            open("four"),
        ];
        let mut save = Save::new();
        add(&mut save, &specs).unwrap();
        assert_eq!(save.files.len(), 1);
        let mut alone = Save::new();
        add(&mut alone, &[open("one"), open("two")]).unwrap();
        assert_eq!(alone.files.len(), 1);
    }

    #[test]
    fn nothing_is_linked_to_a_source_that_failed() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("bad/below")).unwrap();
        fs::write(at("bad/a"), "content").unwrap();
        fs::hard_link(at("bad/a"), at("good")).unwrap();
        // What is too long for a region's extended attributes.
        let long = [0; 8192];
        rustix::fs::setxattr(
            at("bad/below"),
            "trusted.long",
            &long,
            rustix::fs::XattrFlags::empty(),
        )
        .unwrap();
        let specs =
            [spec("bad", &at("bad")), spec("good", &at("good")), spec("below", &at("bad/a"))];
        let mut save = Save::new();
        let outcomes = add_each(&mut save, &specs, &BTreeSet::new()).unwrap().outcomes;
        assert!(outcomes[0].is_err() && outcomes[1].is_ok() && outcomes[2].is_ok(), "{outcomes:?}");
        assert_eq!(save.files.len(), 1);
    }
}
