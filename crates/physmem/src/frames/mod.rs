//! Sets of page frames, a bit a page.
//!
//! ```text
//! FrameSet   chunk 0 ─► (nothing in it: absent)          a chunk is 1 GiB
//!            chunk 1 ─► full
//!            chunk 5 ─► 4096 words of 64 pages ─► 0b…0101
//! ```
//!
//! A terabyte takes 32 MiB however its pages are scattered, and next to nothing where whole
//! gigabytes are in the set or not. What comes in few long ranges is a [`RangeSet`].

mod runs;

use crate::{ADDRESS_LIMIT, PAGE_SHIFT, PAGE_SIZE, PhysRange, RangeSet};
use std::fmt;
use std::iter;

pub use runs::Cursor;

/// log2 of the pages in a chunk: 1 GiB.
const CHUNK_SHIFT: u32 = 18;

/// Pages in a chunk.
const CHUNK_PAGES: u64 = 1 << CHUNK_SHIFT;

/// Words of 64 pages in a chunk.
const WORDS: usize = 1 << (CHUNK_SHIFT - 6);

/// A set of page frames.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct FrameSet {
    /// By number, ascending; none is empty.
    chunks: Vec<(u64, Chunk)>,
}

#[derive(Clone, PartialEq, Eq)]
enum Chunk {
    Full,
    /// Some pages, but not all.
    Some {
        pages: u64,
        words: Vec<u64>,
    },
}

impl Chunk {
    fn pages(&self) -> u64 {
        match self {
            Self::Full => CHUNK_PAGES,
            Self::Some { pages, .. } => *pages,
        }
    }

    fn word(&self, index: usize) -> u64 {
        match self {
            Self::Full => u64::MAX,
            Self::Some { words, .. } => words[index],
        }
    }
}

impl FrameSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { chunks: Vec::new() }
    }

    /// Adds all pages that `range` touches.
    pub fn insert(&mut self, range: PhysRange) {
        self.change(range, true);
    }

    /// Takes out all pages that `range` touches.
    pub fn remove(&mut self, range: PhysRange) {
        self.change(range, false);
    }

    /// Adds up to 64 pages at once: for each bit of `bits` that is set the page whose number is
    /// `first`, a multiple of 64, plus that of the bit. No page lies past [`ADDRESS_LIMIT`].
    pub fn insert_bits(&mut self, first: u64, bits: u64) {
        debug_assert!(first.is_multiple_of(64) && first < ADDRESS_LIMIT >> PAGE_SHIFT);
        self.change_words(first >> CHUNK_SHIFT, iter::once((word_of(first), bits)), true);
    }

    /// Takes out all pages of another set.
    pub fn remove_all(&mut self, other: &Self) {
        for (number, chunk) in &other.chunks {
            match chunk {
                Chunk::Full => self.change_chunk(*number, false),
                Chunk::Some { words, .. } => {
                    self.change_words(*number, words.iter().copied().enumerate(), false);
                }
            }
        }
    }

    /// The pages that `ranges` touch.
    #[must_use]
    pub fn intersect(&self, ranges: &RangeSet) -> Self {
        let mut both = Self::new();
        for range in ranges.iter() {
            let (first, end) = pages_of(range);
            for (number, chunk) in self.chunks_from(first >> CHUNK_SHIFT) {
                let start = number << CHUNK_SHIFT;
                if start >= end {
                    break;
                }
                match (masks(first.max(start), end.min(start + CHUNK_PAGES)), chunk) {
                    (None, chunk) => both.chunks.push((number, chunk.clone())),
                    (Some(masks), chunk) => {
                        let words = masks.map(|(i, mask)| (i, chunk.word(i) & mask));
                        both.change_words(number, words, true);
                    }
                }
            }
        }
        both
    }

    /// Whether the set has no page.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// How many bytes the pages have.
    pub fn bytes(&self) -> u64 {
        self.chunks.iter().map(|c| c.1.pages()).sum::<u64>() << PAGE_SHIFT
    }

    /// Bytes of those pages that `range` touches.
    pub fn bytes_within(&self, range: PhysRange) -> u64 {
        let (first, end) = pages_of(range);
        let mut pages = 0;
        for (number, chunk) in self.chunks_from(first >> CHUNK_SHIFT) {
            let start = number << CHUNK_SHIFT;
            if start >= end {
                break;
            }
            pages += match masks(first.max(start), end.min(start + CHUNK_PAGES)) {
                None => chunk.pages(),
                Some(masks) => {
                    masks.map(|(i, mask)| u64::from((chunk.word(i) & mask).count_ones())).sum()
                }
            };
        }
        pages << PAGE_SHIFT
    }

    /// Whether the page at this address is in the set.
    pub fn contains(&self, addr: u64) -> bool {
        PhysRange::from_len(addr, 1).is_ok_and(|page| self.overlaps(page))
    }

    /// Whether all pages that `range` touches are in the set.
    pub fn contains_range(&self, range: PhysRange) -> bool {
        let (first, end) = pages_of(range);
        self.bytes_within(range) == (end - first) << PAGE_SHIFT
    }

    /// Whether any page that `range` touches is in the set.
    pub fn overlaps(&self, range: PhysRange) -> bool {
        self.first_overlap(range).is_some()
    }

    /// The first pages of the set that `range` touches.
    pub fn first_overlap(&self, range: PhysRange) -> Option<PhysRange> {
        self.within(range).next()
    }

    /// Where in `chunks` the first one is whose number is at least `number`.
    fn position(&self, number: u64, hint: usize) -> usize {
        match self.chunks.get(hint) {
            Some(c) if c.0 == number => hint,
            _ => self.chunks.partition_point(|c| c.0 < number),
        }
    }

    fn chunks_from(&self, number: u64) -> impl Iterator<Item = (u64, &Chunk)> {
        let from = self.position(number, usize::MAX);
        self.chunks[from..].iter().map(|(number, chunk)| (*number, chunk))
    }

    fn change(&mut self, range: PhysRange, to: bool) {
        let (mut at, end) = pages_of(range);
        while at < end {
            let number = at >> CHUNK_SHIFT;
            let until = end.min((number + 1) << CHUNK_SHIFT);
            match masks(at, until) {
                Some(masks) => self.change_words(number, masks, to),
                None => self.change_chunk(number, to),
            }
            at = until;
        }
    }

    /// Makes a chunk full or empty.
    fn change_chunk(&mut self, number: u64, to: bool) {
        let i = self.position(number, usize::MAX);
        match (to, self.chunks.get_mut(i).filter(|c| c.0 == number)) {
            (true, Some(chunk)) => chunk.1 = Chunk::Full,
            (true, None) => self.chunks.insert(i, (number, Chunk::Full)),
            (false, Some(_)) => drop(self.chunks.remove(i)),
            (false, None) => {}
        }
    }

    /// Sets or clears the bits of `masks` in some words of one chunk.
    fn change_words(&mut self, number: u64, masks: impl Iterator<Item = (usize, u64)>, to: bool) {
        let i = self.position(number, self.chunks.len().wrapping_sub(1));
        let there = self.chunks.get(i).is_some_and(|c| c.0 == number);
        match (to, there) {
            (true, false) => {
                let empty = Chunk::Some { pages: 0, words: vec![0; WORDS] };
                self.chunks.insert(i, (number, empty));
            }
            (false, false) => return,
            (true, true) if matches!(self.chunks[i].1, Chunk::Full) => return,
            (false, true) if matches!(self.chunks[i].1, Chunk::Full) => {
                let full = Chunk::Some { pages: CHUNK_PAGES, words: vec![u64::MAX; WORDS] };
                self.chunks[i].1 = full;
            }
            (_, true) => {}
        }
        let Chunk::Some { pages, words } = &mut self.chunks[i].1 else { return };
        for (word, mask) in masks {
            let old = words[word];
            words[word] = if to { old | mask } else { old & !mask };
            let changed = u64::from((old ^ words[word]).count_ones());
            *pages = if to { *pages + changed } else { *pages - changed };
        }
        match *pages {
            0 => drop(self.chunks.remove(i)),
            CHUNK_PAGES => self.chunks[i].1 = Chunk::Full,
            _ => {}
        }
    }
}

/// First page that `range` touches, and the one after the last.
fn pages_of(range: PhysRange) -> (u64, u64) {
    (range.start() >> PAGE_SHIFT, range.end().div_ceil(PAGE_SIZE))
}

/// The word that has the bit of a page, in its chunk.
#[expect(clippy::cast_possible_truncation, reason = "below WORDS")]
const fn word_of(page: u64) -> usize {
    (page as usize & ((1 << CHUNK_SHIFT) - 1)) >> 6
}

/// The words of `[first, end)`, pages of one chunk, each with its bits; `None` for a whole chunk.
fn masks(first: u64, end: u64) -> Option<impl Iterator<Item = (usize, u64)>> {
    debug_assert!(first < end && first >> CHUNK_SHIFT == (end - 1) >> CHUNK_SHIFT);
    let (low, high) = (word_of(first), word_of(end - 1));
    let words = (low..=high).map(move |i| {
        let from = if i == low { u64::MAX << (first & 63) } else { u64::MAX };
        let to = if i == high { u64::MAX >> (63 - ((end - 1) & 63)) } else { u64::MAX };
        (i, from & to)
    });
    (end - first < CHUNK_PAGES).then_some(words)
}

impl FromIterator<PhysRange> for FrameSet {
    fn from_iter<I: IntoIterator<Item = PhysRange>>(ranges: I) -> Self {
        let mut set = Self::new();
        set.extend(ranges);
        set
    }
}

impl Extend<PhysRange> for FrameSet {
    fn extend<I: IntoIterator<Item = PhysRange>>(&mut self, ranges: I) {
        ranges.into_iter().for_each(|range| self.insert(range));
    }
}

impl From<&RangeSet> for FrameSet {
    fn from(set: &RangeSet) -> Self {
        set.iter().collect()
    }
}

impl fmt::Debug for FrameSet {
    /// As ranges: a set for a test is small.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
