//! Which memory blocks become pieces: a walk from the highest block to the lowest, as the pieces are
//! copied out and given back.
//!
//! A piece begins 2 MiB before a block and ends with one. Between two pieces lies a block at least,
//! or they touch, and the last block of the lower one is lost to the running system:
//!
//! ```text
//! blocks  |  0  |  1  |  2  |  3  |  4  |  5  |  6  |  7  |
//! pieces           [#################][###########]            touching at 5
//!                  [###########]     [#################]       apart
//! ```
//!
//! | on the way | costs | state |
//! |---|---|---|
//! | a block is the next kernel's | what is kept there | lost blocks |
//! | a piece, apart from the one above | its blocks' price, its head | lost blocks |
//! | a piece that touches the one above | the same, and a share of a block | lost blocks + 1 |
//!
//! A piece and the blocks lost above it are at most so many blocks together: that is what copying it
//! out takes. The lowest may have some more, as it is the one that is not full. Of all walks that
//! come to the same block in the same state the cheapest is kept; which piece is best, from which
//! block on, is the greatest of a window that moves along.

use std::collections::VecDeque;
use std::ops::Range;

/// Less than any gain.
const NEVER: i64 = i64::MIN / 2;

/// What a walk knows of a memory block. Costs are in bytes that move.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    /// What moving all that is kept there costs.
    pub(crate) cost: i64,
    /// Whether a piece may have it.
    pub(crate) open: bool,
    /// Whether a piece must have it.
    pub(crate) fixed: bool,
    /// What a head in the 2 MiB before it costs; `None` where none can be.
    pub(crate) head: Option<i64>,
}

/// What a walk has to obey.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// How many blocks a piece may have, with those that were lost before.
    pub(crate) most: usize,
    /// The same for the lowest piece, at least as many.
    pub(crate) lowest: usize,
    /// How many blocks may be lost.
    pub(crate) losses: usize,
    /// What a lost block costs.
    pub(crate) lost: i64,
    /// What a piece costs.
    pub(crate) piece: i64,
    /// What a block of a piece costs.
    pub(crate) block: i64,
}

/// The blocks of each piece, ascending; those that touch have no block between them. `None` where a
/// block that must be in a piece cannot be.
pub(crate) fn best_pieces(line: &[Block], terms: Terms) -> Option<Vec<Range<usize>>> {
    let mut walk = Walk::new(line, terms);
    for lost in 0..=terms.losses {
        walk.go(lost);
    }
    let (lost, start) = walk.best()?;
    Some(walk.trace(lost, start))
}

struct Walk<'a> {
    line: &'a [Block],
    terms: Terms,
    /// What all blocks below each one are worth, in pieces.
    worth: Vec<i64>,
    /// By lost blocks and block: the best from there up where it is in no piece, and where a piece
    /// begins with it, with the end of that piece and whether it touches the one above.
    gap: Vec<Vec<i64>>,
    piece: Vec<Vec<Piece>>,
    /// The same where that is the lowest piece.
    lowest: Vec<Vec<Piece>>,
}

/// The best piece that begins with a block.
#[derive(Clone, Copy)]
struct Piece {
    gain: i64,
    end: usize,
    touches: bool,
}

impl<'a> Walk<'a> {
    fn new(line: &'a [Block], terms: Terms) -> Self {
        let n = line.len();
        let sum = |sum: &mut i64, block: &Block| {
            *sum += block.cost - terms.block;
            Some(*sum)
        };
        let worth = [0].into_iter().chain(line.iter().scan(0, sum)).collect();
        let none = Piece { gain: NEVER, end: n, touches: false };
        let pieces = || vec![vec![none; n + 1]; terms.losses + 1];
        let gap = vec![vec![NEVER; n + 1]; terms.losses + 1];
        Self { line, terms, worth, gap, piece: pieces(), lowest: pieces() }
    }

    /// All walks that lose so many blocks; those that lose fewer are known.
    fn go(&mut self, lost: usize) {
        let n = self.line.len();
        if lost == 0 {
            self.gap[0][n] = 0;
        }
        let mut piece = Windows::new(self.terms.most, lost);
        let mut lowest = Windows::new(self.terms.lowest.max(self.terms.most), lost);
        for i in (0..n).rev() {
            let block = self.line[i];
            let above = i + 1;
            let apart = self.gap[lost][above];
            let touching = lost.checked_sub(1).map(|fewer| self.piece[fewer][above].gain);
            for (windows, found) in [(&mut piece, &mut self.piece), (&mut lowest, &mut self.lowest)]
            {
                if !block.open {
                    windows.clear();
                    continue;
                }
                windows.apart.push(above, apart, self.worth[above]);
                if let Some(gain) = touching {
                    windows.touching.push(above, gain - self.terms.lost, self.worth[above]);
                }
                if let (Some(best), Some(head)) = (windows.best(i), block.head) {
                    let gain = best.gain - self.worth[i] - head - self.terms.piece;
                    found[lost][i] = Piece { gain, ..best };
                }
            }
            if !block.fixed {
                self.gap[lost][i] = self.gap[lost][above].max(self.piece[lost][above].gain);
            }
        }
    }

    /// How many blocks the best walk loses, and where its lowest piece may begin.
    fn best(&self) -> Option<(usize, usize)> {
        let free = self.line.iter().take_while(|block| !block.fixed).count();
        let starts = (0..=self.terms.losses).flat_map(|lost| {
            let none = (self.gap[lost][0], (lost, 0));
            let lowest = (1..=free.min(self.line.len() - 1))
                .map(move |i| (self.lowest[lost][i].gain, (lost, i)));
            lowest.chain([none])
        });
        starts.filter(|(gain, _)| *gain > NEVER / 2).max_by_key(|(gain, _)| *gain).map(|(_, at)| at)
    }

    /// The pieces of the best walk that loses so many blocks, from a block that the lowest piece
    /// begins with, or from the first.
    fn trace(&self, mut lost: usize, start: usize) -> Vec<Range<usize>> {
        let mut pieces = Vec::new();
        let mut next = (start > 0).then(|| self.lowest[lost][start]);
        let mut at = start;
        while at < self.line.len() {
            while let Some(piece) = next.take() {
                pieces.push(at..piece.end);
                at = piece.end;
                if piece.touches {
                    lost -= 1;
                    next = Some(self.piece[lost][at]);
                }
            }
            // The block is in no piece.
            at += 1;
            let begins = |piece: &Piece| piece.gain > self.gap[lost][at];
            next = self.piece[lost].get(at).copied().filter(begins);
        }
        pieces
    }
}

/// Where a piece may end: below a block that is in none, or touching the piece above.
struct Windows {
    apart: Window,
    touching: Window,
}

impl Windows {
    fn new(most: usize, lost: usize) -> Self {
        // A block that a piece loses itself is none that was lost before.
        let window = |before| Window { most: most.saturating_sub(before), values: VecDeque::new() };
        Self { apart: window(lost), touching: window(lost.saturating_sub(1)) }
    }

    fn best(&mut self, at: usize) -> Option<Piece> {
        let piece = |touches| move |(gain, end)| Piece { gain, end, touches };
        let apart = self.apart.best(at).map(piece(false));
        let touching = self.touching.best(at).map(piece(true));
        apart.into_iter().chain(touching).max_by_key(|piece| piece.gain)
    }

    fn clear(&mut self) {
        self.apart.values.clear();
        self.touching.values.clear();
    }
}

/// The greatest of the values not too far above.
struct Window {
    most: usize,
    /// Values and where they are, the greatest and highest first.
    values: VecDeque<(i64, usize)>,
}

impl Window {
    fn push(&mut self, at: usize, value: i64, worth: i64) {
        if value <= NEVER / 2 {
            return;
        }
        let value = value + worth;
        while self.values.back().is_some_and(|last| last.0 <= value) {
            self.values.pop_back();
        }
        self.values.push_back((value, at));
    }

    /// The greatest value at most so many above `at`.
    fn best(&mut self, at: usize) -> Option<(i64, usize)> {
        while self.values.front().is_some_and(|first| first.1 - at > self.most) {
            self.values.pop_front();
        }
        self.values.front().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a choice of pieces gains, unless it is not allowed.
    fn gain(line: &[Block], terms: Terms, pieces: &[Range<usize>]) -> Option<i64> {
        let (mut sum, mut lost, mut above) = (0, 0, None);
        for (i, piece) in pieces.iter().enumerate().rev() {
            let most = if i == 0 { terms.lowest } else { terms.most };
            if piece.len() > most.saturating_sub(lost) {
                return None;
            }
            if above == Some(piece.end) {
                lost += 1;
                sum -= terms.lost;
            }
            above = Some(piece.start);
            let blocks = &line[piece.clone()];
            sum += blocks.iter().map(|b| b.cost - terms.block).sum::<i64>();
            sum -= line[piece.start].head? + terms.piece;
            if piece.start == 0 || blocks.iter().any(|b| !b.open) {
                return None;
            }
        }
        let covered = |i: &usize| pieces.iter().any(|p| p.contains(i));
        let all = (0..line.len()).filter(|&i| line[i].fixed).all(|i| covered(&i));
        (all && lost <= terms.losses).then_some(sum)
    }

    /// The most that can be gained, by trying all.
    fn exhaustive(line: &[Block], terms: Terms) -> Option<i64> {
        let n = line.len();
        let choice = |set: u32, starts: u32| -> Vec<Range<usize>> {
            let begins = |i: usize| {
                set >> i & 1 == 1 && (i == 0 || set >> (i - 1) & 1 == 0 || starts >> i & 1 == 1)
            };
            let end = |i: usize| (i + 1..n).find(|&j| set >> j & 1 == 0 || begins(j)).unwrap_or(n);
            (0..n).filter(|&i| begins(i)).map(|i| i..end(i)).collect()
        };
        let all = (0..1u32 << n).flat_map(|set| (0..1u32 << n).map(move |starts| (set, starts)));
        let all = all.filter(|(set, starts)| starts & !set == 0);
        all.filter_map(|(set, starts)| gain(line, terms, &choice(set, starts))).max()
    }

    fn block() -> impl Strategy<Value = Block> {
        let head = prop_oneof![8 => (0..4i64).prop_map(Some), 1 => Just(None)];
        (0..50i64, prop::bool::weighted(0.9), prop::bool::weighted(0.1), head)
            .prop_map(|(cost, open, fixed, head)| Block { cost, open, fixed, head })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn nothing_is_better(
            line in proptest::collection::vec(block(), 1..8),
            (most, more) in (1..5usize, 0..3usize),
            losses in 0..3usize,
            prices in (0..20i64, 0..9i64, -9..50i64),
        ) {
            let (lost, piece, block) = prices;
            let terms = Terms { most, lowest: most + more, losses, lost, piece, block };
            let found = best_pieces(&line, terms);
            prop_assert_eq!(found.as_ref().map(|p| gain(&line, terms, p)),
                            exhaustive(&line, terms).map(Some));
        }
    }
}
