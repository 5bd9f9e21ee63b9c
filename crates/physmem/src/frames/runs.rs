//! Runs of neighbouring pages, found a word at a time.

use super::{CHUNK_PAGES, CHUNK_SHIFT, Chunk, FrameSet, WORDS, pages_of, word_of};
use crate::{PAGE_SHIFT, PAGE_SIZE, PhysRange, RangeSet};
use std::iter;

/// Where in a [`FrameSet`] to look on for runs of pages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    page: u64,
    /// Where the chunk of `page` was last.
    hint: usize,
}

impl Cursor {
    /// From the page at this address on.
    pub const fn at(addr: u64) -> Self {
        Self { page: addr >> PAGE_SHIFT, hint: 0 }
    }

    /// On from this page.
    pub const fn skip_to(&mut self, addr: u64) {
        self.page = addr >> PAGE_SHIFT;
    }
}

impl FrameSet {
    /// From the first page to the last.
    pub fn hull(&self) -> Option<PhysRange> {
        let first = self.iter().next()?;
        let (number, chunk) = self.chunks.last()?;
        let last = (0..WORDS).rev().find(|&i| chunk.word(i) != 0)? as u64;
        let end = (number << CHUNK_SHIFT) + last * 64 + 64
            - u64::from(chunk.word(word_of(last * 64)).leading_zeros());
        PhysRange::new(first.start(), end << PAGE_SHIFT).ok()
    }

    /// The runs of neighbouring pages, ascending.
    pub fn iter(&self) -> impl Iterator<Item = PhysRange> + '_ {
        let mut cursor = Cursor::default();
        iter::from_fn(move || self.next_run(&mut cursor, 1))
    }

    /// The pages of the set that `range` touches, ascending, as runs inside of those pages.
    pub fn within(&self, range: PhysRange) -> impl Iterator<Item = PhysRange> + '_ {
        let mut cursor = Cursor::at(range.start());
        let (_, end) = pages_of(range);
        let bounds = PhysRange::new(range.start() & !(PAGE_SIZE - 1), end << PAGE_SHIFT);
        let bounds = bounds.unwrap_or(range);
        iter::from_fn(move || self.next_run(&mut cursor, 1)?.intersect(bounds))
    }

    /// The next run of at least so many pages, and the cursor behind it. What lies before the
    /// cursor is not part of the run.
    pub fn next_run(&self, cursor: &mut Cursor, pages: u64) -> Option<PhysRange> {
        let start = self.run_start(cursor, pages.max(1))?;
        let end = self.run_end(cursor, start);
        cursor.page = end;
        PhysRange::from_pfn(start, end - start).ok()
    }

    /// The units of `align` bytes, a power of two and at least a page, that have pages of the set.
    #[must_use]
    pub fn align_outward(&self, align: u64) -> RangeSet {
        let mut cursor = Cursor::default();
        let mut next = || {
            let run = self.next_run(&mut cursor, 1)?.align_outward(align).ok()?;
            cursor.page = run.end() >> PAGE_SHIFT;
            Some(run)
        };
        iter::from_fn(&mut next).collect()
    }

    /// Where a run of at least `least` pages begins; leaves the cursor in that run.
    fn run_start(&self, cursor: &mut Cursor, least: u64) -> Option<u64> {
        let mut at = cursor.page;
        let mut i = self.position(at >> CHUNK_SHIFT, cursor.hint);
        // Pages of the run that ends right before `at`.
        let mut before = 0;
        while let Some((number, chunk)) = self.chunks.get(i) {
            let start = number << CHUNK_SHIFT;
            if start > at {
                (at, before) = (start, 0);
            }
            cursor.hint = i;
            if let Chunk::Some { words, .. } = chunk {
                let mut mask = u64::MAX << (at & 63);
                at &= !63;
                for word in &words[word_of(at)..] {
                    let word = word & mask;
                    mask = u64::MAX;
                    let low = u64::from(word.trailing_ones());
                    if before + low >= least {
                        cursor.page = at;
                        return Some(at - before);
                    }
                    if let Some(bit) = run_in_word(word, least) {
                        cursor.page = at + bit;
                        return Some(at + bit);
                    }
                    before = if low == 64 { before + 64 } else { u64::from(word.leading_ones()) };
                    at += 64;
                }
            } else {
                before += start + CHUNK_PAGES - at;
                at = start + CHUNK_PAGES;
                if before >= least {
                    cursor.page = at - 1;
                    return Some(at - before);
                }
            }
            i += 1;
        }
        cursor.page = at;
        None
    }

    /// Where the run ends that the cursor is in.
    fn run_end(&self, cursor: &mut Cursor, start: u64) -> u64 {
        let mut at = cursor.page.max(start);
        let mut i = self.position(at >> CHUNK_SHIFT, cursor.hint);
        while let Some((number, chunk)) = self.chunks.get(i).filter(|c| c.0 == at >> CHUNK_SHIFT) {
            cursor.hint = i;
            let end = (number + 1) << CHUNK_SHIFT;
            while at < end {
                let Chunk::Some { words, .. } = chunk else {
                    at = end;
                    break;
                };
                let ones = u64::from((words[word_of(at)] >> (at & 63)).trailing_ones());
                at += ones;
                if ones == 0 || at & 63 != 0 {
                    return at;
                }
            }
            i += 1;
        }
        at
    }
}

/// The lowest bit from which on at least `least` bits of this word are set; runs of whole words are
/// found without it.
fn run_in_word(word: u64, least: u64) -> Option<u64> {
    if least > 63 {
        return None;
    }
    let (mut runs, mut len) = (word, 1);
    while len < least && runs != 0 {
        let by = len.min(least - len);
        runs &= runs >> by;
        len += by;
    }
    (runs != 0).then(|| u64::from(runs.trailing_zeros()))
}
