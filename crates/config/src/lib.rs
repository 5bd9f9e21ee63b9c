//! `pkram.toml`: read, merged with its drop-ins, checked.
//!
//! ```text
//! files ─► each section by itself ─► laid over each other ─► checked against each other ─► Config
//!   └────────────┴─────────────────── all errors at once ──────────────┴───────────────► Rejected
//! ```
//!
//! # Files
//!
//! `/etc/pkram/pkram.toml`, and then drop-ins by the order of their names: `pkram.toml.d/*.toml` in
//! `/usr/lib/pkram/`, `/run/pkram/` and `/etc/pkram/`. Of drop-ins with one name only that of the
//! last of these directories is read; an empty one, or a link to `/dev/null`, thus takes another
//! back. Whatever is missing says nothing. A later file's keys win over an earlier one's, one by
//! one; keys of which only one can be (`path`, `glob`, `unit`, `sysv-key`; `cmdline`, `append`) take
//! each other's place. A rule for a unit or user takes the place of an earlier file's rule for the
//! same. A file has at most 1 MiB.
//!
//! # Sections
//!
//! Paths are absolute and without `..`. A size is a text such as `"512M"`, in powers of 1024, or a
//! number of bytes. A time is a text such as `"90s"` or `"1m 30s"`.
//!
//! `[kernel]`, the next kernel:
//!
//! | key | value | default |
//! |---|---|---|
//! | `image` | path of its image | what the machine would boot |
//! | `initrd` | path of its initrd; only beside `image` | with `image`: none |
//! | `append` | what is added to the running kernel's command line | nothing |
//! | `cmdline` | its command line, instead of the running kernel's | |
//!
//! `[shutdown]`, how the system goes down:
//!
//! | key | value | default |
//! |---|---|---|
//! | `reboot` | what `systemctl reboot` does: `"firmware"`, or `"kexec"` as `systemctl kexec` | `"firmware"` |
//! | `deadline` | no step of pkram takes longer, 1 s to 1 h; then the machine reboots the ordinary way | `"60s"` |
//! | `reserve-ram` | RAM that the next kernel must have | as `pkram kexec` |
//! | `move-huge` | whether huge pages of hugetlbfs may move where there is no plan otherwise | `false` |
//!
//! `[source.NAME]`, what to keep; NAME is the node's directory in the region:
//!
//! | key | value | default |
//! |---|---|---|
//! | `path` | a file or directory on tmpfs or hugetlbfs | |
//! | `glob` | each whose path matches `*`, `?`, `[…]`, which stand for no slash and no leading dot; nodes are called as [`Source::match_name()`] says | |
//! | `unit` | the runtime directories of this unit (`RuntimeDirectory=`) | |
//! | `sysv-key` | the SysV segment with this key, such as `0x1234` | |
//! | `arrival` | `"copy"`, to where it was, or `"in-place"`, the region's own files, mounted | `"copy"` |
//! | `mount-point` | with `"in-place"`: where | where it was |
//! | `required` | whether who needs it does not start without it | `false` |
//! | `verify` | whether all metadata of the region is checked before it is used | `false` |
//! | `stay` | whether its pages may not move, because a device writes to them | `false` |
//!
//! One of the first four must be given.
//!
//! `[[handover]]`, who may hand over descriptors to pkramd; nobody by default. Of several that match
//! the last one counts:
//!
//! | key | value | default |
//! |---|---|---|
//! | `unit` | a unit, or a pattern of units | |
//! | `user` | or a user's name or number, for processes that are no system service's | |
//! | `max-size` | bytes in all files together | `"1G"` |
//! | `max-descriptors` | descriptors at one time, 1 to 65536 | 16 |
//! | `arrival` | `"copy"`, new memfds with the same names, sizes and seals; or `"in-place"`, the region's own files | `"copy"` |
//!
//! `crates/config/pkram.toml` is the commented file that is installed.

#![forbid(unsafe_code)]

mod check;
mod draft;
mod error;
mod files;
mod kind;
mod name;
mod near;
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
