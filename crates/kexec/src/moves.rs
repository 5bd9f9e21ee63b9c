//! Moves, in the order in which the mover makes them, and the pages that carry them to it.
//!
//! ```text
//! preserved ─► metadata ─► kernel        list pages, ascending, 170 moves each
//! ```

use mover_abi::{ListPage, MOVES_PER_PAGE, Move, PageBytes};
use physmem::PAGE_SIZE;

/// All moves of one kexec, by phase (see [`mover_abi::Phase`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// Preserved pages to their new places.
    pub preserved: Vec<Move>,
    /// The region filesystem's metadata to the head of the region.
    pub metadata: Vec<Move>,
    /// The next kernel, its initrd and boot block into place.
    pub kernel: Vec<Move>,
}

/// Why the moves cannot be listed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// The wrong number of list pages.
    #[error("{moves} moves need {needed} list pages, but {given} were given")]
    Pages {
        /// How many moves there are.
        moves: usize,
        /// How many pages they fill.
        needed: usize,
        /// How many there are.
        given: usize,
    },
    /// A page that is none.
    #[error("list page {0:#x} is not the start of a page, is page 0, or was given twice")]
    BadPage(u64),
}

impl Moves {
    /// All moves, in order.
    pub fn in_order(&self) -> impl Iterator<Item = Move> + '_ {
        [&self.preserved, &self.metadata, &self.kernel].into_iter().flatten().copied()
    }

    /// The move at a place in the order.
    ///
    /// # Panics
    ///
    /// Where `index` is not below [`count`](Self::count).
    pub fn get(&self, index: usize) -> Move {
        let after = index.checked_sub(self.preserved.len());
        match after.map(|i| (i, i.checked_sub(self.metadata.len()))) {
            None => self.preserved[index],
            Some((i, None)) => self.metadata[i],
            Some((_, Some(i))) => self.kernel[i],
        }
    }

    /// How many moves there are.
    pub const fn count(&self) -> usize {
        self.preserved.len() + self.metadata.len() + self.kernel.len()
    }

    /// How many there are in each phase.
    pub fn per_phase(&self) -> [u64; 3] {
        [&self.preserved, &self.metadata, &self.kernel]
            .map(|phase| u64::try_from(phase.len()).expect("usize has 64 bits"))
    }

    /// How many list pages carry them.
    pub const fn list_pages(&self) -> usize {
        self.count().div_ceil(MOVES_PER_PAGE)
    }

    /// The bytes for every list page, by its physical address. `frames` are the addresses of
    /// [`list_pages`](Self::list_pages) pages; they are used in ascending order, as the mover
    /// demands, and the first of them is the head of the list.
    pub fn list(&self, frames: &[u64]) -> Result<Vec<(u64, PageBytes)>, ListError> {
        let needed = self.list_pages();
        if frames.len() != needed {
            return Err(ListError::Pages { moves: self.count(), needed, given: frames.len() });
        }
        let mut frames = frames.to_vec();
        frames.sort_unstable();
        let twice = frames.windows(2).find(|w| w[0] == w[1]).map(|w| w[0]);
        let bad = frames.iter().copied().find(|f| *f == 0 || !f.is_multiple_of(PAGE_SIZE));
        if let Some(frame) = bad.or(twice) {
            return Err(ListError::BadPage(frame));
        }
        let moves: Vec<_> = self.in_order().collect();
        let after = frames.iter().copied().skip(1).chain([0]);
        Ok(moves
            .chunks(MOVES_PER_PAGE)
            .zip(frames.iter().zip(after))
            .map(|(chunk, (&frame, next))| (frame, ListPage::to_bytes(next, chunk)))
            .collect())
    }
}

/// The moves that bring pages at `frames` (physical addresses, in the order of their content)
/// together from `to` on: one for each run of neighbouring frames.
pub fn gather(frames: &[u64], to: u64) -> Vec<Move> {
    let mut moves: Vec<Move> = Vec::new();
    let mut at = to;
    for &from in frames {
        match moves.last_mut() {
            Some(last) if last.from + last.len == from => last.len += PAGE_SIZE,
            _ => moves.push(Move { from, to: at, len: PAGE_SIZE }),
        }
        at += PAGE_SIZE;
    }
    moves
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_list_reads_back(
            counts in (0usize..400, 0usize..200, 0usize..200),
            scatter in proptest::collection::hash_set(1u64..1 << 30, 5),
        ) {
            let run = |n, base: u64| -> Vec<Move> {
                let page = |i| base + PAGE_SIZE * 3 * i;
                (0..n).map(|i| Move { from: page(i), to: page(i) + PAGE_SIZE, len: PAGE_SIZE }).collect()
            };
            let n = |x: usize| u64::try_from(x).unwrap();
            let moves = Moves {
                preserved: run(n(counts.0), 1 << 30),
                metadata: run(n(counts.1), 2 << 30),
                kernel: run(n(counts.2), 3 << 30),
            };
            let frames: Vec<_> =
                scatter.iter().map(|f| f * PAGE_SIZE).take(moves.list_pages()).collect();
            prop_assume!(frames.len() == moves.list_pages());
            let pages = moves.list(&frames).unwrap();
            let by_index: Vec<_> = (0..moves.count()).map(|i| moves.get(i)).collect();
            prop_assert_eq!(by_index, moves.in_order().collect::<Vec<_>>());
            let mut found = Vec::new();
            let mut next = pages.first().map_or(0, |p| p.0);
            while next != 0 {
                let bytes = &pages.iter().find(|p| p.0 == next).unwrap().1;
                let page = ListPage::from_bytes(next, bytes).unwrap();
                found.extend(page.moves());
                prop_assert!(page.next() == 0 || page.next() > next);
                next = page.next();
            }
            prop_assert_eq!(found, moves.in_order().collect::<Vec<_>>());
        }

        #[test]
        fn gathering_keeps_every_page(runs in proptest::collection::vec((1u64..1000, 1u64..9), 0..20)) {
            let frames: Vec<_> =
                runs.iter().flat_map(|&(s, n)| (s..s + n).map(|f| f * PAGE_SIZE)).collect();
            let moves = gather(&frames, 1 << 40);
            let mut to = 1 << 40;
            let mut found = Vec::new();
            for m in &moves {
                prop_assert_eq!(m.to, to);
                found.extend((0..m.len / PAGE_SIZE).map(|i| m.from + i * PAGE_SIZE));
                to += m.len;
            }
            prop_assert_eq!(found, frames);
            prop_assert!(moves.len() <= runs.len());
        }
    }

    #[test]
    fn refuses_wrong_pages() {
        let one = Move { from: 0x1000, to: 0x2000, len: 0x1000 };
        let moves = Moves { kernel: vec![one; 171], ..Moves::default() };
        assert_eq!(
            moves.list(&[0x1000]).unwrap_err(),
            ListError::Pages { moves: 171, needed: 2, given: 1 }
        );
        assert_eq!(moves.list(&[0x1000, 0x1000]).unwrap_err(), ListError::BadPage(0x1000));
        assert_eq!(moves.list(&[0x1000, 0x1001]).unwrap_err(), ListError::BadPage(0x1001));
        assert_eq!(moves.list(&[0, 0x1000]).unwrap_err(), ListError::BadPage(0));
    }
}
