//! What the region says of a stored descriptor besides its pages: JSON, the object's bytes.
//!
//! ```json
//! { "version": 1, "name": "cache", "file": "cache", "size": 67108864, "offset": 0, "access": "read-write",
//!   "append": false, "seals": ["grow", "shrink"], "mode": 511, "uid": 998, "gid": 998, "huge_page": null,
//!   "arrival": "copy" }
//! ```

use super::Entry;
use super::memory;
use super::rule::Arrival;
use fdstore::Name;
use pkram::filesystem::{Kind, kind_of};
use rustix::fs::{OFlags, SealFlags, fcntl_get_seals, fstat, tell};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::io;

/// The version that is written and read.
const VERSION: u32 = 1;

/// Bytes in a record that is believed to be one: a name of 255 bytes, six each when escaped, and a
/// file's name of at most as many.
const MAX_BYTES: usize = 8192;

/// Why something cannot be read as a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Too long.
    #[error("its record has {0} bytes; one has at most {MAX_BYTES}")]
    Long(usize),
    /// Not JSON of this shape.
    #[error("its record: {0}")]
    Json(#[from] serde_json::Error),
    /// Not of this version.
    #[error("its record has version {0}; this pkramd knows {VERSION}")]
    Version(u32),
    /// A name.
    #[error("its record: {0}")]
    Name(#[from] fdstore::NameError),
    /// A figure that cannot be.
    #[error("its record: {what} {value} cannot be")]
    Figure {
        /// What.
        what: &'static str,
        /// How much.
        value: u64,
    },
    /// A seal that this kernel's interface does not have.
    #[error("its record: unknown seal {0:?}")]
    Seal(String),
}

/// How a descriptor is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Access {
    Read,
    Write,
    ReadWrite,
}

/// What is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    version: u32,
    name: String,
    file: String,
    size: u64,
    offset: u64,
    access: Access,
    append: bool,
    seals: Vec<String>,
    mode: u32,
    uid: u32,
    gid: u32,
    huge_page: Option<u64>,
    arrival: Arrival,
}

/// All that makes a descriptor what it was, but for the pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// What its owner calls it.
    pub(super) name: Name,
    /// What the file is called, a memfd's or another's.
    pub(super) file: String,
    /// Bytes.
    pub(super) size: u64,
    /// Where the next read begins, in bytes.
    pub(super) offset: u64,
    /// Access mode and `O_APPEND`.
    pub(super) flags: OFlags,
    /// The file's seals.
    pub(super) seals: SealFlags,
    /// The file's permissions.
    pub(super) mode: u32,
    /// The file's owner and group.
    pub(super) ids: (u32, u32),
    /// Bytes in a page, on hugetlbfs.
    pub(super) huge_page: Option<u64>,
    /// How it is to arrive.
    pub(super) arrival: Arrival,
}

impl Record {
    /// Of a stored descriptor, as it is now.
    pub(super) fn of(entry: &Entry) -> io::Result<Self> {
        let stat = fstat(&entry.descriptor)?;
        let seals = match fcntl_get_seals(&entry.descriptor) {
            // A region's file has none.
            Err(Errno::INVAL) => SealFlags::empty(),
            seals => seals?,
        };
        let huge_page = match kind_of(&entry.descriptor)? {
            Kind::Hugetlbfs { page } => Some(page),
            Kind::Tmpfs | Kind::Other => None,
        };
        Ok(Self {
            name: entry.name.clone(),
            file: memory::name(&entry.descriptor)?,
            size: entry.size()?,
            offset: tell(&entry.descriptor)?,
            flags: entry.flags,
            seals,
            mode: stat.st_mode & 0o777,
            ids: (stat.st_uid, stat.st_gid),
            huge_page,
            arrival: entry.arrival,
        })
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let access = match self.flags & OFlags::ACCMODE {
            OFlags::RDONLY => Access::Read,
            OFlags::WRONLY => Access::Write,
            _ => Access::ReadWrite,
        };
        serde_json::to_vec(&Written {
            version: VERSION,
            name: self.name.to_string(),
            file: self.file.clone(),
            size: self.size,
            offset: self.offset,
            access,
            append: self.flags.contains(OFlags::APPEND),
            seals: self.seals.iter_names().map(|(name, _)| name.to_lowercase()).collect(),
            mode: self.mode,
            uid: self.ids.0,
            gid: self.ids.1,
            huge_page: self.huge_page,
            arrival: self.arrival,
        })
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > MAX_BYTES {
            return Err(RecordError::Long(bytes.len()));
        }
        let written: Written = serde_json::from_slice(bytes)?;
        if written.version != VERSION {
            return Err(RecordError::Version(written.version));
        }
        // What `lseek(2)` and `ftruncate(2)` take.
        for (what, value) in [("size", written.size), ("offset", written.offset)] {
            if i64::try_from(value).is_err() {
                return Err(RecordError::Figure { what, value });
            }
        }
        if written.mode & !0o777 != 0 {
            let value = u64::from(written.mode);
            return Err(RecordError::Figure { what: "mode", value });
        }
        let seal = |name: &String| {
            let upper = name.to_uppercase();
            SealFlags::from_name(&upper).ok_or_else(|| RecordError::Seal(name.clone()))
        };
        let access = match written.access {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::WRONLY,
            Access::ReadWrite => OFlags::RDWR,
        };
        let append = if written.append { OFlags::APPEND } else { OFlags::empty() };
        Ok(Self {
            name: Name::new(&written.name)?,
            file: written.file,
            size: written.size,
            offset: written.offset,
            flags: access | append,
            seals: written.seals.iter().map(seal).collect::<Result<_, _>>()?,
            mode: written.mode,
            ids: (written.uid, written.gid),
            huge_page: written.huge_page,
            arrival: written.arrival,
        })
    }
}
