//! The parameter block: where everything is.
//!
//! ```text
//! +0x00 magic       "PKRAMMOV"        +0x38 timeline
//! +0x08 version u32                   +0x40 list
//! +0x0c crc32c u32                    +0x48 list_pages
//! +0x10 segment_start                 +0x50 phase_moves, 3 numbers
//! +0x18 segment_end                   +0x68 serial_port
//! +0x20 page_table                    +0x70 end
//! +0x28 entry
//! +0x30 boot_params                   all u64 where nothing else is said
//! ```
//!
//! The checksum covers the block without the checksum's own four bytes.

use crate::bytes::{Writer, field};
use crate::crc32c;
use crate::damage::{Damage, Fault, Place};

/// The first bytes of [`Params`].
pub const MAGIC: [u8; 8] = *b"PKRAMMOV";

/// The version of this interface. Loader and mover come from one build, so a difference means
/// damage, not age.
pub const VERSION: u32 = 1;

/// Where [`Params`] lies in the mover segment, in bytes.
pub const PARAMS_OFFSET: usize = 0x40;

/// The parameter block, at [`PARAMS_OFFSET`] in the mover segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params {
    /// First address of the mover segment, a multiple of [`crate::PAGE`].
    pub segment_start: u64,
    /// First address after it, a multiple of [`crate::PAGE`].
    pub segment_end: u64,
    /// The page table root to switch to, in the mover segment: identity tables over all memory
    /// that is touched (the segment, list pages, moves, timeline, kernel entry), with as many
    /// levels as the CPU uses now (5 if CR4.LA57 is set).
    pub page_table: u64,
    /// Where to go at the end: the next kernel's 64-bit entry point.
    pub entry: u64,
    /// What RSI holds then: the address of `boot_params`.
    pub boot_params: u64,
    /// Where to leave the [`crate::Timeline`] after all moves; 0 for nowhere. Needs no alignment.
    pub timeline: u64,
    /// The first list page, 0 where there are no moves.
    pub list: u64,
    /// How many list pages there are.
    pub list_pages: u64,
    /// How many moves belong to each phase, see [`Phase`].
    pub phase_moves: [u64; 3],
    /// I/O port of a 16550 UART for messages, 0 for none.
    pub serial_port: u64,
}

/// The order of the moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Phase {
    /// Preserved pages go to their new places.
    Preserved = 0,
    /// The region filesystem's metadata goes to the head of the region.
    Metadata = 1,
    /// The next kernel, its initrd and boot parameters go into place.
    Kernel = 2,
}

impl Params {
    /// Bytes in memory.
    pub const SIZE: usize = 0x70;

    /// As it lies in memory, with magic, version and checksum.
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let mut w = Writer::new(&mut bytes);
        w.put(MAGIC);
        w.put(VERSION.to_le_bytes());
        w.put([0; 4]);
        let [preserved, metadata, kernel] = self.phase_moves;
        for value in [
            self.segment_start,
            self.segment_end,
            self.page_table,
            self.entry,
            self.boot_params,
            self.timeline,
            self.list,
            self.list_pages,
            preserved,
            metadata,
            kernel,
            self.serial_port,
        ] {
            w.put(value.to_le_bytes());
        }
        let crc = checksum(&bytes);
        bytes[0x0c..0x10].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads it back when magic, version and checksum are right. The addresses in it are still
    /// only alleged: see [`crate::check::params`].
    ///
    /// # Errors
    /// [`Fault::Magic`], [`Fault::Version`] or [`Fault::Crc`].
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Result<Self, Damage> {
        let expect = |fault, found: u64, expected: u64| {
            if found == expected {
                return Ok(());
            }
            Err(Damage { place: Place::Params, fault, found, expected })
        };
        let magic = u64::from_be_bytes(field::<0x00, 8>(bytes));
        expect(Fault::Magic, magic, u64::from_be_bytes(MAGIC))?;
        let version = u32::from_le_bytes(field::<0x08, 4>(bytes));
        expect(Fault::Version, version.into(), VERSION.into())?;
        let crc = u32::from_le_bytes(field::<0x0c, 4>(bytes));
        expect(Fault::Crc, crc.into(), checksum(bytes).into())?;
        Ok(Self {
            segment_start: u64::from_le_bytes(field::<0x10, 8>(bytes)),
            segment_end: u64::from_le_bytes(field::<0x18, 8>(bytes)),
            page_table: u64::from_le_bytes(field::<0x20, 8>(bytes)),
            entry: u64::from_le_bytes(field::<0x28, 8>(bytes)),
            boot_params: u64::from_le_bytes(field::<0x30, 8>(bytes)),
            timeline: u64::from_le_bytes(field::<0x38, 8>(bytes)),
            list: u64::from_le_bytes(field::<0x40, 8>(bytes)),
            list_pages: u64::from_le_bytes(field::<0x48, 8>(bytes)),
            phase_moves: [
                u64::from_le_bytes(field::<0x50, 8>(bytes)),
                u64::from_le_bytes(field::<0x58, 8>(bytes)),
                u64::from_le_bytes(field::<0x60, 8>(bytes)),
            ],
            serial_port: u64::from_le_bytes(field::<0x68, 8>(bytes)),
        })
    }
}

fn checksum(bytes: &[u8; Params::SIZE]) -> u32 {
    crc32c(&[&field::<0, 12>(bytes), &field::<16, { Params::SIZE - 16 }>(bytes)])
}
