//! The map from the strings of `/sys/firmware/memmap`.
//!
//! The kernel shows there what its own boot loader told it, before any `memmap=` on the command
//! line (`e820_table_firmware`, `drivers/firmware/memmap.c`): one folder an entry with the files
//! `start`, `end` (inclusive) and `type`.

use crate::{E820Entry, E820Type, MemoryMap, PhysRange, RangeError};

/// Why an entry of `/sys/firmware/memmap` cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FirmwareError {
    /// A file holds no hexadecimal number.
    #[error("expected a hexadecimal address such as 0x1000, found {found:?}")]
    Number {
        /// What the file held.
        found: String,
    },
    /// Start and end make no range.
    #[error(transparent)]
    Range(#[from] RangeError),
}

impl E820Entry {
    /// The entry from the contents of its three files.
    pub fn from_firmware(start: &str, end: &str, kind: &str) -> Result<Self, FirmwareError> {
        let (start, end) = (hex(start)?, hex(end)?);
        let past = end.checked_add(1).ok_or(RangeError::TooHigh { start, len: end })?;
        Ok(Self { range: PhysRange::new(start, past)?, kind: kind_from_string(kind.trim()) })
    }
}

impl MemoryMap {
    /// The map from (start, end, type) strings as read from `/sys/firmware/memmap/*`.
    pub fn from_firmware<'a>(
        entries: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>,
    ) -> Result<Self, FirmwareError> {
        let parsed: Result<Vec<_>, _> =
            entries.into_iter().map(|(s, e, t)| E820Entry::from_firmware(s, e, t)).collect();
        Ok(Self::from_entries(parsed?))
    }
}

fn hex(text: &str) -> Result<u64, FirmwareError> {
    let text = text.trim();
    text.strip_prefix("0x")
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| FirmwareError::Number { found: text.to_owned() })
}

/// What does not say clearly that it is something else is reserved: nothing is put there.
fn kind_from_string(text: &str) -> E820Type {
    use E820Type as T;
    let known = [T::Ram, T::AcpiTables, T::AcpiNvs, T::Unusable, T::Pmem, T::Pram, T::SoftReserved];
    known.into_iter().find(|k| k.to_string() == text).unwrap_or(T::Reserved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let map = MemoryMap::from_firmware([
            ("0x0\n", "0x9fbff\n", "System RAM\n"),
            ("0x9fc00\n", "0x9ffff\n", "Reserved\n"),
            ("0x7ffe0000", "0x7fffffff", "Unknown E820 type"),
            ("0x40000000", "0x4fffffff", "Persistent Memory (legacy)"),
        ])
        .unwrap();
        assert_eq!(map.kind_at(0x9fbff), Some(E820Type::Ram));
        assert_eq!(map.kind_at(0x9fc00), Some(E820Type::Reserved));
        assert_eq!(map.kind_at(0x7fffffff), Some(E820Type::Reserved));
        assert_eq!(map.kind_at(0x4fffffff), Some(E820Type::Pram));
        assert_eq!(map.kind_at(0xa0000), None);
    }

    #[test]
    fn says_what_is_wrong() {
        let err = E820Entry::from_firmware("12", "0x13", "System RAM").unwrap_err();
        assert!(err.to_string().contains("\"12\""), "{err}");
        assert!(E820Entry::from_firmware("0x0", "0xffffffffffffffff", "x").is_err());
        assert!(E820Entry::from_firmware("0x10", "0xe", "x").is_err());
    }
}
