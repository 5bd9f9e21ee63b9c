//! How planning scales: synthetic hosts, contiguous, aged and scattered as badly as can be.
//!
//! ```console
//! $ cargo run --release -p plan --example scale -- 1024 scattered
//! ```
//!
//! The kept set's own memory is part of the peak, which is `VmHWM` of the whole process.

use physmem::FrameSet;
use plan::synthetic::{Lie, host, kept, request};
use plan::{assign, lay_out};
use std::time::Instant;

const GIB: u64 = 1 << 30;

fn main() {
    let args: Vec<_> = std::env::args().collect();
    let ram = args.get(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(1024) * GIB;
    let lie = match args.get(2).map(String::as_str) {
        Some("contiguous") => Lie::Contiguous,
        Some("aged") => Lie::Aged,
        _ => Lie::Scattered,
    };
    let map = host(ram);
    let start = Instant::now();
    let keep = kept(&map, lie);
    println!("{lie:?}, made in {:?}, {} MiB so far", start.elapsed(), peak_mib());
    let start = Instant::now();
    let plan = lay_out(&request(&map, &keep)).expect("there is a plan");
    println!("lay_out {:?}, {} MiB so far", start.elapsed(), peak_mib());
    let (start, mut moves) = (Instant::now(), 0u64);
    assign(&plan, &keep, &FrameSet::new(), |_| moves += 1).expect("the plan has room for all");
    println!("assign {:?}, {moves} moves, {} MiB so far", start.elapsed(), peak_mib());
    println!("{:?}, {} spans", plan.figures, plan.spans.len());
}

/// The largest resident size so far, from `/proc/self/status`; 0 where there is none.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) >> 10
}
