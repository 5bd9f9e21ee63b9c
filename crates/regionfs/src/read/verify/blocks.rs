//! Which blocks have an owner: one bit for each.

use crate::layout::{BLOCKS_PER_GROUP, Block, index};
use std::ops::Range;

#[derive(Debug)]
pub(super) struct Owners {
    words: Vec<u64>,
    blocks: u64,
}

impl Owners {
    pub(super) fn new(blocks: u64) -> Self {
        let words = blocks.div_ceil(BLOCKS_PER_GROUP) * (BLOCKS_PER_GROUP / 64);
        Self { words: vec![0; index(words)], blocks }
    }

    pub(super) const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Takes `len` blocks from `start` on, which lie in the filesystem. Answers with the first of
    /// them that had an owner already.
    pub(super) fn claim(&mut self, start: u64, len: u64) -> Option<u64> {
        let mut taken = None;
        let mut block = start;
        while block < start + len {
            let (word, bit) = (index(block / 64), block % 64);
            let bits = (64 - bit).min(start + len - block);
            let mask = (u64::MAX >> (64 - bits)) << bit;
            let both = self.words[word] & mask;
            if both != 0 && taken.is_none() {
                taken = Some(block - bit + u64::from(both.trailing_zeros()));
            }
            self.words[word] |= mask;
            block += bits;
        }
        taken
    }

    /// How many of `blocks`, a group, are free.
    pub(super) fn free(&self, blocks: Range<u64>) -> u64 {
        let used: u32 = self.group(&blocks).iter().map(|word| word.count_ones()).sum();
        blocks.end - blocks.start - u64::from(used)
    }

    /// The first block of the group `blocks` that is owned and free in `bitmap`, or the other way
    /// round, and whether it is owned. Bits past the group's end must be set.
    pub(super) fn first_difference(
        &self,
        blocks: Range<u64>,
        bitmap: &Block,
    ) -> Option<(u64, bool)> {
        let (found, _) = bitmap.as_chunks::<8>();
        for (i, (&owned, bytes)) in (0..).zip(self.group(&blocks).iter().zip(found)) {
            let first = blocks.start + 64 * i;
            let past_end = match blocks.end.saturating_sub(first) {
                0 => u64::MAX,
                64.. => 0,
                there => u64::MAX << there,
            };
            let differ = (owned | past_end) ^ u64::from_le_bytes(*bytes);
            if differ != 0 {
                let bit = differ.trailing_zeros();
                return Some((first + u64::from(bit), (owned | past_end) >> bit & 1 == 1));
            }
        }
        None
    }

    fn group(&self, blocks: &Range<u64>) -> &[u64] {
        &self.words[index(blocks.start / 64)..][..index(BLOCKS_PER_GROUP / 64)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bitmap::{Owned, Usage};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn claims_match_the_composing_side(
            claims in prop::collection::vec((0_u64..69_000, 1_u32..1000), 0..20)
        ) {
            let mut owners = Owners::new(70_000);
            let mut conflicts = 0;
            for &(start, len) in &claims {
                conflicts += u32::from(owners.claim(start, len.into()).is_some());
            }
            let owned = claims.iter().map(|&(start, len)| Owned { start, len, inode: 1 }).collect();
            let mut composing = 0;
            let usage = Usage::new(owned, |_| composing += 1);
            prop_assert_eq!(conflicts > 0, composing > 0);
            for group in [0..BLOCKS_PER_GROUP, 2 * BLOCKS_PER_GROUP..70_000] {
                let (mut bitmap, used) = usage.bitmap(group.clone());
                prop_assert_eq!(owners.free(group.clone()), group.end - group.start - used);
                prop_assert_eq!(owners.first_difference(group.clone(), &bitmap), None);
                bitmap[100] ^= 4;
                let owned = bitmap[100] & 4 == 0;
                let expected = Some((group.start + 802, owned));
                prop_assert_eq!(owners.first_difference(group, &bitmap), expected);
            }
        }
    }
}
