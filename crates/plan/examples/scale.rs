//! How planning scales: synthetic hosts, contiguous, aged and scattered as badly as can be.
//!
//! ```console
//! $ cargo run --release -p plan --example scale [MAX_RANGES]
//! ```
//!
//! The kept set's own memory (16 bytes a range) is part of the peak, which is `VmHWM` of the
//! whole process so far: hosts come in ascending order of it.

use physmem::RangeSet;
use plan::synthetic::{Lie, host, kept, request};
use plan::{assign, lay_out};
use std::time::Instant;

const GIB: u64 = 1 << 30;

fn main() {
    let max = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(10_000_000);
    println!(
        "ram_gib lie ranges kept_gib lay_out_s assign_s moves moved_mib spans waste_gib peak_mib"
    );
    for (ram, lie) in [
        (64, Lie::Contiguous),
        (1024, Lie::Contiguous),
        (16_384, Lie::Contiguous),
        (64, Lie::Aged),
        (64, Lie::Scattered(max)),
        (1024, Lie::Aged),
        (1024, Lie::Scattered(max)),
        (16_384, Lie::Scattered(max)),
    ] {
        measure(ram * GIB, lie);
    }
}

fn measure(ram: u64, lie: Lie) {
    let map = host(ram);
    let (keep, none) = (kept(&map, lie), RangeSet::new());
    let start = Instant::now();
    let plan = match lay_out(&request(&map, &keep, &none)) {
        Ok(plan) => plan,
        Err(e) => {
            println!("{} {lie:?} {} : {e}", ram / GIB, keep.count());
            return;
        }
    };
    let laid_out = start.elapsed();
    let start = Instant::now();
    let moves = assign(&plan, &keep, &none).expect("the plan has room for all");
    let assigned = start.elapsed();
    let f = plan.figures;
    println!(
        "{} {lie:?} {} {} {:.3} {:.3} {} {} {} {} {}",
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
