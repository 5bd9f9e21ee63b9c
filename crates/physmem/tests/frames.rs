//! A set of page frames against the same set as ranges.

use physmem::{Cursor, FrameSet, PAGE_SIZE, PhysRange, RangeSet};
use proptest::prelude::*;

/// Pages in the chunks that a [`FrameSet`] is made of.
const CHUNK: u64 = 1 << 18;

/// Ranges of all lengths around the ends of words and chunks.
fn range() -> impl Strategy<Value = PhysRange> {
    let at = prop_oneof![
        3 => 0..300u64,
        2 => CHUNK - 200..CHUNK + 200,
        1 => 4 * CHUNK - 70..4 * CHUNK + 70,
        1 => Just(2 * CHUNK),
    ];
    let len =
        prop_oneof![6 => 1..4u64, 4 => 1..140u64, 1 => CHUNK - 3..2 * CHUNK + 3, 1 => Just(CHUNK)];
    (at, len).prop_map(|(at, len)| PhysRange::from_pfn(at, len).unwrap())
}

/// Ranges that are put in (or taken out) one after the other.
fn changes() -> impl Strategy<Value = Vec<(PhysRange, bool)>> {
    proptest::collection::vec((range(), prop::bool::weighted(0.7)), 0..24)
}

fn both(changes: &[(PhysRange, bool)]) -> (FrameSet, RangeSet) {
    let (mut frames, mut ranges) = (FrameSet::new(), RangeSet::new());
    for &(range, to) in changes {
        let one = RangeSet::from(range);
        if to {
            frames.insert(range);
            ranges = ranges.union(&one);
        } else {
            frames.remove(range);
            ranges = ranges.subtract(&one);
        }
    }
    (frames, ranges)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn is_the_same_as_ranges(a in changes(), b in changes(), look in range()) {
        let ((mut fa, ra), (fb, rb)) = (both(&a), both(&b));
        prop_assert!(fa.iter().eq(ra.iter()), "{fa:?}, not {ra:?}");
        prop_assert_eq!(FrameSet::from(&ra), fa.clone());
        prop_assert_eq!(fa.bytes(), ra.bytes());
        prop_assert_eq!(fa.hull(), ra.hull());
        prop_assert_eq!(fa.is_empty(), ra.is_empty());
        prop_assert_eq!(fa.bytes_within(look), ra.bytes_within(look));
        prop_assert_eq!(fa.contains(look.start()), ra.contains(look.start()));
        prop_assert_eq!(fa.contains_range(look), ra.contains_range(look));
        prop_assert_eq!(fa.overlaps(look), ra.overlaps(look));
        prop_assert!(fa.within(look).eq(ra.within(look)));
        for align in [PAGE_SIZE, 2 << 20, 1 << 30] {
            prop_assert_eq!(fa.align_outward(align), ra.align_outward(align));
        }
        prop_assert_eq!(fa.intersect(&rb), FrameSet::from(&ra.intersect(&rb)));
        fa.remove_all(&fb);
        prop_assert_eq!(fa, FrameSet::from(&ra.subtract(&rb)));
    }

    #[test]
    fn finds_runs_that_are_long_enough(
        changes in changes(),
        at in 0..5 * CHUNK,
        least in prop_oneof![1..6u64, 1..200u64, Just(63), Just(64), Just(65), 1..CHUNK],
    ) {
        let (frames, ranges) = both(&changes);
        let rest = PhysRange::from_pfn(at, 1 << 22).unwrap();
        let want = ranges.within(rest).filter(|r| r.pages() >= least);
        let mut cursor = Cursor::at(rest.start());
        let found = std::iter::from_fn(|| frames.next_run(&mut cursor, least));
        prop_assert!(found.eq(want));
    }

    #[test]
    fn bits_are_pages(
        words in proptest::collection::vec((0..70u64, any::<u64>()), 0..9),
        least in 1..40u64,
    ) {
        let mut frames = FrameSet::new();
        let mut ranges = Vec::new();
        for (word, bits) in words {
            let first = CHUNK - 35 * 64 + word * 64;
            frames.insert_bits(first, bits);
            let set = (0..64).filter(|bit| bits >> bit & 1 == 1);
            ranges.extend(set.map(|bit| PhysRange::from_pfn(first + bit, 1).unwrap()));
        }
        let ranges: RangeSet = ranges.into_iter().collect();
        prop_assert!(frames.iter().eq(ranges.iter()));
        let mut cursor = Cursor::default();
        let found = std::iter::from_fn(|| frames.next_run(&mut cursor, least));
        prop_assert!(found.eq(ranges.iter().filter(|r| r.pages() >= least)));
    }
}

#[test]
fn pages_that_are_touched_count() {
    let touched = PhysRange::new(0x1fff, 0x3001).unwrap();
    let frames: FrameSet = [touched].into_iter().collect();
    assert_eq!(frames.iter().collect::<Vec<_>>(), [PhysRange::new(0x1000, 0x4000).unwrap()]);
    let inside = PhysRange::new(0x2100, 0x2200).unwrap();
    assert_eq!(frames.bytes_within(inside), PAGE_SIZE);
    assert_eq!(frames.first_overlap(inside), PhysRange::new(0x2000, 0x3000).ok());
}
