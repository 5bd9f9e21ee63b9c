//! Sets of physical addresses, as sorted disjoint ranges.

use crate::{ADDRESS_LIMIT, PhysRange};

/// A set of physical addresses: sorted, disjoint ranges with a gap between any two.
///
/// Made from any ranges in any order with `collect()`; the set operations are linear merges, so
/// that tens of millions of scattered pages stay cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    ranges: Vec<PhysRange>,
}

impl RangeSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = PhysRange> + DoubleEndedIterator + '_ {
        self.ranges.iter().copied()
    }

    /// The ranges, ascending.
    pub fn as_slice(&self) -> &[PhysRange] {
        &self.ranges
    }

    /// Whether the set has no address.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many separate ranges there are.
    pub fn count(&self) -> usize {
        self.ranges.len()
    }

    /// How many bytes the set covers.
    pub fn bytes(&self) -> u64 {
        self.iter().map(PhysRange::len).sum()
    }

    /// Lowest address and one past the highest, as one range.
    pub fn hull(&self) -> Option<PhysRange> {
        PhysRange::new(self.ranges.first()?.start(), self.ranges.last()?.end()).ok()
    }

    /// Whether `addr` is in the set.
    pub fn contains(&self, addr: u64) -> bool {
        let i = self.ranges.partition_point(|r| r.end() <= addr);
        self.ranges.get(i).is_some_and(|r| r.contains(addr))
    }

    /// Whether all of `range` is in the set.
    pub fn contains_range(&self, range: PhysRange) -> bool {
        let i = self.ranges.partition_point(|r| r.end() <= range.start());
        self.ranges.get(i).is_some_and(|r| r.contains_range(range))
    }

    /// The first range of the set that shares an address with `range`.
    pub fn first_overlap(&self, range: PhysRange) -> Option<PhysRange> {
        let i = self.ranges.partition_point(|r| r.end() <= range.start());
        self.ranges.get(i).copied().filter(|r| r.overlaps(range))
    }

    /// Whether any address of `range` is in the set.
    pub fn overlaps(&self, range: PhysRange) -> bool {
        self.first_overlap(range).is_some()
    }

    /// The part of the set inside `range`, ascending.
    pub fn within(&self, range: PhysRange) -> impl Iterator<Item = PhysRange> + '_ {
        let i = self.ranges.partition_point(|r| r.end() <= range.start());
        self.ranges[i..].iter().map_while(move |r| r.intersect(range))
    }

    /// How many bytes of `range` are in the set.
    pub fn bytes_within(&self, range: PhysRange) -> u64 {
        self.within(range).map(PhysRange::len).sum()
    }

    /// What is in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all = Vec::with_capacity(self.ranges.len() + other.ranges.len());
        let (mut a, mut b) = (self.iter().peekable(), other.iter().peekable());
        while let (Some(&x), Some(&y)) = (a.peek(), b.peek()) {
            let next = if x <= y { a.next() } else { b.next() };
            all.extend(next);
        }
        all.extend(a);
        all.extend(b);
        Self::from_sorted(all)
    }

    /// What is in both sets.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let mut ranges = Vec::new();
        let (mut i, mut j) = (0, 0);
        while let (Some(&a), Some(&b)) = (self.ranges.get(i), other.ranges.get(j)) {
            ranges.extend(a.intersect(b));
            if a.end() <= b.end() {
                i += 1;
            } else {
                j += 1;
            }
        }
        Self { ranges }
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        let mut ranges = Vec::new();
        let mut holes = other.iter().peekable();
        for r in self.iter() {
            let mut from = r.start();
            while let Some(&hole) = holes.peek() {
                if hole.start() >= r.end() {
                    break;
                }
                ranges.extend(PhysRange::new(from, hole.start()));
                from = from.max(hole.end());
                if hole.end() > r.end() {
                    break;
                }
                holes.next();
            }
            ranges.extend(PhysRange::new(from, r.end()));
        }
        Self { ranges }
    }

    /// All addresses below [`ADDRESS_LIMIT`](crate::ADDRESS_LIMIT) that are not in this set.
    #[must_use]
    pub fn complement(&self) -> Self {
        PhysRange::new(0, ADDRESS_LIMIT).into_iter().collect::<Self>().subtract(self)
    }

    /// The ranges of the set shrunk to multiples of `align`, a power of two; what is too small
    /// vanishes.
    #[must_use]
    pub fn align_inward(&self, align: u64) -> Self {
        Self { ranges: self.iter().filter_map(|r| r.align_inward(align)).collect() }
    }

    /// The ranges of the set grown to multiples of `align`, a power of two.
    ///
    /// # Panics
    ///
    /// Never for an `align` that divides [`ADDRESS_LIMIT`](crate::ADDRESS_LIMIT), which every
    /// power of two up to it does.
    #[must_use]
    pub fn align_outward(&self, align: u64) -> Self {
        self.iter()
            .map(|r| r.align_outward(align).expect("the limit is a multiple of the alignment"))
            .collect()
    }

    /// Joins neighbours in a vector sorted by start.
    fn from_sorted(mut sorted: Vec<PhysRange>) -> Self {
        sorted.dedup_by(|next, kept| {
            if next.start() > kept.end() {
                return false;
            }
            if next.end() > kept.end() {
                *kept = PhysRange::new(kept.start(), next.end()).unwrap_or(*kept);
            }
            true
        });
        Self { ranges: sorted }
    }
}

impl FromIterator<PhysRange> for RangeSet {
    fn from_iter<I: IntoIterator<Item = PhysRange>>(iter: I) -> Self {
        let mut ranges: Vec<_> = iter.into_iter().collect();
        ranges.sort_unstable();
        Self::from_sorted(ranges)
    }
}

impl From<PhysRange> for RangeSet {
    fn from(range: PhysRange) -> Self {
        Self { ranges: vec![range] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOP: u64 = 64;

    fn ranges() -> impl Strategy<Value = Vec<PhysRange>> {
        proptest::collection::vec(
            (0..TOP, 1..=16u64).prop_map(|(s, l)| PhysRange::from_len(s, l).unwrap()),
            0..12,
        )
    }

    fn member(ranges: &[PhysRange], addr: u64) -> bool {
        ranges.iter().any(|r| r.contains(addr))
    }

    fn well_formed(set: &RangeSet) {
        assert!(set.as_slice().windows(2).all(|w| w[0].end() < w[1].start()), "{set:?}");
    }

    proptest! {
        #[test]
        fn agrees_with_membership(a in ranges(), b in ranges()) {
            let (sa, sb): (RangeSet, RangeSet) = (a.iter().copied().collect(), b.iter().copied().collect());
            let (u, i, s) = (sa.union(&sb), sa.intersect(&sb), sa.subtract(&sb));
            for set in [&sa, &sb, &u, &s] {
                well_formed(set);
            }
            for x in 0..TOP + 20 {
                let (ma, mb) = (member(&a, x), member(&b, x));
                prop_assert_eq!(sa.contains(x), ma);
                prop_assert_eq!(u.contains(x), ma || mb);
                prop_assert_eq!(i.contains(x), ma && mb);
                prop_assert_eq!(s.contains(x), ma && !mb);
                prop_assert_eq!(sa.complement().contains(x), !ma);
            }
            prop_assert_eq!(u.bytes() + i.bytes(), sa.bytes() + sb.bytes());
        }

        #[test]
        fn looks_into_ranges(a in ranges(), start in 0..TOP, len in 1..20u64) {
            let set: RangeSet = a.iter().copied().collect();
            let r = PhysRange::from_len(start, len).unwrap();
            let inside = (start..start + len).filter(|&x| member(&a, x)).count() as u64;
            prop_assert_eq!(set.bytes_within(r), inside);
            prop_assert_eq!(set.overlaps(r), inside > 0);
            prop_assert_eq!(set.contains_range(r), inside == len);
        }

        #[test]
        fn alignment_brackets_the_set(a in ranges()) {
            let set: RangeSet = a.into_iter().collect();
            let (inner, outer) = (set.align_inward(8), set.align_outward(8));
            prop_assert!(inner.subtract(&set).is_empty());
            prop_assert!(set.subtract(&outer).is_empty());
            prop_assert!(inner.iter().chain(outer.iter()).all(|r| r.is_aligned(8)));
        }
    }
}
