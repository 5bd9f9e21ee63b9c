//! How many kernels a region has lived under.
//!
//! ```text
//! handover record: [(region, kernels)] ─► this kernel ─► [(region, kernels + 1)] ─► next record
//! ```
//!
//! The count travels in the handover record, so that nothing is ever written into a region that is
//! carried over. Other tools' kexecs pass no record on: after one, a region that a kexec of ours
//! made has lived under two kernels at least, the one that it was made for and this one.

use crate::handover::Handover;
use uuid::Uuid;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Kernels that a region has lived under, the running one among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// How many.
    pub kernels: u32,
    /// Whether there may have been more: some of them were started by other tools.
    pub at_least: bool,
}

/// The ages of the regions in one kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ages(Vec<(Uuid, Age)>);

/// One line of the record; all numbers little-endian.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Line {
    region: [u8; 16],
    kernels: U32,
    at_least: U32,
}

impl Ages {
    /// In the running kernel.
    pub fn here() -> Self {
        Handover::of_this_boot().map(|h| h.ages).unwrap_or_default()
    }

    /// How old a region is.
    pub fn of(&self, region: Uuid) -> Age {
        let known = self.0.iter().find(|(uuid, _)| *uuid == region);
        known.map_or(Age { kernels: 2, at_least: true }, |(_, age)| *age)
    }

    /// In the next kernel: of the regions that are here, and of the one that is being made.
    pub(crate) fn next(&self, here: impl IntoIterator<Item = Uuid>, made: Uuid) -> Self {
        let older = here.into_iter().map(|region| {
            let age = self.of(region);
            (region, Age { kernels: age.kernels.saturating_add(1), ..age })
        });
        Self(older.chain([(made, Age { kernels: 1, at_least: false })]).collect())
    }

    /// The lines of the record.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let line = |(region, age): &(Uuid, Age)| Line {
            region: *region.as_bytes(),
            kernels: age.kernels.into(),
            at_least: u32::from(age.at_least).into(),
        };
        self.0.iter().flat_map(|entry| line(entry).as_bytes().to_vec()).collect()
    }

    /// The first `count` lines in `bytes`; fewer where fewer are there.
    pub(crate) fn parse(bytes: &[u8], count: u32) -> Self {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let lines = bytes.chunks_exact(size_of::<Line>()).take(count);
        let age =
            |line: Line| Age { kernels: line.kernels.get(), at_least: line.at_least.get() != 0 };
        let entry = |line: Line| (Uuid::from_bytes(line.region), age(line));
        Self(lines.filter_map(|l| Line::read_from_bytes(l).ok()).map(entry).collect())
    }

    /// What stands behind `count` lines in `bytes`.
    pub(crate) fn behind(bytes: &[u8], count: u32) -> &[u8] {
        let lines = usize::try_from(count).ok().and_then(|n| n.checked_mul(size_of::<Line>()));
        lines.and_then(|lines| bytes.get(lines..)).unwrap_or_default()
    }

    /// How many lines the record has.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_ages_by_one_with_each_kernel() {
        let [a, b, c] = [1, 2, 3].map(Uuid::from_u128);
        let exactly = |kernels| Age { kernels, at_least: false };
        let first = Ages::default().next([], a);
        let second = first.next([a], b);
        assert_eq!((second.of(a), second.of(b)), (exactly(2), exactly(1)));
        // A kexec by another tool, and then one of ours.
        let lost = Ages::default();
        assert_eq!(lost.of(a), Age { kernels: 2, at_least: true });
        let third = lost.next([a], c);
        assert_eq!(third.of(a), Age { kernels: 3, at_least: true });
        assert_eq!(third.of(c), exactly(1));
        // What was released is not passed on.
        assert_eq!(second.next([b], c).len(), 2);
    }

    #[test]
    fn reads_what_it_writes_and_no_more_than_there_is() {
        let ages = Ages::default().next([Uuid::from_u128(5)], Uuid::from_u128(6));
        let bytes = ages.to_bytes();
        assert_eq!(Ages::parse(&bytes, 2), ages);
        assert_eq!(Ages::parse(&bytes, u32::MAX), ages);
        assert_eq!(Ages::parse(&bytes[..30], 2).len(), 1);
        assert_eq!(Ages::parse(&bytes, 0), Ages::default());
    }
}
