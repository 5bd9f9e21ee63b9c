//! What is wrong with a parameter block or a list, in words that fit on a serial line.
//!
//! The text is made of pieces without `core::fmt`, whose tables of function pointers the mover
//! (which must do without relocations) could not hold. `Display` gives the same text.

use core::fmt;

/// Where the damage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the parameter block.
    Params,
    /// In the list page at this address.
    ListPage(u64),
}

/// Which check failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not [`crate::MAGIC`].
    Magic,
    /// Not [`crate::VERSION`].
    Version,
    /// The checksum does not match.
    Crc,
    /// The segment does not begin where the mover runs.
    SegmentStart,
    /// The segment ends inside the mover, is unaligned or passes the address limit.
    SegmentEnd,
    /// The page table root is unaligned or outside the segment.
    PageTable,
    /// The entry point is 0, in the segment or past the address limit.
    Entry,
    /// `boot_params` is 0, in the segment or past the address limit.
    BootParams,
    /// The timeline would be written over the mover segment or past the address limit.
    Timeline,
    /// The serial port is no I/O port.
    SerialPort,
    /// The list has another number of pages than was said.
    ListPages,
    /// The list has another number of moves than the phases together.
    Moves,
    /// A list page's address is unaligned, past the limit or not above its predecessor's.
    ListOrder,
    /// A list page has no moves or too many.
    Count,
    /// A move's source is unaligned or passes the address limit.
    From,
    /// A move's destination is unaligned or passes the address limit.
    To,
    /// A move's length is 0 or no multiple of a page.
    Length,
    /// A move's source and destination overlap.
    Overlap,
    /// A move writes over the mover segment.
    OverMover,
    /// A move writes over a list page.
    OverList,
}

/// One thing that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it was found.
    pub place: Place,
    /// Which check failed.
    pub fault: Fault,
    /// What was found.
    pub found: u64,
    /// What was expected, or the limit that was passed: the text says which.
    pub expected: u64,
}

impl Fault {
    /// What was found, and how it should have been related to the expected number.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Magic => ("magic", "expected"),
            Self::Version => ("version", "expected"),
            Self::Crc => ("crc", "expected"),
            Self::SegmentStart => ("segment start", "expected"),
            Self::SegmentEnd => ("segment end", "expected a page boundary at or above"),
            Self::PageTable => ("page table", "expected a page in the segment that ends at"),
            Self::Entry => ("entry", "expected outside the mover and below"),
            Self::BootParams => ("boot_params", "expected outside the mover and below"),
            Self::Timeline => ("timeline", "expected outside the mover and below"),
            Self::SerialPort => ("serial port", "expected at most"),
            Self::ListPages => ("list pages", "expected"),
            Self::Moves => ("moves", "expected"),
            Self::ListOrder => ("list page", "expected a page above"),
            Self::Count => ("count", "expected 1 to"),
            Self::From => ("move from", "expected a page boundary, whole move below"),
            Self::To => ("move to", "expected a page boundary, whole move below"),
            Self::Length => ("move length", "expected a multiple of"),
            Self::Overlap => ("move to", "expected clear of its source at"),
            Self::OverMover => ("move to", "expected clear of the mover at"),
            Self::OverList => ("move to", "expected clear of the list page at"),
        }
    }
}

impl Damage {
    /// Hands the text to `put` piece by piece, as in
    /// `parameter block damaged (crc 0x1, expected 0x2)`. All of it is ASCII.
    pub fn describe(&self, put: &mut impl FnMut(&[u8])) {
        match self.place {
            Place::Params => put(b"parameter block"),
            Place::ListPage(addr) => {
                put(b"list page at ");
                hex(addr, put);
            }
        }
        let (what, relation) = self.fault.words();
        put(b" damaged (");
        put(what.as_bytes());
        put(b" ");
        hex(self.found, put);
        put(b", ");
        put(relation.as_bytes());
        put(b" ");
        hex(self.expected, put);
        put(b")");
    }
}

/// Hands `value` to `put` as `0x…` without leading zeros.
pub fn hex(value: u64, put: &mut impl FnMut(&[u8])) {
    put(b"0x");
    let digits = (67 - (value | 1).leading_zeros()) / 4;
    for digit in (0..digits).rev() {
        let nibble = value >> (4 * digit) & 0xf;
        let letter = if nibble < 10 { b'0' } else { b'a' - 10 };
        put(&[letter + nibble as u8]);
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut result = Ok(());
        self.describe(&mut |piece| {
            result = result.and_then(|()| f.write_str(str::from_utf8(piece).unwrap_or("?")));
        });
        result
    }
}

impl core::error::Error for Damage {}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::format;
    use std::string::String;

    use super::{Damage, Fault, Place, hex};
    use proptest::prelude::*;

    #[test]
    fn text_says_what_where_found_and_expected() {
        let damage = Damage {
            place: Place::ListPage(0x5000),
            fault: Fault::Count,
            found: 171,
            expected: 170,
        };
        assert_eq!(
            format!("{damage}"),
            "list page at 0x5000 damaged (count 0xab, expected 1 to 0xaa)"
        );
    }

    proptest! {
        #[test]
        fn hex_agrees_with_format(value in any::<u64>(), shift in 0..64) {
            let value = value >> shift;
            let mut text = String::new();
            hex(value, &mut |piece| text.push_str(str::from_utf8(piece).unwrap()));
            prop_assert_eq!(text, format!("{value:#x}"));
        }
    }
}
