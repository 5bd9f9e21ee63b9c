//! Where a reserved range lies: out of the way of whoever runs before the kernel knows of it.
//!
//! ```text
//! 0        LOW                          4 GiB                            end of RAM
//! ├─ kernel ─┼ second choice ────┬─ top ─┤├ first choice ────────┬─ top ─┤
//!   32-bit DMA                    firmware,                       firmware, initrd
//!                                 initrd
//! ```
//!
//! The firmware and the boot loader know nothing of `memmap=` and put their own things where they
//! like: firmware heaps and initrds at the top of memory (EDK II allocates downwards; GRUB and QEMU
//! put the initrd as high as the kernel allows), kernels at the bottom. What they overwrite at each
//! boot cannot be kept.

use physmem::{IomemResource, MemoryMap, PhysRange, RangeSet};

/// Spans are aligned to it at both ends, else there is no DAX (`SUBSECTION_SIZE`,
/// `memremap_compat_align()`).
const ALIGNMENT: u64 = 2 << 20;

/// What device-dax takes at the start when a region is released; the rest are whole memory blocks.
const HEAD: u64 = 2 << 20;

/// Below it are the kernel (from 16 MiB on, 64 MiB long), 32-bit DMA and low crash kernels.
const LOW: u64 = 256 << 20;

/// Where 32-bit addresses end.
const FOUR_GIB: u64 = 4 << 30;

/// The least that may be asked for: the journal and a little more. A namespace has at least 16 MiB.
const LEAST: u64 = 32 << 20;

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Not worth it.
    #[error("{size} bytes are too few for a region; ask for {LEAST} at least")]
    TooSmall {
        /// Asked for.
        size: u64,
    },
    /// No such run of RAM.
    #[error(
        "no run of {size} bytes of RAM lies out of the firmware's, the boot loader's and the \
         kernel's way; the longest has {longest}"
    )]
    NoRoom {
        /// Wanted, the head included.
        size: u64,
        /// There is.
        longest: u64,
    },
    /// The system itself needs RAM.
    #[error("of {ram} bytes of RAM {left} would be left; {needed} have to be")]
    TooMuch {
        /// All RAM.
        ram: u64,
        /// Left.
        left: u64,
        /// At least.
        needed: u64,
    },
}

/// Finds the range for a region of `size` bytes: RAM in the firmware's map and in the kernel's.
pub(super) fn choose(
    map: &MemoryMap,
    iomem: &[IomemResource],
    size: u64,
    memory_block: u64,
) -> Result<PhysRange, PlaceError> {
    let named = |wanted: &'static str| {
        let found = iomem.iter().filter(move |r| r.name.starts_with(wanted));
        found.map(|r| r.range).collect::<RangeSet>()
    };
    let ram = map.ram().intersect(&named("System RAM")).subtract(&named("System RAM (kmem)"));
    if size < LEAST {
        return Err(PlaceError::TooSmall { size });
    }
    let size = size.checked_next_multiple_of(ALIGNMENT).and_then(|s| s.checked_add(HEAD));
    let size = size.unwrap_or(u64::MAX);
    let (total, needed) = (ram.bytes(), (ram.bytes() / 8).max(LOW));
    let left = total.saturating_sub(size);
    if left < needed {
        return Err(PlaceError::TooMuch { ram: total, left, needed });
    }
    let free = out_of_the_way(&ram).subtract(&named("Crash kernel"));
    let above = FOUR_GIB..u64::MAX;
    let mut pieces: Vec<_> = free.iter().collect();
    // Above 4 GiB first; there and below from the bottom up.
    pieces.sort_by_key(|p| (!above.contains(&p.start()), p.start()));
    let fit = |start: u64, piece: &PhysRange| {
        PhysRange::from_len(start, size).ok().filter(|r| piece.contains_range(*r))
    };
    let whole_blocks = |piece: &PhysRange| {
        let block = (piece.start() + HEAD).checked_next_multiple_of(memory_block)?;
        fit(block - HEAD, piece)
    };
    let anywhere = |piece: &PhysRange| fit(piece.start().next_multiple_of(ALIGNMENT), piece);
    let found = pieces.iter().find_map(whole_blocks);
    found.or_else(|| pieces.iter().find_map(anywhere)).ok_or_else(|| {
        let longest = pieces.iter().map(|p| p.len()).max().unwrap_or(0);
        PlaceError::NoRoom { size, longest }
    })
}

/// RAM less its lowest part and the top of what lies below 4 GiB and of all.
fn out_of_the_way(ram: &RangeSet) -> RangeSet {
    let top = (ram.bytes() / 6).clamp(128 << 20, 1 << 30);
    let mut free = ram.clone();
    let bounds = [PhysRange::new(0, FOUR_GIB), PhysRange::new(FOUR_GIB, physmem::ADDRESS_LIMIT)];
    for half in bounds.into_iter().flatten() {
        if let Some(hull) = ram.intersect(&half.into()).hull() {
            let end = hull.end();
            let taken = PhysRange::new(end.saturating_sub(top), end);
            free = taken.map_or(free.clone(), |t| free.subtract(&t.into()));
        }
    }
    PhysRange::new(0, LOW).map_or(free.clone(), |low| free.subtract(&low.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use physmem::E820Type;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;
    const BLOCK: u64 = 128 * MIB;

    /// RAM in these ranges of MiB, as firmware and kernel see it.
    fn machine(ram: &[(u64, u64)]) -> (MemoryMap, Vec<IomemResource>) {
        let mut map = MemoryMap::default();
        let range = |&(start, end): &(u64, u64)| PhysRange::new(start * MIB, end * MIB).unwrap();
        ram.iter().for_each(|r| map.overlay(range(r), E820Type::Ram));
        let name = "System RAM".to_owned();
        let iomem = ram.iter().map(range);
        (map, iomem.map(|range| IomemResource { depth: 0, range, name: name.clone() }).collect())
    }

    #[test]
    fn takes_whole_blocks_above_4_gib_where_it_can() {
        let (map, iomem) = machine(&[(1, 2048), (4096, 8192)]);
        let found = choose(&map, &iomem, 1024 * MIB, BLOCK).unwrap();
        assert_eq!(found, PhysRange::new((4096 + 126) * MIB, (4096 + 1152) * MIB).unwrap());
        // Too little there: below.
        let (map, iomem) = machine(&[(1, 2048), (4096, 4196)]);
        let found = choose(&map, &iomem, 512 * MIB, BLOCK).unwrap();
        assert_eq!(found, PhysRange::new(382 * MIB, 896 * MIB).unwrap());
    }

    #[test]
    fn takes_what_there_is_on_small_machines() {
        let (map, iomem) = machine(&[(1, 1024)]);
        let found = choose(&map, &iomem, 512 * MIB, BLOCK).unwrap();
        assert_eq!(found, PhysRange::new(256 * MIB, 770 * MIB).unwrap());
        assert!(matches!(choose(&map, &iomem, 700 * MIB, BLOCK), Err(PlaceError::NoRoom { .. })));
        assert!(matches!(choose(&map, &iomem, 900 * MIB, BLOCK), Err(PlaceError::TooMuch { .. })));
        assert!(matches!(choose(&map, &iomem, u64::MAX, BLOCK), Err(PlaceError::TooMuch { .. })));
        assert!(matches!(choose(&map, &iomem, MIB, BLOCK), Err(PlaceError::TooSmall { .. })));
    }

    #[test]
    fn leaves_the_crash_kernel_and_released_memory_alone() {
        let (map, mut iomem) = machine(&[(1, 4096), (8192, 16384)]);
        let nested = |name: &str, start, end| IomemResource {
            depth: 1,
            range: PhysRange::new(start * MIB, end * MIB).unwrap(),
            name: name.to_owned(),
        };
        iomem.push(nested("Crash kernel", 8400, 8800));
        iomem.push(nested("System RAM (kmem)", 9000, 10000));
        let found = choose(&map, &iomem, 1024 * MIB, BLOCK).unwrap();
        assert_eq!(found.start(), 10110 * MIB);
    }

    proptest! {
        #[test]
        fn lies_in_ram_and_out_of_the_way(
            low in 600_u64..4000,
            high in 0_u64..20_000,
            size in 32_u64..9000,
            block in prop::sample::select(vec![BLOCK, 2048 * MIB]),
        ) {
            let (map, iomem) = machine(&[(1, low), (4096, 4097 + high)]);
            if let Ok(found) = choose(&map, &iomem, size * MIB, block) {
                prop_assert!(map.ram().contains_range(found));
                prop_assert!(found.start() >= LOW);
                prop_assert!(found.start() % ALIGNMENT == 0 && found.end() % ALIGNMENT == 0);
                prop_assert!(found.len() >= size * MIB + HEAD);
                let top = if found.start() < FOUR_GIB { low } else { 4097 + high };
                prop_assert!(found.end() + 100 * MIB <= top * MIB);
            }
        }
    }
}
