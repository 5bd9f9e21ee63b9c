//! A hash map in a memfd that is still warm after the kernel was replaced.
//!
//! `warm_cache` fills it, or finds it filled. `warm_cache KERNEL INITRD CMDLINE` then goes on into
//! that kernel and takes it along.

use pkram::loaded::{LoadError, load};
use pkram::memory::Memory;
use pkram::nodes::Save;
use pkram::progress::Silent;
use pkram::save::{NextOptions, Options, prepare};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let memory = match load("warm-cache") {
        Ok(node) => node.object("table")?.map()?,
        Err(LoadError::NoNode { .. }) => Memory::new("warm-cache", 16 << 20)?,
        Err(error) => return Err(error.into()),
    };
    let found = (1..=100_000).filter(|&key| look_up(memory.words(), key)).count();
    println!("{found} of 100000 were there");
    let [_, kernel, initrd, cmdline] = &std::env::args().collect::<Vec<_>>()[..] else {
        return Ok(());
    };
    let mut save = Save::new();
    let mut node = save.node("warm-cache")?;
    node.memory("table", &memory)?;
    node.finish();
    let next = Options::new(NextOptions::new(kernel, Some(initrd), cmdline));
    Err(prepare(save, &next, &Silent)?.jump().into())
}

/// Whether the table, of keys and values in turn, has `key` already. If not, puts it there.
fn look_up(table: &[AtomicU64], key: usize) -> bool {
    let value = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut at = value % (table.len() / 2) * 2;
    while ![0, key as u64].contains(&table[at].load(Relaxed)) {
        at = (at + 2) % table.len();
    }
    if table[at].load(Relaxed) == key as u64 {
        return table[at + 1].load(Relaxed) == value as u64;
    }
    table[at].store(key as u64, Relaxed);
    table[at + 1].store(value as u64, Relaxed);
    false
}
