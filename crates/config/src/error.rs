//! What is wrong with a configuration, or odd: always with its place.

use crate::place::Place;
use crate::values::{Config, What};
use serde::Serialize;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigError {
    /// Where it stands.
    pub place: Place,
    /// What is wrong there.
    pub problem: Problem,
}

/// What can be wrong.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(io::Error),
    /// The file is not a configuration that anybody wrote.
    #[error("expected a text file of at most {limit} bytes, found {found}")]
    NotText {
        /// Bytes that a file may have.
        limit: u64,
        /// What it is instead.
        found: String,
    },
    /// More of something than anybody wrote.
    #[error("expected at most {limit} {what}, found more")]
    Many {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// Not TOML.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// More errors in one file than anybody reads.
    #[error("{0} more errors in this file")]
    More(usize),
    /// A key that means nothing.
    #[error("{key}: unknown{}", hint(.nearest.as_deref(), .known))]
    UnknownKey {
        /// The key with its section.
        key: String,
        /// The right one that it was meant to be.
        nearest: Option<&'static str>,
        /// All right ones.
        known: Vec<&'static str>,
    },
    /// A value of another kind, or outside of its bounds.
    #[error("{key}: expected {expected}, found {found}{}", told(.why))]
    Value {
        /// The key with its section.
        key: String,
        /// What was expected.
        expected: String,
        /// What was found.
        found: String,
        /// What is wrong with it, or what it was meant to be.
        why: Option<String>,
    },
    /// Two keys of which only one can be.
    #[error("{key}: cannot be beside {other} (line {line}); give one of them")]
    Both {
        /// The key with its section.
        key: String,
        /// The other key.
        other: &'static str,
        /// The line of the other key.
        line: u32,
    },
    /// A key is missing.
    #[error("{section}: expected {expected}, found none")]
    Missing {
        /// The section.
        section: String,
        /// What must be given.
        expected: &'static str,
    },
    /// A name of a source that cannot be a directory in the region.
    #[error("source {name} {why}")]
    Name {
        /// The name, as in a message.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A key that needs another one to have a certain value.
    #[error("{key}: needs {needs}")]
    Needs {
        /// The key with its section.
        key: String,
        /// What is missing.
        needs: &'static str,
    },
    /// Two sources for the same memory.
    #[error("{section}: {what} is already kept by {other}")]
    SameSource {
        /// The later section.
        section: String,
        /// What both keep.
        what: What,
        /// The earlier section and its place.
        other: Other,
    },
    /// A source that is called like the nodes of another one.
    #[error(
        "{section}: its node would pass for one of {other}, whose nodes are called {name}-…; give \
         one of them another name"
    )]
    SameNodes {
        /// The section.
        section: String,
        /// The name of the other source, which has several nodes.
        name: String,
        /// The other section and its place.
        other: Other,
    },
    /// Two mount points of which one hides the other.
    #[error(
        "{section}: mount point {at} {relation} mount point {other_at} of {other}; one would hide the other",
        at = .at.display(), other_at = .other_at.display(),
        relation = if .at == .other_at { "is also the" } else { "is inside of the" }
    )]
    MountPoints {
        /// The section whose mount point is inside.
        section: String,
        /// Its mount point.
        at: PathBuf,
        /// The mount point that it is inside of.
        other_at: PathBuf,
        /// Whose that is.
        other: Other,
    },
    /// A mount point that would hide what every system needs.
    #[error("{section}: mounted at {at}, it would hide the system's own files", at = .at.display())]
    HidesSystem {
        /// The section.
        section: String,
        /// Its mount point.
        at: PathBuf,
    },
    /// A mount that is too early for a copy.
    #[error(
        "{section}: mounted in the initramfs, it keeps {other} from being copied from the same \
         region; let both be copied, or both be in place"
    )]
    EarlyMount {
        /// The section of what is mounted.
        section: String,
        /// What is to be copied.
        other: Other,
    },
    /// Two rules for the same peer in one file.
    #[error("handover: {who} has a rule already at {at}; put both into one")]
    SameRule {
        /// Whom both are for.
        who: String,
        /// Where the first one stands.
        at: Place,
    },
}

/// Another section, in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// The section.
    pub section: String,
    /// Where it stands.
    pub place: Place,
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.section, self.place)
    }
}

fn hint(nearest: Option<&str>, known: &[&str]) -> String {
    match (nearest, known) {
        (Some(nearest), _) => format!("; did you mean {nearest}?"),
        (None, known) => format!("; known here: {}", known.join(", ")),
    }
}

fn told(why: &Option<String>) -> String {
    why.as_ref().map_or_else(String::new, |why| format!("; {why}"))
}

/// Something that may work, but looks like a mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{place}: {text}")]
pub struct Warning {
    /// Where it stands.
    pub place: Place,
    /// What is odd.
    pub text: String,
}

/// A configuration with errors, all of them.
#[derive(Debug)]
pub struct Rejected {
    /// Everything that is wrong, file by file in the order of reading, and then what is wrong
    /// between sections.
    pub errors: Vec<ConfigError>,
    /// What is right all the same, with its warnings, for who must go on: a mistake in one place
    /// shall not lose the memory that another one names. What is wrong has its default here, and
    /// sources have [`in_doubt`](crate::Source::in_doubt).
    pub rest: Box<Config>,
}

/// One error a line.
impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Rejected {}
