//! The last proof before the jump: that the moves, made in order, lose nothing.
//!
//! | what | must |
//! |---|---|
//! | a destination | not be read by the same or a later move |
//! | | not be another move's destination |
//! | | miss kept pages, list pages and the mover segment |
//! | | lie in a span (preserved, metadata) or in the next kernel's RAM (kernel) |
//! | | miss the kernel window, but for the payload's own move |
//! | a kept page | lie in a span, miss the mover segment |
//! | a source | lie in known memory, and miss the mover segment: the old kernel writes that first |
//! | list pages | lie in known memory, miss the mover segment |
//! | mover segment | lie in a span or in the next kernel's RAM, miss the kernel window |
//!
//! *Span* and *RAM* are what the next kernel's memory map says; its first MiB is never touched.
//! The whole takes O(n log n) for n moves.

use crate::moves::Moves;
use mover_abi::Move;
use physmem::{E820Type, FrameSet, MemoryMap, PAGE_SIZE, PhysRange, RangeSet};
use std::collections::BinaryHeap;
use std::fmt;

/// Boot code of the next kernel writes here (`arch/x86/boot/compressed/pgtable_64.c`).
const FIRST_MIB: u64 = 1 << 20;

/// What lies where at the moment of the jump.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The next kernel's memory map.
    pub map: &'a MemoryMap,
    /// Preserved pages that keep their place.
    pub kept: &'a FrameSet,
    /// The pages of the move list.
    pub list_pages: &'a RangeSet,
    /// The mover segment.
    pub mover: PhysRange,
    /// The kernel window, `[load, load + init_size)`.
    pub window: PhysRange,
    /// The part of the window that the payload's pages fill.
    pub payload: PhysRange,
}

/// A move, and which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nth {
    /// Counted from 0 over all phases.
    pub index: usize,
    /// The move.
    pub of: Move,
}

impl fmt::Display for Nth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, of: Move { from, to, len } } = self;
        write!(f, "move {index} ({len:#x} bytes, {from:#x} to {to:#x})")
    }
}

/// Things that no destination may touch, and some no source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untouchable {
    /// A preserved page that keeps its place.
    Kept,
    /// A page of the move list.
    ListPage,
    /// The mover segment.
    Mover,
    /// The kernel window.
    Window,
}

impl fmt::Display for Untouchable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kept => "preserved pages that keep their place",
            Self::ListPage => "the move list",
            Self::Mover => "the mover segment",
            Self::Window => "the kernel window",
        })
    }
}

/// How the moves would lose something. Each of these is a defect of the plan, not of the machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsafe {
    /// Not whole pages, nothing, or past the end of the address space.
    #[error("{0} is no copy of whole pages")]
    Malformed(Nth),
    /// A move destroys what is still needed.
    #[error("{writer} writes {at}, which {reader} still has to read")]
    Overwrites {
        /// The earlier move.
        writer: Nth,
        /// The later one, or the same.
        reader: Nth,
        /// What both touch.
        at: PhysRange,
    },
    /// Two moves to one place.
    #[error("{first} and {second} both write {at}")]
    SamePlace {
        /// One.
        first: Nth,
        /// The other.
        second: Nth,
        /// What both write.
        at: PhysRange,
    },
    /// A move writes what must stay.
    #[error("{writer} writes {at}, where {what} lie")]
    Hits {
        /// The move.
        writer: Nth,
        /// What is there.
        what: Untouchable,
        /// What it would destroy.
        at: PhysRange,
    },
    /// A move goes where its phase may not.
    #[error("{0} does not end in a span; the next kernel would use that memory as its own")]
    NotInSpan(Nth),
    /// A kernel move goes where it may not.
    #[error("{0} does not end in the next kernel's RAM above 1 MiB")]
    NotInRam(Nth),
    /// A source that is not memory.
    #[error("{0} reads what the memory map does not know as memory")]
    SourceUnknown(Nth),
    /// A source under the mover segment.
    #[error("{0} reads from the mover segment, which is written before it")]
    SourceUnderMover(Nth),
    /// Something that lies wrong itself.
    #[error("{what} at {at}: {why}")]
    Misplaced {
        /// What.
        what: Untouchable,
        /// Where.
        at: PhysRange,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Scene<'_> {
    /// Goes through all moves and says what would be lost, if anything.
    pub fn check(&self, moves: &Moves) -> Result<(), Unsafe> {
        let first_mib = PhysRange::new(0, FIRST_MIB).expect("not empty").into();
        let spans = self.map.of_type(E820Type::Pram).subtract(&first_mib);
        let ram = self.map.ram().subtract(&first_mib);
        let memory = ram.union(&spans);
        self.check_scene(&spans, &ram, &memory)?;
        // Pages may be moved out of the first MiB: nothing writes there before the mover runs.
        let readable = self.map.ram().union(&spans);

        let first_of_kernel = moves.preserved.len() + moves.metadata.len();
        for (index, of) in moves.in_order().enumerate() {
            let nth = || Nth { index, of };
            let (Some(from), Some(to)) = (pages(of.from, of.len), pages(of.to, of.len)) else {
                return Err(Unsafe::Malformed(nth()));
            };
            if !readable.contains_range(from) {
                return Err(Unsafe::SourceUnknown(nth()));
            }
            if from.overlaps(self.mover) {
                return Err(Unsafe::SourceUnderMover(nth()));
            }
            if index < first_of_kernel && !spans.contains_range(to) {
                return Err(Unsafe::NotInSpan(nth()));
            }
            if index >= first_of_kernel && !ram.contains_range(to) {
                return Err(Unsafe::NotInRam(nth()));
            }
            let hit = |what, at| Err(Unsafe::Hits { writer: nth(), what, at });
            if let Some(at) = self.kept.first_overlap(to) {
                return hit(Untouchable::Kept, at);
            }
            if let Some(at) = self.list_pages.first_overlap(to) {
                return hit(Untouchable::ListPage, at);
            }
            if let Some(at) = to.intersect(self.mover) {
                return hit(Untouchable::Mover, at);
            }
            if let Some(at) = to.intersect(self.window)
                && !self.payload.contains_range(to)
            {
                return hit(Untouchable::Window, at);
            }
        }
        check_order(moves)
    }

    fn check_scene(
        &self,
        spans: &RangeSet,
        ram: &RangeSet,
        memory: &RangeSet,
    ) -> Result<(), Unsafe> {
        let misplaced = |what, at, why| Err(Unsafe::Misplaced { what, at, why });
        if let Some(at) = spans.complement().iter().find_map(|gap| self.kept.first_overlap(gap)) {
            return misplaced(
                Untouchable::Kept,
                at,
                "not in a span, the next kernel would use them",
            );
        }
        if let Some(at) = self.list_pages.subtract(memory).iter().next() {
            return misplaced(Untouchable::ListPage, at, "not in known memory above 1 MiB");
        }
        for (what, hit) in [
            (Untouchable::Kept, self.kept.first_overlap(self.mover)),
            (Untouchable::ListPage, self.list_pages.first_overlap(self.mover)),
        ] {
            if let Some(at) = hit {
                return misplaced(what, at, "under the mover segment, which is written first");
            }
        }
        if !memory.contains_range(self.mover) {
            let why = "not in known memory above 1 MiB";
            return misplaced(Untouchable::Mover, self.mover, why);
        }
        if !ram.contains_range(self.window) {
            let why = "not in the next kernel's RAM above 1 MiB";
            return misplaced(Untouchable::Window, self.window, why);
        }
        if self.mover.overlaps(self.window) {
            // The kernel unpacks itself with the mover's page tables still in use.
            return misplaced(Untouchable::Mover, self.mover, "in the kernel window");
        }
        if !self.window.contains_range(self.payload) || self.window.start() != self.payload.start()
        {
            let why = "the payload does not lie at its start";
            return misplaced(Untouchable::Window, self.window, why);
        }
        Ok(())
    }
}

/// A move's source or destination, if it is one or more whole pages.
fn pages(start: u64, len: u64) -> Option<PhysRange> {
    PhysRange::from_len(start, len).ok().filter(|r| r.is_aligned(PAGE_SIZE))
}

/// No destination is written twice, and none is read by its own or a later move. Every move is
/// known to be of whole pages.
fn check_order(moves: &Moves) -> Result<(), Unsafe> {
    let nth = |index| Nth { index, of: moves.get(index) };
    let with_len = |(start, index)| Some((pages(start, moves.get(index).len)?, index));

    let writes = ascending(moves, |m| m.to);
    for (a, b) in writes.iter().zip(writes.iter().skip(1)) {
        let both = with_len(*a).zip(with_len(*b)).and_then(|(a, b)| a.0.intersect(b.0));
        if let Some(at) = both {
            return Err(Unsafe::SamePlace { first: nth(a.1), second: nth(b.1), at });
        }
    }
    // Both sides ascend without overlaps of their own: one pass finds every pair that touches.
    let mut writes = writes.into_iter().filter_map(with_len).peekable();
    let sources = ascending(moves, |m| m.from).into_iter().filter_map(with_len);
    for (read, reader) in last_readers(sources) {
        while writes.next_if(|w| w.0.end() <= read.start()).is_some() {}
        while let Some(&(to, writer)) = writes.peek().filter(|w| w.0.start() < read.end()) {
            if let Some(at) = to.intersect(read).filter(|_| reader >= writer) {
                return Err(Unsafe::Overwrites { writer: nth(writer), reader: nth(reader), at });
            }
            if to.end() > read.end() {
                break;
            }
            writes.next();
        }
    }
    Ok(())
}

/// One end of all moves in ascending order, with the moves' indices.
fn ascending(moves: &Moves, end: impl Fn(Move) -> u64) -> Vec<(u64, usize)> {
    let mut ends: Vec<_> = moves.in_order().map(end).zip(0..).collect();
    ends.sort_unstable();
    ends
}

/// Everything that is read, cut into ascending disjoint pieces, each with the last move that reads
/// it: one page may be read many times. `sources` ascend.
fn last_readers(
    sources: impl Iterator<Item = (PhysRange, usize)>,
) -> impl Iterator<Item = (PhysRange, usize)> {
    // The moves that read at `position`, the last of them on top; those that ended are dropped
    // when they come up.
    let mut reading: BinaryHeap<(usize, u64)> = BinaryHeap::new();
    let mut position = 0;
    let mut upcoming = sources.peekable();
    std::iter::from_fn(move || {
        loop {
            while reading.peek().is_some_and(|&(_, end)| end <= position) {
                reading.pop();
            }
            let next_start = upcoming.peek().map_or(u64::MAX, |u| u.0.start());
            match reading.peek() {
                Some(&(reader, end)) if position < next_start => {
                    let piece = PhysRange::new(position, end.min(next_start)).ok()?;
                    position = piece.end();
                    return Some((piece, reader));
                }
                _ => {
                    let (read, index) = upcoming.next()?;
                    reading.push((index, read.end()));
                    position = read.start();
                }
            }
        }
    })
}
