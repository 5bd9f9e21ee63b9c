//! The one kexec segment: the mover, what it is told, and its page tables.
//!
//! ```text
//! +0             mover::BLOB, with Params written at PARAMS_OFFSET     entered here
//! +BLOB.len()    identity page tables, the root first
//! ```

use crate::bytes::put;
use crate::identity::{Identity, IdentityError};
use crate::moves::Moves;
use mover::BLOB;
use mover_abi::{PAGE, PARAMS_OFFSET, Params};
use physmem::{PhysRange, RangeError, RangeSet};

/// What the mover is to do.
#[derive(Clone, Copy, Debug)]
pub struct Orders<'a> {
    /// The moves; they are read from the list, here they are only counted.
    pub moves: &'a Moves,
    /// The first list page, where there are moves: the lowest of the pages given to
    /// [`Moves::list`].
    pub list: Option<u64>,
    /// Where the next kernel is entered: [`crate::BzImage::entry`].
    pub entry: u64,
    /// The start of the [`crate::BootBlock`].
    pub boot_params: u64,
    /// Where the mover leaves its time stamps: [`crate::BootBlock::timeline`].
    pub timeline: Option<u64>,
    /// I/O port of a 16550 UART for the mover's messages.
    pub serial_port: Option<u16>,
}

/// The segment for one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoverSegment {
    bytes: Vec<u8>,
    range: PhysRange,
    mapped: RangeSet,
}

/// Why the segment cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoverSegmentError {
    /// The page tables cannot be made.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The segment passes the end of the address space.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// The page tables do not reach the segment itself.
    #[error(
        "the mover segment at {0} is not mapped by its own page tables; it must lie in memory that the map knows"
    )]
    Unmapped(PhysRange),
    /// The mover itself would refuse its orders.
    #[error("the mover would refuse its orders: {0}")]
    Refused(String),
}

impl MoverSegment {
    /// How many pages the segment takes.
    pub fn pages_needed(identity: &Identity) -> u64 {
        blob_len() / PAGE + identity.pages_needed()
    }

    /// Makes the segment to lie at physical address `at`, the start of a page.
    pub fn at(at: u64, identity: &Identity, orders: Orders<'_>) -> Result<Self, MoverSegmentError> {
        let range = PhysRange::from_len(at, Self::pages_needed(identity) * PAGE)?;
        if !identity.mapped().contains_range(range) {
            return Err(MoverSegmentError::Unmapped(range));
        }
        let page_table = at + blob_len();
        let params = Params {
            segment_start: range.start(),
            segment_end: range.end(),
            page_table,
            entry: orders.entry,
            boot_params: orders.boot_params,
            timeline: orders.timeline.unwrap_or(0),
            list: orders.list.unwrap_or(0),
            list_pages: u64::try_from(orders.moves.list_pages()).expect("usize has 64 bits"),
            phase_moves: orders.moves.per_phase(),
            serial_port: orders.serial_port.unwrap_or(0).into(),
        }
        .to_bytes();
        // The mover's own check: what it would refuse after the jump is refused before it.
        mover_abi::check::params(&params, at..page_table).map_err(|damage| {
            let mut text = Vec::new();
            damage.describe(&mut |part| text.extend(part));
            MoverSegmentError::Refused(String::from_utf8_lossy(&text).into_owned())
        })?;
        let mut bytes = BLOB.to_vec();
        put(&mut bytes, PARAMS_OFFSET, &params);
        bytes.extend(identity.tables_at(page_table)?);
        Ok(Self { bytes, range, mapped: identity.mapped().clone() })
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// All memory that its page tables reach.
    pub const fn mapped(&self) -> &RangeSet {
        &self.mapped
    }

    /// Where it must lie; it is entered at the start.
    pub const fn range(&self) -> PhysRange {
        self.range
    }
}

fn blob_len() -> u64 {
    u64::try_from(BLOB.len()).expect("usize has 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Paging;

    const MIB: u64 = 1 << 20;

    fn orders(moves: &Moves) -> Orders<'_> {
        Orders {
            moves,
            list: None,
            entry: 0x100_0200,
            boot_params: 0x9_0000,
            timeline: Some(0x9_1010),
            serial_port: Some(0x3f8),
        }
    }

    fn identity() -> Identity {
        let low: RangeSet = PhysRange::new(0, 64 * MIB).unwrap().into();
        Identity::of(&low, Paging { levels: 4, giant_pages: false }).unwrap()
    }

    #[test]
    fn the_mover_finds_its_orders_and_tables() {
        let (moves, identity, at) = (Moves::default(), identity(), 32 * MIB);
        let segment = MoverSegment::at(at, &identity, orders(&moves)).unwrap();
        let bytes = segment.bytes();
        assert_eq!(segment.range().pages(), MoverSegment::pages_needed(&identity));
        assert_eq!(u64::try_from(bytes.len()).unwrap(), segment.range().len());
        let params = bytes[PARAMS_OFFSET..PARAMS_OFFSET + Params::SIZE].try_into().unwrap();
        let params = mover_abi::check::params(params, at..at + blob_len()).unwrap();
        assert_eq!((params.entry, params.timeline), (0x100_0200, 0x9_1010));
        let root = usize::try_from(params.page_table - at).unwrap();
        assert_eq!(bytes[root..], identity.tables_at(params.page_table).unwrap());
        // Nothing of the code is touched.
        assert_eq!(bytes[..PARAMS_OFFSET], BLOB[..PARAMS_OFFSET]);
        let behind = PARAMS_OFFSET + Params::SIZE;
        assert_eq!(bytes[behind..BLOB.len()], BLOB[behind..]);
    }

    #[test]
    fn refuses_what_the_mover_would() {
        let (moves, identity) = (Moves::default(), identity());
        let at = |at, orders| MoverSegment::at(at, &identity, orders).unwrap_err();
        let inside = Orders { entry: 32 * MIB + 0x200, ..orders(&moves) };
        assert!(matches!(at(32 * MIB, inside), MoverSegmentError::Refused(_)));
        assert!(matches!(at(64 * MIB - 4096, orders(&moves)), MoverSegmentError::Unmapped(_)));
        assert!(MoverSegment::at(32 * MIB + 1, &identity, orders(&moves)).is_err());
    }
}
