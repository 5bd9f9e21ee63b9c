//! What the user writes for a source: `[NAME=]PATH`.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// One source as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSpec {
    /// Name of the source's directory in the region filesystem.
    pub name: String,
    /// The file or directory.
    pub path: PathBuf,
}

/// Why a text names no source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The part after `=` is missing, or all of it.
    #[error("source {0:?}: expected [NAME=]PATH, found no path")]
    NoPath(String),
    /// The name cannot be a directory in the region.
    #[error(
        "source name {name:?} {why}; a name has 1 to 255 bytes, no '/', and is none of \
         \".\", \"..\", \".pkram\", \"lost+found\""
    )]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Two sources with one name.
    #[error(
        "source name {name:?} is given twice, for {first:?} and {second:?}; \
         give one of them another name with NAME=PATH"
    )]
    Twice {
        /// The name.
        name: String,
        /// The path that has it.
        first: PathBuf,
        /// The path that wants it.
        second: PathBuf,
    },
}

impl SourceSpec {
    /// Reads `[NAME=]PATH`. What stands before the first `=` is a name if it has no `/`.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let (name, path) = match text.split_once('=') {
            Some((name, path)) if !name.contains('/') => (Some(name), path),
            _ => (None, text),
        };
        if path.is_empty() {
            return Err(SpecError::NoPath(text.to_owned()));
        }
        let path = PathBuf::from(path);
        let name = name.map_or_else(|| escape_path(&path), str::to_owned);
        let why = match name.as_str() {
            "" => Some("is empty"),
            "." | ".." => Some("has a meaning of its own"),
            ".pkram" | "lost+found" => Some("is taken in every region"),
            n if n.len() > 255 => Some("is too long"),
            n if n.contains(['/', '\0']) => Some("has a character that no file name has"),
            _ => None,
        };
        match why {
            Some(why) => Err(SpecError::Name { name, why }),
            None => Ok(Self { name, path }),
        }
    }
}

/// Refuses a name that two sources have.
pub fn check_names(specs: &[SourceSpec]) -> Result<(), SpecError> {
    for (i, later) in specs.iter().enumerate() {
        if let Some(first) = specs[..i].iter().find(|s| s.name == later.name) {
            return Err(SpecError::Twice {
                name: later.name.clone(),
                first: first.path.clone(),
                second: later.path.clone(),
            });
        }
    }
    Ok(())
}

/// The path as `systemd-escape --path` writes it: slashes become `-`, what is no letter, digit,
/// `:`, `_` or `.` becomes `\xNN`, and so does a leading dot.
fn escape_path(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let parts: Vec<_> =
        bytes.split(|&b| b == b'/').filter(|p| !p.is_empty() && *p != b".").collect();
    if parts.is_empty() {
        return "-".to_owned();
    }
    let mut name = String::new();
    for (i, &b) in parts.join(&b'/').iter().enumerate() {
        match b {
            b'/' => name.push('-'),
            b'.' if i == 0 => name.push_str("\\x2e"),
            b':' | b'_' | b'.' => name.push(char::from(b)),
            b if b.is_ascii_alphanumeric() => name.push(char::from(b)),
            b => name.push_str(&format!("\\x{b:02x}")),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> String {
        SourceSpec::parse(text).unwrap().name
    }

    #[test]
    fn names_as_systemd_escape_does() {
        // Expected values printed by `systemd-escape --path`.
        assert_eq!(name("/dev/shm/cache"), "dev-shm-cache");
        assert_eq!(name("/run//a-b/.x"), "run-a\\x2db-.x");
        assert_eq!(name("/.hidden/ü"), "\\x2ehidden-\\xc3\\xbc");
        assert_eq!(name("/"), "-");
    }

    #[test]
    fn takes_a_name_before_the_equals_sign() {
        let s = SourceSpec::parse("cache=/dev/shm/a=b").unwrap();
        assert_eq!((s.name.as_str(), s.path.to_str()), ("cache", Some("/dev/shm/a=b")));
        assert_eq!(SourceSpec::parse("/dev/shm/a=b").unwrap().path, Path::new("/dev/shm/a=b"));
    }

    #[test]
    fn refuses_names_that_cannot_be() {
        for bad in ["=/x", "..=/x", ".pkram=/x", "lost+found=/x", "x=", ""] {
            assert!(SourceSpec::parse(bad).is_err(), "{bad}");
        }
        assert!(SourceSpec::parse(&format!("{}=/x", "n".repeat(256))).is_err());
        let twice = [SourceSpec::parse("a=/x").unwrap(), SourceSpec::parse("a=/y").unwrap()];
        let err = check_names(&twice).unwrap_err().to_string();
        assert!(err.contains("\"/x\"") && err.contains("\"/y\""), "{err}");
    }
}
