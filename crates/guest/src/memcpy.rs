//! How quickly this machine copies memory: the measure for whatever else copies.

use std::hint::black_box;
use std::time::Instant;

use anyhow::Result;
use serde_json::json;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How much, MiB
    #[arg(long)]
    mib: usize,
}

/// Copies between two buffers that are there already.
pub(crate) fn run(args: &Args) -> Result<()> {
    let bytes = args.mib << 20;
    let from = vec![1_u8; bytes];
    let mut to = vec![2_u8; bytes];
    let start = Instant::now();
    black_box(&mut to).copy_from_slice(black_box(&from));
    println!("{}", json!({ "bytes": bytes, "seconds": start.elapsed().as_secs_f64() }));
    Ok(())
}
