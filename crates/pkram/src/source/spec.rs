//! What the user writes for a source: `[NAME=]PATH`, `[NAME=]memfd:PID:FD`, `[NAME=]sysv:ID`.

use crate::nodes::{NodeError, check_name};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// One source as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSpec {
    /// Name of the source's directory in the region filesystem.
    pub name: String,
    /// What to keep.
    pub what: What,
    /// Whether its pages may not move.
    pub in_place: bool,
}

/// What to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A file or directory on tmpfs or hugetlbfs.
    Path(PathBuf),
    /// A memfd of a process.
    Memfd {
        /// The process.
        pid: u32,
        /// Its descriptor.
        fd: u32,
    },
    /// A SysV shared memory segment.
    Sysv {
        /// Its identifier, as `ipcs -m` shows it.
        id: i32,
    },
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Memfd { pid, fd } => write!(f, "memfd:{pid}:{fd}"),
            Self::Sysv { id } => write!(f, "sysv:{id}"),
        }
    }
}

/// Why a text names no source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The part after `=` is missing, or all of it.
    #[error("source {0:?}: expected [NAME=]PATH, found no path")]
    NoPath(String),
    /// A process and a descriptor were expected, or an identifier.
    #[error("source {text:?}: expected {expected}")]
    Numbers {
        /// What was given.
        text: String,
        /// What it should look like.
        expected: &'static str,
    },
    /// The name cannot be a directory in the region.
    #[error("source {0}")]
    Name(String),
    /// Two sources with one name.
    #[error(
        "source name {name:?} is given twice, for {first} and {second}; \
         give one of them another name with NAME=PATH"
    )]
    Twice {
        /// The name.
        name: String,
        /// What has it.
        first: What,
        /// What wants it.
        second: What,
    },
}

impl SourceSpec {
    /// Reads `[NAME=]PATH`, `[NAME=]memfd:PID:FD` or `[NAME=]sysv:ID`. What stands before the first
    /// `=` is a name if it has no `/`. A file whose name begins like one of these is `./memfd:…`.
    ///
    /// # Errors
    /// A text that is no source.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let (name, what) = match text.split_once('=') {
            Some((name, what)) if !name.contains('/') => (Some(name), what),
            _ => (None, text),
        };
        let numbers = |expected| SpecError::Numbers { text: text.to_owned(), expected };
        let what = if what.is_empty() {
            return Err(SpecError::NoPath(text.to_owned()));
        } else if let Some(rest) = what.strip_prefix("memfd:") {
            let parse = |(pid, fd): (&str, &str)| Some((pid.parse().ok()?, fd.parse().ok()?));
            let found = rest.split_once(':').and_then(parse);
            let (pid, fd) = found.ok_or_else(|| numbers("memfd:PID:FD, e.g. memfd:1234:5"))?;
            What::Memfd { pid, fd }
        } else if let Some(id) = what.strip_prefix("sysv:") {
            What::Sysv { id: id.parse().map_err(|_| numbers("sysv:ID, with ID as in `ipcs -m`"))? }
        } else {
            What::Path(PathBuf::from(what))
        };
        let name = name.map_or_else(|| default_name(&what), str::to_owned);
        match check_name(&name) {
            Err(error @ NodeError::Name { .. }) => Err(SpecError::Name(error.to_string())),
            _ => Ok(Self { name, what, in_place: false }),
        }
    }
}

fn default_name(what: &What) -> String {
    match what {
        What::Path(path) => escape_path(path),
        What::Memfd { pid, fd } => format!("memfd-{pid}-{fd}"),
        What::Sysv { id } => format!("sysv-{id}"),
    }
}

/// Refuses a name that two sources have.
pub fn check_names(specs: &[SourceSpec]) -> Result<(), SpecError> {
    for (i, later) in specs.iter().enumerate() {
        if let Some(first) = specs[..i].iter().find(|s| s.name == later.name) {
            return Err(SpecError::Twice {
                name: later.name.clone(),
                first: first.what.clone(),
                second: later.what.clone(),
            });
        }
    }
    Ok(())
}

/// The path as `systemd-escape --path` writes it: slashes become `-`, what is no letter, digit,
/// `:`, `_` or `.` becomes `\xNN`, and so does a leading dot.
pub fn escape_path(path: &Path) -> String {
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
        assert_eq!((s.name.as_str(), s.what), ("cache", What::Path("/dev/shm/a=b".into())));
        let path = What::Path("/dev/shm/a=b".into());
        assert_eq!(SourceSpec::parse("/dev/shm/a=b").unwrap().what, path);
    }

    #[test]
    fn reads_what_has_no_path() {
        let parse = |text| SourceSpec::parse(text).map(|s| (s.name, s.what));
        let memfd = What::Memfd { pid: 12, fd: 3 };
        assert_eq!(parse("memfd:12:3"), Ok(("memfd-12-3".into(), memfd.clone())));
        assert_eq!(parse("vm=memfd:12:3"), Ok(("vm".into(), memfd)));
        assert_eq!(parse("sysv:7"), Ok(("sysv-7".into(), What::Sysv { id: 7 })));
        assert_eq!(parse("./sysv:7").unwrap().1, What::Path("./sysv:7".into()));
        for bad in ["memfd:12", "memfd:a:3", "memfd:1:-2", "sysv:", "sysv:x", "x=sysv:1.5"] {
            assert!(matches!(parse(bad), Err(SpecError::Numbers { .. })), "{bad}");
        }
    }

    #[test]
    fn refuses_names_that_cannot_be() {
        for bad in ["=/x", "..=/x", ".pkram=/x", "lost+found=/x", "x=", ""] {
            assert!(SourceSpec::parse(bad).is_err(), "{bad}");
        }
        assert!(SourceSpec::parse(&format!("{}=/x", "n".repeat(256))).is_err());
        let twice = [SourceSpec::parse("a=/x").unwrap(), SourceSpec::parse("a=/y").unwrap()];
        let err = check_names(&twice).unwrap_err().to_string();
        assert!(err.contains("for /x and /y"), "{err}");
    }
}
