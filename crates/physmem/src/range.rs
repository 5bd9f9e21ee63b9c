//! One non-empty range of physical addresses.

use std::fmt;

/// log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;

/// Bytes in a base page on x86-64.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;

/// [`PAGE_SIZE`], for lengths of bytes in memory.
pub const PAGE_BYTES: usize = 1 << PAGE_SHIFT;

/// One past the highest physical address that x86-64 can express: 52 bits (Intel SDM vol. 3A
/// §4.1.4, MAXPHYADDR at most 52).
pub const ADDRESS_LIMIT: u64 = 1 << 52;

/// A non-empty half-open range of physical addresses, `[start, end)`, below [`ADDRESS_LIMIT`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhysRange {
    start: u64,
    end: u64,
}

/// Why a pair of numbers is no physical range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// The end is not above the start.
    #[error("physical range {start:#x}..{end:#x} is empty or backwards")]
    Empty {
        /// Alleged first address.
        start: u64,
        /// Alleged end.
        end: u64,
    },
    /// The range passes [`ADDRESS_LIMIT`].
    #[error("physical range from {start:#x}, {len:#x} bytes long, passes the 52-bit address limit")]
    TooHigh {
        /// Alleged first address.
        start: u64,
        /// Alleged length in bytes.
        len: u64,
    },
}

impl PhysRange {
    /// The range `[start, end)`.
    pub const fn new(start: u64, end: u64) -> Result<Self, RangeError> {
        if start >= end {
            return Err(RangeError::Empty { start, end });
        }
        if end > ADDRESS_LIMIT {
            return Err(RangeError::TooHigh { start, len: end - start });
        }
        Ok(Self { start, end })
    }

    /// The `len` bytes from `start` on.
    pub const fn from_len(start: u64, len: u64) -> Result<Self, RangeError> {
        match start.checked_add(len) {
            Some(end) => Self::new(start, end),
            None => Err(RangeError::TooHigh { start, len }),
        }
    }

    /// The `count` base pages from page frame number `pfn` on.
    pub const fn from_pfn(pfn: u64, count: u64) -> Result<Self, RangeError> {
        if pfn > ADDRESS_LIMIT >> PAGE_SHIFT || count > ADDRESS_LIMIT >> PAGE_SHIFT {
            return Err(RangeError::TooHigh { start: pfn, len: count });
        }
        Self::from_len(pfn << PAGE_SHIFT, count << PAGE_SHIFT)
    }

    /// First address in the range.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// First address after the range.
    pub const fn end(self) -> u64 {
        self.end
    }

    /// Length in bytes; never zero.
    #[expect(clippy::len_without_is_empty, reason = "a PhysRange is never empty")]
    pub const fn len(self) -> u64 {
        self.end - self.start
    }

    /// Page frame number of the first address.
    pub const fn pfn(self) -> u64 {
        self.start >> PAGE_SHIFT
    }

    /// Length in base pages, a started page counting as one.
    pub const fn pages(self) -> u64 {
        self.len().div_ceil(PAGE_SIZE)
    }

    /// Whether `addr` lies in the range.
    pub const fn contains(self, addr: u64) -> bool {
        self.start <= addr && addr < self.end
    }

    /// Whether all of `other` lies in the range.
    pub const fn contains_range(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Whether any address lies in both.
    pub const fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// What lies in both.
    pub fn intersect(self, other: Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.end.min(other.end)).ok()
    }

    /// Whether both ends are multiples of `align`, a power of two.
    pub const fn is_aligned(self, align: u64) -> bool {
        debug_assert!(align.is_power_of_two());
        (self.start | self.end) & (align - 1) == 0
    }

    /// The largest part whose ends are multiples of `align`, a power of two.
    pub fn align_inward(self, align: u64) -> Option<Self> {
        debug_assert!(align.is_power_of_two());
        let start = self.start.checked_next_multiple_of(align)?;
        Self::new(start, self.end & !(align - 1)).ok()
    }

    /// The smallest range around this one whose ends are multiples of `align`, a power of two.
    pub fn align_outward(self, align: u64) -> Result<Self, RangeError> {
        debug_assert!(align.is_power_of_two());
        let too_high = RangeError::TooHigh { start: self.start, len: self.len() };
        let end = self.end.checked_next_multiple_of(align).ok_or(too_high)?;
        Self::new(self.start & !(align - 1), end)
    }
}

impl fmt::Display for PhysRange {
    /// As `/proc/iomem` and the kernel log write ranges: inclusive, in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}-{:#x}", self.start, self.end - 1)
    }
}

impl fmt::Debug for PhysRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:#x}..{:#x})", self.start, self.end)
    }
}

/// `bytes` rounded up to whole base pages, or `None` past `u64::MAX`.
pub const fn page_align_up(bytes: u64) -> Option<u64> {
    bytes.checked_next_multiple_of(PAGE_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_range() {
        assert!(PhysRange::new(5, 5).is_err());
        assert!(PhysRange::new(6, 5).is_err());
        assert!(PhysRange::new(0, ADDRESS_LIMIT + 1).is_err());
        assert!(PhysRange::from_len(u64::MAX, 2).is_err());
        assert!(PhysRange::from_pfn(u64::MAX >> 3, 1).is_err());
        assert!(PhysRange::new(0, ADDRESS_LIMIT).is_ok());
    }

    #[test]
    fn aligns() {
        let r = PhysRange::new(0x1001, 0x4fff).unwrap();
        assert_eq!(r.align_inward(0x1000), PhysRange::new(0x2000, 0x4000).ok());
        assert_eq!(r.align_outward(0x1000), PhysRange::new(0x1000, 0x5000));
        assert_eq!(PhysRange::new(0x1001, 0x1fff).unwrap().align_inward(0x1000), None);
        assert_eq!(r.pages(), 4);
    }

    #[test]
    fn shows_inclusive_hexadecimal() {
        assert_eq!(PhysRange::new(0x1000, 0x2000).unwrap().to_string(), "0x1000-0x1fff");
    }
}
