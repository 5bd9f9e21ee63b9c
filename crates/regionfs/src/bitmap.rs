//! Which blocks are in use: sorted ranges, each with its owner, turned into bitmaps on demand.

use crate::layout::{BLOCK, BLOCKS_PER_GROUP, Block, index};
use std::ops::Range;

/// A run of blocks and the inode that owns it; 0 is the filesystem itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) start: u64,
    pub(crate) len: u32,
    pub(crate) inode: u32,
}

impl Owned {
    const fn end(self) -> u64 {
        self.start + self.len as u64
    }
}

/// Two owners of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) block: u64,
    pub(crate) inodes: [u32; 2],
}

/// Sorted, disjoint, joined ranges of blocks in use.
#[derive(Clone, Debug)]
pub(crate) struct Usage(Vec<Range<u64>>);

impl Usage {
    /// Joins what is owned, and tells each pair of neighbours that overlap.
    pub(crate) fn new(mut owned: Vec<Owned>, mut conflict: impl FnMut(Conflict)) -> Self {
        owned.sort_unstable_by_key(|o| (o.start, o.inode));
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let mut last_owner = 0;
        for o in owned {
            match ranges.last_mut() {
                Some(last) if o.start <= last.end => {
                    if o.start < last.end {
                        conflict(Conflict { block: o.start, inodes: [last_owner, o.inode] });
                    }
                    if o.end() < last.end {
                        continue;
                    }
                    last.end = o.end();
                }
                _ => ranges.push(o.start..o.end()),
            }
            last_owner = o.inode;
        }
        Self(ranges)
    }

    /// How many blocks are in use.
    pub(crate) fn blocks(&self) -> u64 {
        self.0.iter().map(|r| r.end - r.start).sum()
    }

    /// The bitmap of the group with `blocks`, the first of which is a multiple of
    /// [`BLOCKS_PER_GROUP`], and how many of them are in use. Bits past the group's end are set.
    pub(crate) fn bitmap(&self, blocks: Range<u64>) -> (Block, u64) {
        let mut bitmap = [0; BLOCK];
        let mut used = 0;
        let from = self.0.partition_point(|r| r.end <= blocks.start);
        for range in self.0[from..].iter().take_while(|r| r.start < blocks.end) {
            let part = range.start.max(blocks.start)..range.end.min(blocks.end);
            used += part.end - part.start;
            set_bits(&mut bitmap, part.start - blocks.start..part.end - blocks.start);
        }
        set_bits(&mut bitmap, blocks.end - blocks.start..BLOCKS_PER_GROUP);
        (bitmap, used)
    }
}

/// Sets the bits of `range`, which lies in the bitmap.
pub(crate) fn set_bits(bitmap: &mut Block, range: Range<u64>) {
    let (start, end) = (index(range.start), index(range.end));
    if start >= end {
        return;
    }
    let (first, last) = (start / 8, (end - 1) / 8);
    let (head, tail) = (0xff_u8 << (start % 8), 0xff_u8 >> (7 - (end - 1) % 8));
    if first == last {
        bitmap[first] |= head & tail;
    } else {
        bitmap[first] |= head;
        bitmap[first + 1..last].fill(0xff);
        bitmap[last] |= tail;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sets_exactly_the_range(start in 0_u64..200, len in 0_u64..200) {
            let mut bitmap = [0; BLOCK];
            set_bits(&mut bitmap, start..start + len);
            for bit in 0..1000 {
                let set = bitmap[index(bit / 8)] >> (bit % 8) & 1 == 1;
                prop_assert_eq!(set, (start..start + len).contains(&bit));
            }
        }

        #[test]
        fn usage_matches_a_bit_per_block(
            owned in prop::collection::vec((0_u64..70_000, 1_u32..4000, 1_u32..9), 0..30)
        ) {
            let mut model = vec![0_u32; 80_000];
            for &(start, len, _) in &owned {
                for b in start..start + u64::from(len) {
                    model[index(b)] += 1;
                }
            }
            let owned =
                owned.iter().map(|&(start, len, inode)| Owned { start, len, inode }).collect();
            let mut conflicts = 0;
            let usage = Usage::new(owned, |c| {
                assert!(model[index(c.block)] > 1);
                conflicts += 1;
            });
            prop_assert_eq!(conflicts > 0, model.iter().any(|&n| n > 1));
            prop_assert_eq!(usage.blocks(), model.iter().filter(|&&n| n > 0).count() as u64);
            let (bitmap, used) = usage.bitmap(BLOCKS_PER_GROUP..2 * BLOCKS_PER_GROUP);
            let group = &model[index(BLOCKS_PER_GROUP)..index(2 * BLOCKS_PER_GROUP)];
            prop_assert_eq!(used, group.iter().filter(|&&n| n > 0).count() as u64);
            for (bit, &n) in group.iter().enumerate() {
                prop_assert_eq!(bitmap[bit / 8] >> (bit % 8) & 1 == 1, n > 0);
            }
        }
    }
}
