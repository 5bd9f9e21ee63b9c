//! Times as ext4 stores them: 32 bits of seconds, 2 more bits of epoch, 30 bits of nanoseconds.
//!
//! ```text
//! seconds  i32                       extra  nanoseconds << 2 | epoch
//! time = seconds + epoch × 2^32      from 1901-12-13 to 2446-05-10
//! ```
//!
//! Source: `fs/ext4/ext4.h` `ext4_encode_extra_time`.

use crate::layout::{hi32, lo32};
use zerocopy::little_endian::U32;

/// A point in time: seconds since 1970 (before it: negative) and nanoseconds, 0 to 999,999,999,
/// after that second began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since the start of 1970 UTC.
    pub secs: i64,
    /// Nanoseconds since the start of that second.
    pub nanos: u32,
}

impl Timestamp {
    /// The earliest time that ext4 holds.
    pub const MIN: Self = Self { secs: i32::MIN as i64, nanos: 0 };
    /// The latest time that ext4 holds.
    pub const MAX: Self = Self { secs: i32::MIN as i64 + (1 << 34) - 1, nanos: 999_999_999 };

    /// What ext4 keeps of this time: Linux clamps a time that a filesystem cannot hold
    /// (`fs/inode.c` `timestamp_truncate`), and so does composing.
    #[must_use]
    pub fn clamped(self) -> Self {
        Self { secs: self.secs, nanos: self.nanos.min(999_999_999) }.clamp(Self::MIN, Self::MAX)
    }

    pub(crate) fn encode(self) -> StoredTime {
        let Self { secs, nanos } = self.clamped();
        let since_min = u64::try_from(secs - Self::MIN.secs).unwrap_or(0);
        let epoch = hi32(since_min).get();
        let seconds = lo32(since_min).get().wrapping_add(1 << 31);
        StoredTime { seconds: U32::new(seconds), extra: U32::new(nanos << 2 | epoch) }
    }
}

/// The two fields of an inode that hold one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredTime {
    pub(crate) seconds: U32,
    pub(crate) extra: U32,
}

impl StoredTime {
    pub(crate) fn decode(self) -> Timestamp {
        let seconds = i64::from(self.seconds.get().cast_signed());
        let epoch = i64::from(self.extra.get() & 3);
        Timestamp { secs: seconds + (epoch << 32), nanos: self.extra.get() >> 2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_it_can_and_clamps_the_rest() {
        let at = |secs, nanos| Timestamp { secs, nanos };
        for time in [at(0, 0), at(-1, 999_999_999), at(1 << 31, 1), at(1 << 32, 5), at(1 << 33, 7)]
        {
            assert_eq!(time.encode().decode(), time);
        }
        for time in [Timestamp::MIN, Timestamp::MAX] {
            assert_eq!(time.encode().decode(), time);
        }
        assert_eq!(at(i64::MAX, 0).encode().decode(), at(Timestamp::MAX.secs, 999_999_999));
        assert_eq!(at(i64::MIN, 3).encode().decode(), Timestamp::MIN);
    }

    #[test]
    fn matches_the_kernels_table() {
        // Documentation/filesystems/ext4/inodes.rst, "Inode Timestamps".
        let stored = Timestamp { secs: 0x8000_0000, nanos: 0 }.encode();
        assert_eq!((stored.seconds.get(), stored.extra.get()), (0x8000_0000, 1));
        let stored = Timestamp { secs: -1, nanos: 0 }.encode();
        assert_eq!((stored.seconds.get(), stored.extra.get()), (0xffff_ffff, 0));
    }
}
