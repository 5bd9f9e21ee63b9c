//! What must hold of every plan, on random machines.

mod common;
#[path = "common/random.rs"]
mod random;

use common::{Machine, check, check_moves, displaced, moves, ranges};
use physmem::{PAGE_SIZE, PhysRange, RangeSet};
use plan::{Layout, Pieces, PlanError, lay_out};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use random::machines;

/// Failures are printed whole, so that no seeds need be kept.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Staging pages as an old kernel would hand them out: anywhere that is not kept and not where
/// the caller was told not to be.
fn stage(machine: &Machine, layout: &Layout) -> RangeSet {
    let mut parts = vec![layout.window, layout.boot_block, layout.head, layout.mover];
    parts.extend(layout.initrd);
    parts.extend(layout.berths().iter());
    let free =
        machine.map.ram().subtract(&ranges(&machine.keep)).subtract(&parts.into_iter().collect());
    let mut left = machine.staged_bytes;
    let mut staged = Vec::new();
    let pages = free.iter().filter_map(|r| r.align_inward(PAGE_SIZE));
    for (i, r) in pages.enumerate() {
        let len = r.len().min(left).min((1 + i as u64 % 5) * PAGE_SIZE);
        staged.extend(PhysRange::from_len(r.start(), len));
        left -= len;
    }
    staged.into_iter().collect()
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn every_plan_holds(machine in machines()) {
        let layout = match lay_out(&machine.request()) {
            Ok(layout) => layout,
            Err(PlanError::Request { .. } | PlanError::NotRam { .. }) => {
                panic!("the request makes sense")
            }
            Err(_) => return Ok(()),
        };
        check(&machine, &layout);
        prop_assert_eq!(lay_out(&machine.request()), Ok(layout.clone()), "the same each time");
        let staged = stage(&machine, &layout);
        let moves = moves(&machine, &layout, &staged);
        prop_assert!(moves.is_ok(), "{:?}", moves);
        check_moves(&machine, &layout, &staged, &moves.unwrap());
    }
}

proptest! {
    #![proptest_config(cases(200))]

    /// Whatever the numbers are, there is a plan that holds or an error.
    #[test]
    fn strange_numbers_are_survived(
        machine in machines(),
        numbers in proptest::collection::vec(strange(), 13),
        which in any::<u16>(),
    ) {
        let mut machine = machine;
        let m = &mut machine;
        let fields = [
            &mut m.staged_bytes, &mut m.init_size, &mut m.initrd_bytes, &mut m.mover_bytes,
            &mut m.head_bytes, &mut m.reserve_ram, &mut m.low_ram, &mut m.stay_price,
        ];
        for (i, field) in fields.into_iter().enumerate().filter(|(i, _)| which >> i & 1 == 1) {
            *field = numbers[i];
        }
        let mut request = machine.request();
        let others = [
            &mut request.kernel.alignment, &mut request.kernel.min_addr,
            &mut request.initrd_max_addr, &mut request.memory_block, &mut request.span_price,
        ];
        for (i, field) in others.into_iter().enumerate().filter(|(i, _)| which >> (8 + i) & 1 == 1) {
            *field = numbers[8 + i];
        }
        request.max_entries = usize::from(which >> 12) * 20;
        if let Ok(layout) = lay_out(&request) {
            let spans: RangeSet = layout.spans.iter().copied().collect();
            let displaced = displaced(&machine, &layout);
            prop_assert!(displaced.intersect(&ranges(&machine.fixed)).is_empty());
            prop_assert!(ranges(&machine.keep).subtract(&spans).subtract(&displaced).is_empty());
            prop_assert!(!spans.overlaps(layout.window) && !machine.keep.overlaps(layout.mover));
            prop_assert!(layout.next_map(&machine.map).entries().len() <= request.max_entries);
            prop_assert!(layout.figures.ram >= request.reserve_ram);
        }
    }
}

/// Numbers at which arithmetic likes to fail.
fn strange() -> impl Strategy<Value = u64> {
    let near = |n: u64| (0..5u64).prop_map(move |d| n.saturating_add(d).saturating_sub(2));
    prop_oneof![
        Just(0u64),
        (0..64u32).prop_map(|s| 1 << s),
        (0..64u32).prop_flat_map(move |s| near(1 << s)),
        near(u64::MAX),
        any::<u64>(),
    ]
}

/// The properties are worth something only if most random machines have a plan, and if what is
/// hard about them happens.
#[test]
fn most_machines_have_a_plan() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut outcome = std::collections::BTreeMap::<String, u32>::new();
    for _ in 0..300 {
        let machine = machines().new_tree(&mut runner).unwrap().current();
        let layout = lay_out(&machine.request());
        let mut count = |word: &str| *outcome.entry(word.to_owned()).or_default() += 1;
        match &layout {
            Ok(l) if l.figures.displaced == 0 => count("nothing moves"),
            Ok(_) => count("some moves"),
            Err(e) => count(format!("{e:?}").split([' ', '{']).next().unwrap_or("")),
        }
        let Ok(layout) = layout else { continue };
        for (word, happens) in [
            ("huge pages move", !layout.berths().is_empty()),
            ("spans touch", layout.spans.windows(2).any(|w| w[0].end() == w[1].start())),
            ("nodes", !machine.nodes.is_empty() && layout.spans.len() > 1),
            ("pieces", machine.pieces != Pieces::Any && layout.spans.len() > 1),
            ("pieces that fit", matches!(machine.pieces, Pieces::Parts(_))),
        ] {
            if happens {
                count(word);
            }
        }
    }
    eprintln!("{outcome:?}");
    let enough = |word, least| outcome.get(word).is_some_and(|&times| times >= least);
    assert!(enough("nothing moves", 20) && enough("some moves", 80), "{outcome:?}");
    for word in ["huge pages move", "spans touch", "nodes", "pieces", "pieces that fit"] {
        assert!(enough(word, 2), "{word}: {outcome:?}");
    }
}
