//! What a configuration says: plain, checked values.

use crate::error::Warning;
use crate::pattern::PathPattern;
use crate::place::Place;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// All of a configuration, with the defaults where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Config {
    /// `[kernel]`: what to jump into.
    pub kernel: Kernel,
    /// `[shutdown]`: how the system goes down.
    pub shutdown: Shutdown,
    /// `[source.NAME]`: what to keep, by name.
    pub sources: Vec<Source>,
    /// `[[handover]]`: who may hand over descriptors, in the order of the files. Of several that
    /// match, the last one counts.
    pub handovers: Vec<Handover>,
    /// What may work, but looks like a mistake.
    pub warnings: Vec<Warning>,
    /// Where each value stands that some file gives, by its key, such as `shutdown.deadline` or
    /// `source.cache.path`. Those of handovers are not here.
    pub origins: BTreeMap<String, Place>,
}

/// The next kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Kernel {
    /// Its image; by default what the machine would boot.
    pub image: Option<PathBuf>,
    /// Its initrd; only where an image is given.
    pub initrd: Option<PathBuf>,
    /// Its command line.
    pub cmdline: Cmdline,
}

/// The next kernel's command line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cmdline {
    /// The running kernel's.
    #[default]
    Reuse,
    /// The running kernel's, and this.
    Append(String),
    /// This.
    Whole(String),
}

/// How the system goes down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shutdown {
    /// What `systemctl reboot` does.
    pub reboot: Reboot,
    /// What no step of pkram on the way down takes longer than; then the machine reboots the
    /// ordinary way. In JSON: seconds.
    #[serde(serialize_with = "seconds")]
    pub deadline: Duration,
    /// RAM in bytes that the next kernel must have; by default what `pkram kexec` finds right.
    pub reserve_ram: Option<u64>,
    /// Whether huge pages of hugetlbfs may move where there is no plan otherwise.
    pub move_huge: bool,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            reboot: Reboot::default(),
            deadline: Duration::from_secs(60),
            reserve_ram: None,
            move_huge: false,
        }
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// What `systemctl reboot` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reboot {
    /// What systemd makes of it: from 254 on a kexec, before that one through the firmware, where
    /// there is something to keep; without that, as ever.
    #[default]
    Auto,
    /// A reboot through the firmware, as ever; memory is kept over `pkramd kexec` alone.
    Firmware,
    /// The same as `systemctl kexec`.
    Kexec,
}

impl Reboot {
    /// As in pkram.toml.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Firmware => "firmware",
            Self::Kexec => "kexec",
        }
    }
}

/// What to keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The node's directory in the region. With a glob, the beginning of the nodes' names.
    pub name: String,
    /// What it is.
    #[serde(flatten)]
    pub what: What,
    /// How it comes back.
    #[serde(flatten)]
    pub arrival: Arrival,
    /// Whether who needs it does not start without it.
    pub required: bool,
    /// Whether all metadata of the region is checked before it is used.
    pub verify: bool,
    /// Whether its pages may not move.
    pub stay: bool,
    /// Whether it is back before the root filesystem is mounted.
    pub early: bool,
    /// Where it stands: the line that says what to keep.
    pub place: Place,
    /// Something else that is said about it is wrong, as only in [`Rejected`](crate::Rejected): it
    /// is known what to keep, but not how it shall come back.
    pub in_doubt: bool,
}

/// What a source is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A file or directory on tmpfs or hugetlbfs.
    Path(PathBuf),
    /// Every file or directory whose path matches this pattern, each a node of its own.
    Glob(String),
    /// The runtime directories (`RuntimeDirectory=`) of a unit.
    Unit(String),
    /// The SysV segment with this key.
    SysvKey(i32),
}

/// As in a message.
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Glob(pattern) => write!(f, "{pattern}"),
            Self::Unit(unit) => write!(f, "the runtime directory of {unit}"),
            Self::SysvKey(key) => write!(f, "the SysV segment {key:#x}"),
        }
    }
}

/// How a source comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "arrival")]
pub enum Arrival {
    /// The region's own files, mounted.
    InPlace {
        /// Where; by default where they came from.
        mount_point: Option<PathBuf>,
    },
    /// Copied back to where it came from; the region is released.
    Copy,
}

impl Source {
    /// Where it is mounted, as far as the configuration alone tells: not where it is copied, and not
    /// where a unit or a match of a glob says it.
    #[must_use]
    pub fn mount_point(&self) -> Option<&Path> {
        match (&self.arrival, &self.what) {
            (Arrival::InPlace { mount_point: Some(at) }, _)
            | (Arrival::InPlace { mount_point: None }, What::Path(at)) => Some(at),
            _ => None,
        }
    }

    /// The name of a node for a match of this source's glob: the source's name, and what of the path
    /// begins with the first part that has a wildcard. Where that are several parts, `-` stands for
    /// their slashes, and their own `-` are `\x2d`.
    ///
    /// ```
    /// let text = "[source.pg]\nglob = '/dev/shm/pg-*'";
    /// let config = config::Config::parse("pkram.toml".as_ref(), text).unwrap();
    /// assert_eq!(config.sources[0].match_name("/dev/shm/pg-7".as_ref()).as_deref(), Some("pg-pg-7"));
    /// assert_eq!(config.sources[0].match_name("/dev/shm/x".as_ref()), None);
    /// ```
    ///
    /// `None` for a path that does not match, and for a source without a glob.
    #[must_use]
    pub fn match_name(&self, path: &Path) -> Option<String> {
        let What::Glob(pattern) = &self.what else { return None };
        match PathPattern::new(pattern).ok()?.match_of(path)?.as_slice() {
            [part] => Some(format!("{}-{part}", self.name)),
            parts => Some(parts.iter().fold(self.name.clone(), |name, part| {
                // As systemd-escape: `a-b/c` and `a/b-c` are two names.
                let part = part.replace('\\', "\\x5c").replace('-', "\\x2d");
                format!("{name}-{part}")
            })),
        }
    }
}

/// Who may hand over descriptors, and how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Handover {
    /// Who.
    #[serde(flatten)]
    pub who: Who,
    /// Bytes in all of its files together.
    pub max_size: u64,
    /// Descriptors at one time.
    pub max_descriptors: u32,
    /// Whether the region's files themselves are handed back; otherwise new memfds, with the same
    /// names, sizes and seals.
    pub in_place: bool,
    /// Where it stands.
    pub place: Place,
}

impl Handover {
    /// Bytes where nothing is said.
    pub const MAX_SIZE: u64 = 1 << 30;
    /// Descriptors where nothing is said.
    pub const MAX_DESCRIPTORS: u32 = 16;
}

/// Whom a rule is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// Processes of the units whose names match this pattern (`*`, `?`, `[…]`).
    Unit(String),
    /// Processes of a user that are no system service's; a name or a number.
    User(String),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit(unit) => write!(f, "unit {unit}"),
            Self::User(user) => write!(f, "user {user}"),
        }
    }
}
