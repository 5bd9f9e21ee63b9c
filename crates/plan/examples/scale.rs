//! How planning scales: synthetic hosts, contiguous, aged and scattered as badly as can be.
//!
//! ```console
//! $ cargo run --release -p plan --example scale [MAX_RANGES]
//! ```
//!
//! The kept set's own memory (16 bytes a range) is part of the peak, which is `VmHWM` of the
//! whole process so far: hosts come in ascending order of it.

use physmem::{E820Entry, E820Type, MemoryMap, PAGE_SIZE, PhysRange, RangeSet};
use plan::{KernelNeeds, Request, assign, lay_out};
use std::time::Instant;

const GIB: u64 = 1 << 30;

fn main() {
    let max = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(10_000_000);
    println!(
        "ram_gib layout ranges kept_gib lay_out_s assign_s moves moved_mib spans waste_gib peak_mib"
    );
    for (ram, layout) in [
        (64, "contiguous"),
        (1024, "contiguous"),
        (16_384, "contiguous"),
        (64, "aged"),
        (64, "scattered"),
        (1024, "aged"),
        (1024, "scattered"),
        (16_384, "scattered"),
    ] {
        measure(ram * GIB, layout, max);
    }
}

/// RAM with the hole that PCI devices have below 4 GiB.
fn host(ram: u64) -> MemoryMap {
    let range = |start, end| PhysRange::new(start, end).expect("ends lie above starts");
    let entry = |range| E820Entry { range, kind: E820Type::Ram };
    let rams = [range(0, 0x9f000), range(1 << 20, 3 * GIB), range(4 * GIB, ram + GIB)];
    MemoryMap::from_entries(rams.map(entry))
}

/// What lies in the lower 94 % of memory, in about `max` ranges at most: all but one page, pieces
/// of all sizes, or runs so short that no granule is free of them or full. With 9 % asked for the
/// next kernel not all of it can stay.
fn kept(map: &MemoryMap, layout: &str, max: usize) -> RangeSet {
    let top = map.ram().hull().map_or(0, PhysRange::end);
    let all = (top - GIB) / PAGE_SIZE;
    let max = u64::try_from(max).unwrap_or(u64::MAX);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut pages = |most: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        1 + random % most.max(1)
    };
    let mut runs = Vec::new();
    let mut at = (64 << 20) / PAGE_SIZE;
    let end = all / 100 * 94;
    while at < end {
        let (len, gap) = match layout {
            "contiguous" => (all / 5 * 2, all / 20),
            "aged" => (pages(4096), pages(900)),
            _ => {
                let len = pages(17.max(all / max * 2));
                (len, 1 + len / 10)
            }
        };
        runs.extend(PhysRange::from_pfn(at, len.min(end - at)));
        at += len + gap;
    }
    runs.into_iter().collect::<RangeSet>().intersect(&map.ram())
}

fn measure(ram: u64, layout: &str, max: usize) {
    let map = host(ram);
    let keep = kept(&map, layout, max);
    let none = RangeSet::new();
    let request = Request {
        map: &map,
        keep: &keep,
        fixed: &none,
        avoid: &none,
        kernel: KernelNeeds {
            init_size: 64 << 20,
            alignment: 2 << 20,
            min_addr: 16 << 20,
            can_be_above_4g: true,
        },
        initrd_bytes: 50 << 20,
        initrd_max_addr: 0x7fff_ffff,
        boot_block_bytes: 64 << 10,
        mover_bytes: 16 << 10,
        head_bytes: 64 << 20,
        staged_bytes: 256 << 20,
        reserve_ram: ram / 100 * 9,
        low_ram: 128 << 20,
        memory_block: 128 << 20,
        max_spans: 8,
        max_entries: 128,
        stay_price: u64::MAX,
        seed: 1,
    };
    let start = Instant::now();
    let plan = match lay_out(&request) {
        Ok(plan) => plan,
        Err(e) => {
            println!("{} {layout} {} : {e}", ram / GIB, keep.count());
            return;
        }
    };
    let laid_out = start.elapsed();
    let start = Instant::now();
    let moves = assign(&plan, &keep, &none).expect("the plan has room for all");
    let assigned = start.elapsed();
    let f = plan.figures;
    println!(
        "{} {layout} {} {} {:.3} {:.3} {} {} {} {} {}",
        ram / GIB,
        keep.count(),
        f.kept / GIB,
        laid_out.as_secs_f64(),
        assigned.as_secs_f64(),
        moves.len(),
        f.displaced >> 20,
        plan.spans.len(),
        f.waste / GIB,
        peak_mib()
    );
}

/// The largest resident size so far, from `/proc/self/status`; 0 where there is none.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) >> 10
}
