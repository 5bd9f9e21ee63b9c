//! Page tables, walked in software as the processor would.

use kexec::identity::{Identity, IdentityError, Paging, reach};
use physmem::{E820Type, MemoryMap, PhysRange, RangeSet};
use proptest::prelude::*;

const MIB_2: u64 = 2 << 20;
const GIB: u64 = 1 << 30;

/// Everything that the tables at `base` map, as (virtual, physical, length).
fn walk(tables: &[u8], base: u64, levels: u32) -> Vec<(u64, u64, u64)> {
    fn descend(
        tables: &[u8],
        base: u64,
        table: u64,
        level: u32,
        virt: u64,
        found: &mut Vec<(u64, u64, u64)>,
    ) {
        for i in 0..512 {
            let at = usize::try_from(table - base + i * 8).unwrap();
            let entry = u64::from_le_bytes(tables[at..at + 8].try_into().unwrap());
            let size = 1 << (12 + 9 * level);
            let (virt, phys) = (virt + i * size, entry & 0x000f_ffff_ffff_f000);
            match (entry & 1, entry & 0x80) {
                (0, _) => assert_eq!(entry, 0),
                (_, 0) => descend(tables, base, phys, level - 1, virt, found),
                _ => {
                    assert!(level == 1 || level == 2, "no large pages at level {level}");
                    assert_eq!(phys % size, 0);
                    assert_eq!(entry & 2, 2, "writable");
                    found.push((virt, phys, size));
                }
            }
        }
    }
    let mut found = Vec::new();
    descend(tables, base, base, levels - 1, 0, &mut found);
    found
}

fn memory(top: u64) -> impl Strategy<Value = RangeSet> {
    let range = (0..top, prop_oneof![1..MIB_2, 1..GIB, 1..5 * GIB])
        .prop_map(move |(s, l)| PhysRange::new(s, s.saturating_add(l).min(top)).unwrap());
    proptest::collection::vec(range, 0..6).prop_map(|r| r.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn maps_all_that_is_wanted_and_little_else(
        (levels, wanted) in prop_oneof![
            (Just(4), memory(8 * GIB)),
            (Just(4), memory(1 << 47)),
            (Just(5), memory(1 << 52)),
        ],
        giant_pages: bool,
        base in 1u64..1 << 40,
    ) {
        let base = base * 4096;
        let identity = Identity::of(&wanted, Paging { levels, giant_pages }).unwrap();
        let tables = identity.tables_at(base).unwrap();
        prop_assert_eq!(u64::try_from(tables.len()).unwrap(), identity.pages_needed() * 4096);
        let found = walk(&tables, base, levels);
        prop_assert!(found.iter().all(|(virt, phys, _)| virt == phys));
        prop_assert!(giant_pages || found.iter().all(|f| f.2 == MIB_2));
        let mapped: RangeSet =
            found.iter().map(|f| PhysRange::from_len(f.1, f.2).unwrap()).collect();
        prop_assert_eq!(mapped, wanted.align_outward(MIB_2));
    }
}

#[test]
fn a_terabyte_costs_two_tables_with_giant_pages() {
    let wanted = PhysRange::new(0, 1 << 40).unwrap().into();
    let pages = |giant_pages| {
        Identity::of(&wanted, Paging { levels: 4, giant_pages }).unwrap().pages_needed()
    };
    assert_eq!(pages(true), 1 + 2);
    assert_eq!(pages(false), 1 + 2 + 1024);
}

#[test]
fn refuses_what_has_no_address_of_its_own() {
    let wanted: RangeSet = PhysRange::from_len(1 << 47, 4096).unwrap().into();
    let four = Paging { levels: 4, giant_pages: false };
    assert!(matches!(Identity::of(&wanted, four), Err(IdentityError::TooHigh { .. })));
    assert!(Identity::of(&wanted, Paging { levels: 5, ..four }).is_ok());
    assert!(matches!(
        Identity::of(&wanted, Paging { levels: 3, ..four }),
        Err(IdentityError::Levels(3))
    ));
    let identity = Identity::of(&RangeSet::new(), four).unwrap();
    assert!(identity.tables_at(0x1800).is_err());
    assert!(identity.tables_at(1 << 52).is_err());
}

#[test]
fn all_memory_is_reached_and_devices_are_not() {
    let range = |start, len| PhysRange::from_len(start, len).unwrap();
    let mut map = MemoryMap::default();
    for (start, len, kind) in [
        (0x10_0000, 0x7ff0_0000, E820Type::Ram),
        (0x4000_0000, 0x1000_0000, E820Type::Pram),
        (0x8000_0000, 0x10_0000, E820Type::AcpiTables),
        (0xb000_0000, 0x1000_0000, E820Type::Reserved),
        (1 << 32, 1 << 30, E820Type::Ram),
    ] {
        map.overlay(range(start, len), kind);
    }
    let want: RangeSet = [range(0, 0x8010_0000), range(1 << 32, 1 << 30)].into_iter().collect();
    assert_eq!(reach(&map, None), want);
}

#[test]
fn the_running_kernel_says_what_it_uses() {
    let flags =
        |flags| Paging::from_cpuinfo(&format!("processor : 0\nflags\t\t: fpu {flags} lm\n"));
    assert_eq!(flags("la57 pdpe1gb"), Paging { levels: 5, giant_pages: true });
    assert_eq!(flags("nola57"), Paging { levels: 4, giant_pages: false });
}
