//! Machines as they are, to be made hard.

use crate::common::{MIB, Machine, check, check_moves, map, moves, range};
use physmem::{E820Type, FrameSet, MemoryMap, RangeSet};
use plan::{FOUR_GIB, LOW_LIMIT, Layout, MoveRun, Pieces, PlanError, lay_out};

pub(crate) const GIB: u64 = 1 << 30;

/// What QEMU gives a machine: the BIOS hole, RAM up to 3 GiB, the rest above 4 GiB.
pub(crate) fn pc(ram: u64) -> MemoryMap {
    let mut map = map(&[
        (0, 0x9fc00, E820Type::Ram),
        (0x9fc00, 0xa0000, E820Type::Reserved),
        (0xf0000, LOW_LIMIT, E820Type::Reserved),
        (LOW_LIMIT, ram.min(3 * GIB) - 0x20000, E820Type::Ram),
        (ram.min(3 * GIB) - 0x20000, ram.min(3 * GIB), E820Type::Reserved),
    ]);
    if ram > 3 * GIB {
        map.overlay(range(FOUR_GIB, GIB + ram), E820Type::Ram);
    }
    map
}

pub(crate) fn machine(map: MemoryMap, keep: RangeSet) -> Machine {
    Machine {
        map,
        keep: FrameSet::from(&keep),
        fixed: FrameSet::new(),
        huge: RangeSet::new(),
        giant: RangeSet::new(),
        avoid: RangeSet::new(),
        nodes: Vec::new(),
        staged_bytes: 40 * MIB,
        init_size: 0x3e4_e000,
        can_be_above_4g: true,
        initrd_bytes: 30 * MIB,
        mover_bytes: 64 << 10,
        head_bytes: 2 * MIB,
        reserve_ram: 256 * MIB,
        low_ram: 80 * MIB,
        memory_block: 128 * MIB,
        max_spans: 8,
        max_entries: 128,
        span_price: 0,
        pieces: Pieces::Any,
        stay_price: u64::MAX,
        seed: 7,
    }
}

pub(crate) fn planned(machine: &Machine) -> (Layout, Vec<MoveRun>) {
    let layout = lay_out(&machine.request()).unwrap();
    check(machine, &layout);
    let moves = moves(machine, &layout, &RangeSet::new()).unwrap();
    check_moves(machine, &layout, &RangeSet::new(), &moves);
    (layout, moves)
}

pub(crate) fn refused(machine: &Machine) -> PlanError {
    lay_out(&machine.request()).unwrap_err()
}
