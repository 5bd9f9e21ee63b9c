//! The handover record: a note from the old kernel's pkram to the next one's.
//!
//! It travels in a `setup_data` node of our own type, which the kernel shows, readable for
//! everybody, as `/sys/kernel/boot_params/setup_data/N/data`. It carries figures only; regions are
//! found without it.

use crate::ages::Ages;
use kexec::boot_block::TIMELINE_BYTES;
use kexec::setup_data::NodeType;
use std::fs;
use std::path::Path;
use uuid::Uuid;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const MAGIC: [u8; 8] = *b"PKRAMHND";
const VERSION: u32 = 1;

/// What the old kernel's pkram knew; the mover fills in the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handover {
    /// The region that was made, nil if none was.
    pub region: Uuid,
    /// TSC ticks in a second, as measured before the jump.
    pub tsc_hz: u64,
    /// TSC when `reboot(2)` was called.
    pub jump_tsc: u64,
    /// Nanoseconds since 1970 then.
    pub jump_time: u64,
    /// TSC when pkram began.
    pub start_tsc: u64,
    /// TSC when the sources were held and read.
    pub held_tsc: u64,
    /// TSC when the plan was made and the region composed.
    pub composed_tsc: u64,
    /// TSC when the kernel had taken the image.
    pub loaded_tsc: u64,
    /// TSC when the old system stopped serving, as far as pkram was told; 0 if unknown.
    pub stopped_tsc: u64,
    /// TSC when the last look began; 0 if unknown.
    pub look_tsc: u64,
    /// How many kernels each region has lived under, the next one among them.
    pub ages: Ages,
    /// When the mover did what, all zero if it never ran.
    pub mover: [u64; MOVER_TICKS],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    magic: [u8; 8],
    version: U32,
    /// Lines about regions behind the record, see [`Ages`].
    ages: U32,
    region: [u8; 16],
    ticks: [U64; 7],
}

/// What stands behind the lines about regions; older records end before it.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Default)]
#[repr(C)]
struct Tail {
    stopped_tsc: U64,
    look_tsc: U64,
}

/// Ticks that the mover leaves in front of the record (`mover_abi::Timeline`).
const MOVER_TICKS: usize = TIMELINE_BYTES / 8;

impl Handover {
    /// The record without the mover's part. Its length depends on the number of regions only.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let ticks = [
            self.tsc_hz,
            self.jump_tsc,
            self.jump_time,
            self.start_tsc,
            self.held_tsc,
            self.composed_tsc,
            self.loaded_tsc,
        ];
        let layout = Layout {
            magic: MAGIC,
            version: VERSION.into(),
            ages: self.ages.len().into(),
            region: *self.region.as_bytes(),
            ticks: ticks.map(U64::new),
        };
        let tail = Tail { stopped_tsc: self.stopped_tsc.into(), look_tsc: self.look_tsc.into() };
        [layout.as_bytes(), &self.ages.to_bytes(), tail.as_bytes()].concat()
    }

    /// The record in a node's payload, if it is one.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (mover, record) = <[U64; MOVER_TICKS]>::read_from_prefix(payload).ok()?;
        let (layout, lines) = Layout::read_from_prefix(record).ok()?;
        if layout.magic != MAGIC || layout.version != VERSION {
            return None;
        }
        let [tsc_hz, jump_tsc, jump_time, start_tsc, held_tsc, composed_tsc, loaded_tsc] =
            layout.ticks.map(U64::get);
        let tail = Ages::behind(lines, layout.ages.get());
        let tail = Tail::read_from_prefix(tail).map(|(tail, _)| tail).unwrap_or_default();
        Some(Self {
            region: Uuid::from_bytes(layout.region),
            tsc_hz,
            jump_tsc,
            jump_time,
            start_tsc,
            held_tsc,
            composed_tsc,
            loaded_tsc,
            stopped_tsc: tail.stopped_tsc.get(),
            look_tsc: tail.look_tsc.get(),
            ages: Ages::parse(lines, layout.ages.get()),
            mover: mover.map(U64::get),
        })
    }

    /// The record that this kernel was started with, if pkram started it.
    pub fn of_this_boot() -> Option<Self> {
        let nodes = fs::read_dir(Path::new("/sys/kernel/boot_params/setup_data")).ok()?;
        let payload = nodes.flatten().find_map(|node| {
            let kind = fs::read_to_string(node.path().join("type")).ok()?;
            let kind = u32::from_str_radix(kind.trim().strip_prefix("0x")?, 16).ok()?;
            (kind == NodeType::Handover.number())
                .then(|| fs::read(node.path().join("data")).ok())?
        });
        Self::parse(&payload?)
    }

    /// The time between two readings of the TSC, in seconds.
    #[expect(clippy::cast_precision_loss, reason = "a difference of ticks is far below 2^53")]
    pub fn seconds(&self, from: u64, to: u64) -> Option<f64> {
        (self.tsc_hz > 0 && from > 0 && to >= from).then(|| (to - from) as f64 / self.tsc_hz as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let record = Handover {
            region: Uuid::from_u128(9),
            tsc_hz: 2_000_000_000,
            jump_tsc: 5,
            stopped_tsc: 3,
            look_tsc: 4,
            ages: Ages::default().next([Uuid::from_u128(4)], Uuid::from_u128(9)),
            mover: [6, 7, 8, 9, 10],
            ..Handover::default()
        };
        let payload = [record.mover.map(U64::new).as_bytes(), &record.to_bytes()].concat();
        assert_eq!(Handover::parse(&payload).as_ref(), Some(&record));
        assert_eq!(Handover::parse(&payload[1..]), None);
        assert_eq!(record.seconds(1, 1_000_000_001), Some(0.5));

        // As older versions wrote it, and as none would.
        let older = Handover { stopped_tsc: 0, look_tsc: 0, ..record };
        assert_eq!(Handover::parse(&payload[..payload.len() - 16]), Some(older));
        let mut forged = payload;
        forged[52..56].fill(0xff);
        assert_eq!(Handover::parse(&forged).map(|h| (h.stopped_tsc, h.look_tsc)), Some((0, 0)));
    }
}
