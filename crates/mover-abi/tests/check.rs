//! The mover's checks: sound blocks and lists pass, every single damage is found, nothing panics.

use std::collections::BTreeMap;

use mover_abi::check::{self, List};
use mover_abi::{
    ADDRESS_LIMIT, Damage, Fault, ListPage, MOVES_PER_PAGE, Move, PAGE, PageBytes, Params,
};
use proptest::prelude::*;

const MOVER: std::ops::Range<u64> = 0x10_0000..0x10_c000;
const SEGMENT_END: u64 = 0x12_0000;

/// Physical memory: pages that were written, zeros elsewhere.
#[derive(Clone, Debug, Default)]
struct Memory(BTreeMap<u64, PageBytes>);

impl Memory {
    fn read(&self, addr: u64) -> &PageBytes {
        static ZERO: PageBytes = [0; 4096];
        assert!(addr.is_multiple_of(PAGE) && addr < ADDRESS_LIMIT, "{addr:#x} must not be read");
        self.0.get(&addr).unwrap_or(&ZERO)
    }

    fn check(&self, params: &Params) -> Result<Vec<Move>, Damage> {
        let list = List::check(params, |addr| self.read(addr))?;
        Ok(list.moves().collect())
    }
}

fn params() -> Params {
    Params {
        segment_start: MOVER.start,
        segment_end: SEGMENT_END,
        page_table: MOVER.end,
        entry: 0x100_0200,
        boot_params: 0x9_0000,
        timeline: 0x9_1003,
        serial_port: 0x3f8,
        ..Params::default()
    }
}

/// A list of `moves` in pages at `frames`, which ascend; the last phase has all the moves.
fn build(frames: &[u64], moves: &[Move]) -> (Params, Memory) {
    let mut memory = Memory::default();
    let pages = moves.len().div_ceil(MOVES_PER_PAGE);
    for (i, chunk) in moves.chunks(MOVES_PER_PAGE).enumerate() {
        let next = if i + 1 < pages { frames[i + 1] } else { 0 };
        memory.0.insert(frames[i], ListPage::to_bytes(next, chunk));
    }
    let list = if pages == 0 { 0 } else { frames[0] };
    let phase_moves = [0, 0, moves.len() as u64];
    (Params { list, list_pages: pages as u64, phase_moves, ..params() }, memory)
}

/// List pages lie in even megabytes above 16 MiB, moves go to odd ones: sound by construction.
fn sound() -> impl Strategy<Value = (Params, Memory, Vec<Move>)> {
    let frame = (8_u64..0x8_0000, 0_u64..256).prop_map(|(mib, page)| (mib << 21) + page * PAGE);
    let one = (0_u64..0x1000, 8_u64..0x8_0000, 0_u64..128, 1_u64..128).prop_map(
        |(from, mib, page, pages)| Move {
            from: (1 << 45) + from * PAGE,
            to: (mib << 21) + (1 << 20) + page * PAGE,
            len: pages * PAGE,
        },
    );
    (prop::collection::btree_set(frame, 4), prop::collection::vec(one, 0..600)).prop_map(
        |(frames, moves)| {
            let (params, memory) = build(&frames.into_iter().collect::<Vec<_>>(), &moves);
            (params, memory, moves)
        },
    )
}

#[track_caller]
fn assert_fault<T: std::fmt::Debug>(result: Result<T, Damage>, fault: Fault) {
    assert_eq!(result.expect_err("damage must be found").fault, fault);
}

proptest! {
    #[test]
    fn params_come_back(values in prop::array::uniform12(any::<u64>())) {
        let [segment_start, segment_end, page_table, entry, boot_params, timeline, ..] = values;
        let [.., list, list_pages, a, b, c, serial_port] = values;
        let params = Params {
            segment_start, segment_end, page_table, entry, boot_params, timeline, list, list_pages,
            phase_moves: [a, b, c], serial_port,
        };
        prop_assert_eq!(Params::from_bytes(&params.to_bytes()), Ok(params));
    }

    #[test]
    fn any_flipped_bit_of_the_block_is_found(bit in 0..Params::SIZE * 8) {
        let mut bytes = params().to_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(check::params(&bytes, MOVER).is_err());
    }

    #[test]
    fn sound_lists_pass_in_order((params, memory, moves) in sound()) {
        prop_assert_eq!(memory.check(&params), Ok(moves));
    }

    #[test]
    fn any_flipped_bit_of_the_list_is_found(
        (params, mut memory, moves) in sound(),
        page in any::<prop::sample::Index>(),
        bit in 0..4096_usize * 8,
    ) {
        prop_assume!(!moves.is_empty());
        let page = memory.0.values_mut().nth(page.index(moves.len().div_ceil(MOVES_PER_PAGE)));
        page.expect("there are that many")[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(memory.check(&params).map_err(|d| d.fault), Err(Fault::Crc));
    }

    /// The bisection in batches against the plain comparison of everything with everything.
    #[test]
    fn destinations_over_list_pages_are_found(
        frames in prop::collection::btree_set(0x200_u64..0x300, 8..12),
        moves in prop::collection::vec((0x200_u64..0x300, 1_u64..3), 1..8 * MOVES_PER_PAGE),
    ) {
        let frames: Vec<u64> = frames.into_iter().map(|page| page * PAGE).collect();
        let moves: Vec<Move> = moves
            .into_iter()
            .map(|(page, pages)| Move { from: 1 << 40, to: page * PAGE, len: pages * PAGE })
            .collect();
        let (params, memory) = build(&frames, &moves);
        let used = &frames[..moves.len().div_ceil(MOVES_PER_PAGE)];
        let clear = moves
            .iter()
            .all(|m| used.iter().all(|&list| list + PAGE <= m.to || m.to + m.len <= list));
        match memory.check(&params) {
            Ok(found) => prop_assert!(clear && found == moves),
            Err(damage) => prop_assert!(!clear && damage.fault == Fault::OverList, "{damage}"),
        }
    }

    #[test]
    fn hostile_pages_with_right_checksums_never_panic(
        wild in prop::collection::vec(prop::array::uniform3(edges()), 1..MOVES_PER_PAGE),
        next in edges(), list in edges(), list_pages in edges(), count in edges(),
    ) {
        let moves: Vec<Move> =
            wild.into_iter().map(|[from, to, len]| Move { from, to, len }).collect();
        let mut memory = Memory::default();
        memory.0.insert(list, ListPage::to_bytes(next, &moves));
        let params = Params { list, list_pages, phase_moves: [count, 1, 0], ..params() };
        if let Ok(accepted) = memory.check(&params) {
            prop_assert!(accepted == moves || (list == 0 && accepted.is_empty()));
        }
    }

    #[test]
    fn hostile_blocks_with_right_checksums_never_panic(values in prop::array::uniform8(edges())) {
        let [segment_end, page_table, entry, boot_params, timeline, serial_port, list, pages] =
            values;
        let wild = Params {
            segment_end, page_table, entry, boot_params, timeline, serial_port, list,
            list_pages: pages, ..params()
        };
        if let Ok(p) = check::params(&wild.to_bytes(), MOVER) {
            prop_assert!(p.segment_end >= MOVER.end && p.segment_end <= ADDRESS_LIMIT);
            prop_assert!((MOVER.end..p.segment_end).contains(&p.page_table));
        }
    }
}

/// Numbers near the places where arithmetic goes wrong.
fn edges() -> impl Strategy<Value = u64> {
    let corner = prop::sample::select(vec![
        0,
        PAGE,
        MOVER.start,
        MOVER.end,
        SEGMENT_END,
        ADDRESS_LIMIT,
        ADDRESS_LIMIT - PAGE,
        u64::MAX - PAGE + 1,
        u64::MAX,
    ]);
    prop_oneof![
        corner.clone(),
        (corner, -2_i64..3).prop_map(|(base, off)| base.wrapping_add_signed(off)),
        (0_u64..1 << 20).prop_map(|page| page * PAGE),
        any::<u64>(),
    ]
}

#[test]
fn every_wrong_field_has_its_fault() {
    let check = |p: Params| check::params(&p.to_bytes(), MOVER);
    let good = params();
    assert_eq!(check(good), Ok(good));
    assert_fault(check(Params { segment_start: 0, ..good }), Fault::SegmentStart);
    assert_fault(check(Params { segment_end: MOVER.end - PAGE, ..good }), Fault::SegmentEnd);
    assert_fault(check(Params { segment_end: SEGMENT_END + 1, ..good }), Fault::SegmentEnd);
    assert_fault(check(Params { page_table: MOVER.start, ..good }), Fault::PageTable);
    assert_fault(check(Params { page_table: SEGMENT_END, ..good }), Fault::PageTable);
    assert_fault(check(Params { page_table: MOVER.end + 8, ..good }), Fault::PageTable);
    assert_fault(check(Params { entry: 0, ..good }), Fault::Entry);
    assert_fault(check(Params { entry: MOVER.start, ..good }), Fault::Entry);
    assert_fault(check(Params { boot_params: 0, ..good }), Fault::BootParams);
    assert_fault(check(Params { boot_params: MOVER.start - 1, ..good }), Fault::BootParams);
    assert_fault(check(Params { timeline: MOVER.start - 39, ..good }), Fault::Timeline);
    assert_fault(check(Params { timeline: u64::MAX, ..good }), Fault::Timeline);
    assert_fault(check(Params { serial_port: 0xfff9, ..good }), Fault::SerialPort);
    assert!(check(Params { timeline: 0, serial_port: 0, ..good }).is_ok());
    assert!(check(Params { timeline: MOVER.start - 40, ..good }).is_ok());
}

#[test]
fn every_wrong_chain_has_its_fault() {
    let one = Move { from: 0x100_0000, to: 0x200_0000, len: PAGE };
    let (good, memory) = build(&[0x300_0000, 0x300_5000], &[one; MOVES_PER_PAGE + 1]);
    assert_eq!(memory.check(&good).map(|moves| moves.len()), Ok(MOVES_PER_PAGE + 1));

    assert_fault(memory.check(&Params { list_pages: 1, ..good }), Fault::ListPages);
    assert_fault(memory.check(&Params { list_pages: 3, ..good }), Fault::ListPages);
    assert_fault(memory.check(&Params { list: 0, ..good }), Fault::ListPages);
    assert_fault(memory.check(&Params { phase_moves: [0, 0, 170], ..good }), Fault::Moves);
    let wrapping = Params { phase_moves: [u64::MAX, 172, 0], ..good };
    assert_fault(memory.check(&wrapping), Fault::Moves);

    let looped = |next| {
        let mut memory = memory.clone();
        memory.0.insert(0x300_5000, ListPage::to_bytes(next, &[one]));
        memory.check(&Params { list_pages: u64::MAX, ..good })
    };
    assert_fault(looped(0x300_0000), Fault::ListOrder);
    assert_fault(looped(0x300_5000), Fault::ListOrder);
    assert_fault(looped(0x300_6001), Fault::ListOrder);
    assert_fault(looped(ADDRESS_LIMIT), Fault::ListOrder);
    assert_fault(looped(0x300_6000), Fault::Crc);
}

#[test]
fn every_wrong_move_has_its_fault() {
    let good = Move { from: 0x100_0000, to: 0x200_0000, len: 2 * PAGE };
    let check = |m| {
        let (params, memory) = build(&[0x300_0000], &[m]);
        memory.check(&params)
    };
    assert!(check(good).is_ok());
    assert!(check(Move { to: good.from + good.len, ..good }).is_ok(), "touching is not overlap");
    assert!(check(Move { to: SEGMENT_END, ..good }).is_ok());
    assert!(check(Move { to: 0x300_1000, ..good }).is_ok());
    assert!(check(Move { from: MOVER.start, ..good }).is_ok(), "reading the mover does no harm");
    assert_fault(check(Move { len: 0, ..good }), Fault::Length);
    assert_fault(check(Move { len: PAGE + 8, ..good }), Fault::Length);
    assert_fault(check(Move { from: 8, ..good }), Fault::From);
    assert_fault(check(Move { from: ADDRESS_LIMIT - PAGE, ..good }), Fault::From);
    assert_fault(check(Move { to: 8, ..good }), Fault::To);
    assert_fault(check(Move { to: 0_u64.wrapping_sub(PAGE), ..good }), Fault::To);
    assert_fault(check(Move { to: good.from + PAGE, ..good }), Fault::Overlap);
    assert_fault(check(Move { to: good.from, ..good }), Fault::Overlap);
    assert_fault(check(Move { to: SEGMENT_END - PAGE, ..good }), Fault::OverMover);
    assert_fault(check(Move { to: MOVER.start - PAGE, ..good }), Fault::OverMover);
    assert_fault(check(Move { to: 0x300_0000, ..good }), Fault::OverList);
    assert_fault(check(Move { to: 0x2ff_f000, ..good }), Fault::OverList);
}

/// More list pages than one batch of the destination check holds.
#[test]
fn a_destination_over_a_late_list_page_is_found() {
    let frames: Vec<u64> = (0..3000).map(|i| 0x4000_0000 + 2 * i * PAGE).collect();
    let mut moves = vec![Move { from: 1 << 40, to: 1 << 41, len: PAGE }; 3000 * MOVES_PER_PAGE];
    let (params, memory) = build(&frames, &moves);
    assert_eq!(memory.check(&params).map(|moves| moves.len()), Ok(moves.len()));
    moves[77].to = frames[2999] - PAGE;
    let (params, memory) = build(&frames, &moves);
    assert!(memory.check(&params).is_ok());
    moves[77].len = 2 * PAGE;
    let (params, memory) = build(&frames, &moves);
    let damage = memory.check(&params).expect_err("writes over the last list page");
    assert_eq!((damage.fault, damage.expected), (Fault::OverList, frames[2999]));
}
