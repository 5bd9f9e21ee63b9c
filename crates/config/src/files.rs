//! Which files make the configuration, and in which order.
//!
//! ```text
//! /etc/pkram/pkram.toml ─► drop-ins, by name:  /usr/lib/pkram/pkram.toml.d/10-vendor.toml
//!                                              /etc/pkram/pkram.toml.d/20-site.toml  ◄─ masks ─┐
//!                                              /usr/lib/pkram/pkram.toml.d/20-site.toml ───────┘
//! ```
//!
//! As systemd does it (`systemd.unit(5)`, `conf_files_list_strv` in `src/basic/conf-files.c`): the
//! directory decides which of two files with one name is read, the name decides when. An empty
//! file or a link to `/dev/null` masks as well.

use crate::error::{ConfigError, Problem, Warning};
use crate::place::{File, Place};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// The main file, under the root.
pub(crate) const MAIN: &str = "etc/pkram/pkram.toml";

/// Where drop-ins lie, under the root; a file of a later directory masks one of an earlier one.
const DROP_INS: [&str; 3] =
    ["usr/lib/pkram/pkram.toml.d", "run/pkram/pkram.toml.d", "etc/pkram/pkram.toml.d"];

/// Bytes of a file; nobody writes more.
const LARGEST: u64 = 1 << 20;

/// Drop-ins in all directories; nobody writes more.
const MOST: usize = 256;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The files in the order in which they are read.
    pub(crate) files: Vec<File>,
    pub(crate) errors: Vec<ConfigError>,
    pub(crate) warnings: Vec<Warning>,
}

/// Reads the main file and all drop-ins. What is not there is nothing.
pub(crate) fn find(root: &Path) -> Found {
    let mut found = Found::default();
    let main = root.join(MAIN);
    match is_there(&main) {
        Ok(true) => found.read(&main),
        Ok(false) => {}
        Err(error) => found.error(&main, Problem::Io(error)),
    }
    let mut names = BTreeMap::new();
    for dir in DROP_INS {
        let dir = root.join(dir);
        if let Err(problem) = found.list(&dir, &mut names) {
            found.error(&dir, problem);
        }
    }
    for path in names.values() {
        // A link to /dev/null says: nothing.
        if !fs::read_link(path).is_ok_and(|target| target == Path::new("/dev/null")) {
            found.read(path);
        }
    }
    found
}

/// Reads one file.
pub(crate) fn only(path: &Path) -> Found {
    let mut found = Found::default();
    found.read(path);
    found
}

fn is_there(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        // Neither the file, nor perhaps its directory.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(false)
        }
        Err(e) => Err(e),
    }
}

impl Found {
    fn error(&mut self, path: &Path, problem: Problem) {
        self.errors.push(ConfigError { place: Place::whole(path), problem });
    }

    fn read(&mut self, path: &Path) {
        match text(path) {
            Ok(text) => self.files.push(File::new(path, text)),
            Err(problem) => self.error(path, problem),
        }
    }

    /// Adds the drop-ins of a directory; they mask those that were found before.
    fn list(&mut self, dir: &Path, names: &mut BTreeMap<OsString, PathBuf>) -> Result<(), Problem> {
        if !is_there(dir).map_err(Problem::Io)? {
            return Ok(());
        }
        for entry in fs::read_dir(dir).map_err(Problem::Io)? {
            let (path, name) = entry.map(|e| (e.path(), e.file_name())).map_err(Problem::Io)?;
            match path.extension().and_then(|e| e.to_str()) {
                // A hidden file is an editor's: `Path::extension` gives a name such as `.toml` none.
                Some("toml") if !name.as_encoded_bytes().starts_with(b".") => {
                    names.insert(name, path);
                }
                Some("conf") => self.warnings.push(Warning {
                    place: Place::whole(&path),
                    text: "is not read: the names of drop-ins end in .toml".to_owned(),
                }),
                _ => {}
            }
            if names.len() > MOST {
                return Err(Problem::Many { what: "drop-ins", limit: MOST });
            }
        }
        Ok(())
    }
}

/// All of a file that somebody wrote.
fn text(path: &Path) -> Result<String, Problem> {
    let wrong = |found: &str| Problem::NotText { limit: LARGEST, found: found.to_owned() };
    // Before it is opened: opening a FIFO waits for a writer.
    let kind = fs::metadata(path).map_err(Problem::Io)?.file_type();
    if !kind.is_file() {
        return Err(wrong(if kind.is_dir() { "a directory" } else { "no regular file" }));
    }
    let file = fs::File::open(path).map_err(Problem::Io)?;
    let mut bytes = Vec::new();
    // One more tells that there is more.
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(Problem::Io)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > LARGEST) {
        return Err(wrong("a larger one"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|&&b| b == b'\n').count() + 1;
        wrong(&format!("bytes on line {line} that are not UTF-8"))
    })
}
