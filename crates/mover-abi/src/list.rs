//! The move list: a chain of pages, each with up to 170 moves.
//!
//! ```text
//! +0x00 next u64     address of the next list page, above this one; 0 in the last
//! +0x08 crc32c u32   over the page without these four bytes
//! +0x0c count u32    1 to 170
//! +0x10 moves        170 × { from u64, to u64, len u64 }; zero past count
//! ```

use crate::bytes::{Writer, field};
use crate::crc32c;
use crate::damage::{Damage, Fault, Place};

/// Moves in one [`ListPage`].
pub const MOVES_PER_PAGE: usize = 170;

/// A list page as it lies in memory.
pub type PageBytes = [u8; 4096];

const HEADER: usize = 16;
const _: () = assert!(HEADER + MOVES_PER_PAGE * Move::SIZE == 4096);

/// One copy: `len` bytes from physical address `from` to `to`; the two may not overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Move {
    /// Where the bytes are, a multiple of [`crate::PAGE`].
    pub from: u64,
    /// Where they go, a multiple of [`crate::PAGE`].
    pub to: u64,
    /// How many: a multiple of [`crate::PAGE`], not 0.
    pub len: u64,
}

impl Move {
    /// Bytes in a list page.
    pub const SIZE: usize = 24;

    fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        Self {
            from: u64::from_le_bytes(field::<0, 8>(bytes)),
            to: u64::from_le_bytes(field::<8, 8>(bytes)),
            len: u64::from_le_bytes(field::<16, 8>(bytes)),
        }
    }
}

/// One page of the move list, found whole.
#[derive(Clone, Copy, Debug)]
pub struct ListPage<'a> {
    next: u64,
    moves: &'a [[u8; Move::SIZE]],
}

impl<'a> ListPage<'a> {
    /// The page that holds `moves` and leads on to the page at `next` (0 for none).
    ///
    /// # Panics
    /// Where `moves` is empty or longer than [`MOVES_PER_PAGE`].
    pub fn to_bytes(next: u64, moves: &[Move]) -> PageBytes {
        assert!((1..=MOVES_PER_PAGE).contains(&moves.len()), "{} moves in a page", moves.len());
        let count = u32::try_from(moves.len()).expect("at most 170");
        let mut bytes = [0; 4096];
        let mut w = Writer::new(&mut bytes);
        w.put(next.to_le_bytes());
        w.put([0; 4]);
        w.put(count.to_le_bytes());
        for value in moves.iter().flat_map(|m| [m.from, m.to, m.len]) {
            w.put(value.to_le_bytes());
        }
        let crc = checksum(&bytes);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the page that lies at `addr` when its checksum and count are right. The addresses in
    /// it are still only alleged: see [`crate::check::List`].
    ///
    /// # Errors
    /// [`Fault::Crc`] or [`Fault::Count`].
    pub fn from_bytes(addr: u64, bytes: &'a PageBytes) -> Result<Self, Damage> {
        let damaged = |fault, found, expected| {
            Err(Damage { place: Place::ListPage(addr), fault, found, expected })
        };
        let (crc, expected) = (u32::from_le_bytes(field::<8, 4>(bytes)), checksum(bytes));
        if crc != expected {
            return damaged(Fault::Crc, crc.into(), expected.into());
        }
        let count = u32::from_le_bytes(field::<12, 4>(bytes));
        if count == 0 || count as usize > MOVES_PER_PAGE {
            return damaged(Fault::Count, count.into(), MOVES_PER_PAGE as u64);
        }
        Ok(Self::view(bytes))
    }

    /// Reads a page that [`Self::from_bytes`] has accepted before, without doing its work again.
    pub(crate) fn view(bytes: &'a PageBytes) -> Self {
        let count = u32::from_le_bytes(field::<12, 4>(bytes)) as usize;
        let (moves, _) = bytes.split_at(HEADER).1.as_chunks();
        Self {
            next: u64::from_le_bytes(field::<0, 8>(bytes)),
            moves: moves.get(..count).unwrap_or(moves),
        }
    }

    /// Address of the next list page, 0 in the last one.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The moves in this page, in order.
    pub fn moves(&self) -> impl Iterator<Item = Move> + use<'a> {
        self.moves.iter().map(Move::from_bytes)
    }
}

fn checksum(bytes: &PageBytes) -> u32 {
    let (head, rest) = bytes.split_at(8);
    crc32c(&[head, rest.split_at(4).1])
}
