//! When things happened, for the next kernel's report.

use crate::bytes::{Writer, field};

/// When things happened, in TSC ticks, as the mover leaves it for the next kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// The mover's first instruction.
    pub entered: u64,
    /// Parameters and list were found whole.
    pub checked: u64,
    /// Preserved pages are in their new places.
    pub moved: u64,
    /// The metadata is in its place.
    pub composed: u64,
    /// The next kernel is in its place; the jump into it follows.
    pub placed: u64,
}

impl Timeline {
    /// Bytes in memory: five numbers of 8 bytes, in the order of the fields.
    pub const SIZE: usize = 40;

    /// As it lies in memory.
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let mut w = Writer::new(&mut bytes);
        for stamp in [self.entered, self.checked, self.moved, self.composed, self.placed] {
            w.put(stamp.to_le_bytes());
        }
        bytes
    }

    /// Reads it back; any bytes are a timeline, and all zero means that no mover wrote one.
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        Self {
            entered: u64::from_le_bytes(field::<0, 8>(bytes)),
            checked: u64::from_le_bytes(field::<8, 8>(bytes)),
            moved: u64::from_le_bytes(field::<16, 8>(bytes)),
            composed: u64::from_le_bytes(field::<24, 8>(bytes)),
            placed: u64::from_le_bytes(field::<32, 8>(bytes)),
        }
    }
}
