//! What must hold of every plan, on random machines.

mod common;

use common::{Machine, check, check_moves, machines};
use physmem::{PAGE_SIZE, PhysRange, RangeSet};
use plan::{Layout, PlanError, assign, lay_out};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

/// Staging pages as an old kernel would hand them out: anywhere that is not kept and not where
/// the caller was told not to be.
fn stage(machine: &Machine, layout: &Layout) -> RangeSet {
    let mut parts = vec![layout.window, layout.boot_block, layout.head, layout.mover];
    parts.extend(layout.initrd);
    let free = machine.map.ram().subtract(&machine.keep).subtract(&parts.into_iter().collect());
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
    #![proptest_config(ProptestConfig::with_cases(600))]

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
        let moves = assign(&layout, &machine.keep, &staged);
        prop_assert!(moves.is_ok(), "{:?}", moves);
        check_moves(&machine, &layout, &staged, &moves.unwrap());
    }
}

/// The property above is worth something only if most random machines have a plan.
#[test]
fn most_machines_have_a_plan() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut outcome = std::collections::BTreeMap::<String, u32>::new();
    for _ in 0..300 {
        let machine = machines().new_tree(&mut runner).unwrap().current();
        let word = match lay_out(&machine.request()) {
            Ok(l) if l.displaced.is_empty() => "nothing moves".to_owned(),
            Ok(_) => "some moves".to_owned(),
            Err(e) => format!("{e:?}").split([' ', '{']).next().unwrap_or("").to_owned(),
        };
        *outcome.entry(word).or_default() += 1;
    }
    eprintln!("{outcome:?}");
    assert!(outcome["nothing moves"] > 20 && outcome["some moves"] > 60, "{outcome:?}");
}
