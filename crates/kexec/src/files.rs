//! Small files of `/proc` and `/sys`, read with a limit.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// More bytes than any file read here has; the longest is a `modules.dep` of half a MiB.
const LIMIT: usize = 16 << 20;

/// Why a small file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{}: expected {expected}, found {found:?}", .path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What it holds.
        found: String,
    },
}

/// The bytes of `path`.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let limit = u64::try_from(LIMIT).expect("16 MiB");
    let mut bytes = Vec::new();
    File::open(path).and_then(|f| f.take(limit + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() > LIMIT {
        return Err(failed(io::Error::other("it has more than 16 MiB")));
    }
    Ok(bytes)
}

/// The text of `path`.
pub(crate) fn read_text(path: &Path) -> Result<String, FileError> {
    String::from_utf8(read(path)?).map_err(|e| FileError::Content {
        path: path.to_owned(),
        expected: "text",
        found: String::from_utf8_lossy(e.as_bytes()).chars().take(40).collect(),
    })
}

/// The number `0x…` in `path`.
pub(crate) fn read_hex(path: &Path) -> Result<u64, FileError> {
    let text = read_text(path)?;
    text.trim()
        .strip_prefix("0x")
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| FileError::Content {
            path: path.to_owned(),
            expected: "a hexadecimal number such as 0x1000",
            found: text.chars().take(40).collect(),
        })
}
