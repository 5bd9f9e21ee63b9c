//! The last check against a model: a memory of a few pages in which the moves are really made.

use kexec::check::{Unsafe, Untouchable};
use kexec::{Moves, Scene};
use mover_abi::Move;
use physmem::{E820Type, FrameSet, MemoryMap, PhysRange, RangeSet};
use proptest::prelude::*;

const PAGE: u64 = 4096;
/// The model's page 0 lies at 1 MiB.
const BASE: u64 = 1 << 20;
/// Pages 0 to 3 are the kernel window, the payload fills the first two; page 4 is the mover
/// segment; then a span; the rest is RAM.
const MOVER: usize = 4;
const SPAN: std::ops::Range<usize> = 5..18;
const END: usize = 28;

fn address(page: usize) -> u64 {
    BASE + u64::try_from(page).unwrap() * PAGE
}

fn pages(first: usize, count: usize) -> PhysRange {
    PhysRange::new(address(first), address(first + count)).unwrap()
}

fn map() -> MemoryMap {
    let mut map = MemoryMap::default();
    map.overlay(PhysRange::new(0, 0x9_f000).unwrap(), E820Type::Ram);
    map.overlay(pages(0, END), E820Type::Ram);
    map.overlay(pages(SPAN.start, SPAN.len()), E820Type::Pram);
    map
}

/// From page, to page, number of pages.
type Copy = (usize, usize, usize);

fn moves(preserved: &[Copy], kernel: &[Copy]) -> Moves {
    let list = |copies: &[Copy]| {
        let one = |&(from, to, n): &Copy| Move {
            from: address(from),
            to: address(to),
            len: u64::try_from(n).unwrap() * PAGE,
        };
        copies.iter().map(one).collect()
    };
    Moves { preserved: list(preserved), metadata: Vec::new(), kernel: list(kernel) }
}

fn check(kept: &[usize], list: &[usize], moves: &Moves) -> Result<(), Unsafe> {
    check_with(kept, list, moves, |_| ())
}

/// Checks a scene in which `change` has moved something.
fn check_with(
    kept: &[usize],
    list: &[usize],
    moves: &Moves,
    change: impl FnOnce(&mut Scene<'_>),
) -> Result<(), Unsafe> {
    let set = |pages_: &[usize]| -> RangeSet { pages_.iter().map(|&p| pages(p, 1)).collect() };
    let (map, kept, list_pages) = (map(), FrameSet::from(&set(kept)), set(list));
    let (mover, window, payload) = (pages(MOVER, 1), pages(0, 4), pages(0, 2));
    let mut scene =
        Scene { map: &map, kept: &kept, list_pages: &list_pages, mover, window, payload };
    change(&mut scene);
    scene.check(moves)
}

/// Makes the moves in a memory where every page holds its own number, and says whether all is
/// where it should be afterwards.
fn all_is_well(kept: &[usize], list: &[usize], preserved: &[Copy], kernel: &[Copy]) -> bool {
    let mut memory: Vec<usize> = (0..END).collect();
    let mut written = [false; END];
    for &(from, to, n) in preserved.iter().chain(kernel) {
        for i in 0..n {
            memory[to + i] = memory[from + i];
            if std::mem::replace(&mut written[to + i], true) {
                return false;
            }
        }
    }
    let arrived = |&(from, to, n): &Copy| (0..n).all(|i| memory[to + i] == from + i);
    let untouched = |&p: &usize| !written[p] && memory[p] == p;
    let in_span = |&(_, to, n): &Copy| SPAN.start <= to && to + n <= SPAN.end;
    let in_ram = |&(_, to, n): &Copy| {
        (to..to + n).all(|p| !SPAN.contains(&p) && p != MOVER) && (to >= 4 || to + n <= 2)
    };
    preserved.iter().chain(kernel).all(arrived)
        && preserved.iter().chain(kernel).all(|&(from, _, n)| (from..from + n).all(|p| p != MOVER))
        && kept.iter().chain(list).all(untouched)
        && kept.iter().all(|p| SPAN.contains(p))
        && list.iter().all(|&p| p != MOVER)
        && preserved.iter().all(in_span)
        && kernel.iter().all(in_ram)
}

/// A move of up to three pages from anywhere.
fn copy(to: impl Strategy<Value = usize>) -> impl Strategy<Value = Copy> {
    (5..END - 3, to, 1..=3usize)
        .prop_filter("a move that overlaps itself is none", |&(f, t, n)| f + n <= t || t + n <= f)
}

/// Mostly to where they may go.
fn copies(to: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Copy>> {
    proptest::collection::vec(copy(prop_oneof![9 => to, 1 => 0..END - 3]), 0..4)
}

/// To places three pages apart, each used once: only the order can be wrong.
fn to_own_places(places: &[usize]) -> impl Strategy<Value = Vec<Copy>> + use<> {
    Just(places.to_vec())
        .prop_shuffle()
        .prop_flat_map(|places| places.into_iter().map(|to| copy(Just(to))).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn agrees_with_making_the_moves(
        preserved in copies(SPAN.start..SPAN.end - 3),
        kernel in copies(SPAN.end..END - 3),
        kept in proptest::collection::vec(prop_oneof![8 => SPAN, 1 => 0..END], 0..3),
        list in proptest::collection::vec(prop_oneof![8 => SPAN.end..END, 1 => 0..END], 0..2),
    ) {
        let verdict = check(&kept, &list, &moves(&preserved, &kernel));
        let well = all_is_well(&kept, &list, &preserved, &kernel);
        prop_assert_eq!(verdict.is_ok(), well, "{:?}", verdict);
    }

    #[test]
    fn agrees_on_the_order(
        preserved in to_own_places(&[5, 8, 11, 14]),
        kernel in to_own_places(&[18, 21, 24]),
        count in (0..=4usize, 0..=3usize),
    ) {
        let (preserved, kernel) = (&preserved[..count.0], &kernel[..count.1]);
        let verdict = check(&[], &[], &moves(preserved, kernel));
        prop_assert_eq!(verdict.is_ok(), all_is_well(&[], &[], preserved, kernel), "{:?}", verdict);
    }
}

#[test]
fn names_the_two_moves_and_the_place() {
    let chain = moves(&[(20, 10, 1), (10, 12, 1)], &[]);
    let error = check(&[], &[], &chain).unwrap_err();
    assert!(matches!(error, Unsafe::Overwrites { writer, reader, at }
        if writer.index == 0 && reader.index == 1 && at == pages(10, 1)));
    assert!(error.to_string().contains("writes 0x10a000-0x10afff, which move 1"), "{error}");
    let right_order = moves(&[(10, 12, 1), (20, 10, 1)], &[]);
    assert_eq!(check(&[], &[], &right_order), Ok(()));
}

#[test]
fn a_page_may_be_read_many_times_but_not_after_it_is_written() {
    let copies: Vec<_> = (6..18).map(|to| (20, to, 1)).collect();
    assert_eq!(check(&[], &[], &moves(&copies, &[])), Ok(()));
    // The last of many readers counts, not the first.
    let kernel = [(21, 20, 1), (20, 22, 1)];
    let error = check(&[], &[], &moves(&copies, &kernel)).unwrap_err();
    assert!(matches!(error, Unsafe::Overwrites { writer, reader, .. }
        if writer.index == 12 && reader.index == 13));
}

#[test]
fn refuses_a_scene_that_is_wrong_itself() {
    let wrong = |kept: &[usize], list: &[usize], change: fn(&mut Scene<'_>)| match check_with(
        kept,
        list,
        &Moves::default(),
        change,
    )
    .unwrap_err()
    {
        Unsafe::Misplaced { what, at, .. } => (what, at),
        other => panic!("{other}"),
    };
    let as_is: fn(&mut Scene<'_>) = |_| ();
    assert_eq!(wrong(&[20], &[], as_is), (Untouchable::Kept, pages(20, 1)));
    assert_eq!(wrong(&[], &[4], as_is), (Untouchable::ListPage, pages(4, 1)));
    assert_eq!(wrong(&[], &[END], as_is), (Untouchable::ListPage, pages(END, 1)));
    // In a span the mover may lie, but not on what is kept there.
    let in_span: fn(&mut Scene<'_>) = |s| s.mover = pages(10, 1);
    assert_eq!(check_with(&[9], &[], &Moves::default(), in_span), Ok(()));
    assert_eq!(wrong(&[10], &[], in_span), (Untouchable::Kept, pages(10, 1)));
    assert_eq!(wrong(&[], &[], |s| s.mover = pages(3, 1)), (Untouchable::Mover, pages(3, 1)));
    let long = pages(0, 6);
    assert_eq!(wrong(&[], &[], |s| s.window = pages(0, 6)), (Untouchable::Window, long));
    let window = pages(0, 4);
    assert_eq!(wrong(&[], &[], |s| s.payload = pages(1, 2)), (Untouchable::Window, window));
    assert_eq!(wrong(&[], &[], |s| s.payload = pages(0, 5)), (Untouchable::Window, window));
    let low = PhysRange::from_len(0x1000, PAGE).unwrap();
    let mover_low = |s: &mut Scene<'_>| s.mover = PhysRange::from_len(0x1000, PAGE).unwrap();
    assert_eq!(wrong(&[], &[], mover_low), (Untouchable::Mover, low));
}

#[test]
fn refuses_each_kind_of_harm() {
    let hits = |kept: &[usize], list: &[usize], m: Moves| match check(kept, list, &m).unwrap_err() {
        Unsafe::Hits { what, .. } => what,
        other => panic!("{other}"),
    };
    assert_eq!(hits(&[7], &[], moves(&[(20, 6, 2)], &[])), Untouchable::Kept);
    assert_eq!(hits(&[], &[20], moves(&[], &[(21, 20, 1)])), Untouchable::ListPage);
    assert_eq!(hits(&[], &[], moves(&[], &[(21, 4, 1)])), Untouchable::Mover);
    assert_eq!(hits(&[], &[], moves(&[], &[(21, 2, 1)])), Untouchable::Window);
    assert_eq!(check(&[], &[], &moves(&[], &[(21, 0, 2)])), Ok(()));
    // Out of the first MiB, but never into it.
    let out = vec![Move { from: 0x1000, to: address(6), len: PAGE }];
    assert_eq!(check(&[], &[], &Moves { preserved: out, ..Moves::default() }), Ok(()));

    let odd = |from, to, len| {
        let preserved = vec![Move { from, to, len }];
        check(&[], &[], &Moves { preserved, ..Moves::default() }).unwrap_err()
    };
    let (from, to) = (address(20), address(6));
    assert!(matches!(odd(from, to, 0), Unsafe::Malformed(_)));
    assert!(matches!(odd(from, to, 100), Unsafe::Malformed(_)));
    assert!(matches!(odd(from + 1, to, PAGE), Unsafe::Malformed(_)));
    assert!(matches!(odd(u64::MAX - 4095, to, PAGE), Unsafe::Malformed(_)));
    assert!(matches!(odd(from, to, u64::MAX - 4095), Unsafe::Malformed(_)));
    assert!(matches!(odd(1 << 40, to, PAGE), Unsafe::SourceUnknown(_)));
    assert!(matches!(odd(from, 0x1000, PAGE), Unsafe::NotInSpan(_)));
    assert!(matches!(odd(address(MOVER), to, PAGE), Unsafe::SourceUnderMover(_)));
    assert!(matches!(odd(to, to, PAGE), Unsafe::Overwrites { .. }));
    assert!(matches!(odd(from, address(25), PAGE), Unsafe::NotInSpan(_)));
}
