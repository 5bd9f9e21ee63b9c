//! The only unsafe code of the benchmark: the mover's copying instruction.

use core::arch::asm;

/// Copies as the mover does (`crates/mover/src/blob/memory.rs`): eight bytes a step by `rep movsq`.
/// Its own program cannot run under an operating system, but the instruction is the same.
pub(super) fn movsq(from: &[u64], to: &mut [u64]) {
    assert_eq!(from.len(), to.len(), "source and destination differ in length");
    // SAFETY: the instruction reads `from.len()` words from `from` on and writes as many from `to`
    // on; both are whole slices of that length (asserted) and do not overlap, as one of them is
    // borrowed exclusively. The direction flag is clear in Rust code (x86-64 psABI, 3.2.1). Memory
    // is clobbered unless an asm says otherwise; the flags are untouched and there is no stack use.
    unsafe {
        asm!(
            "rep movsq",
            inout("rcx") from.len() => _,
            inout("rsi") from.as_ptr() => _,
            inout("rdi") to.as_mut_ptr() => _,
            options(nostack, preserves_flags)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_every_word_and_no_other() {
        let from: Vec<u64> = (1..=1000).collect();
        for (start, end) in [(0, 0), (0, 1), (3, 517), (0, 1000)] {
            let mut to = vec![0; 1002];
            movsq(&from[start..end], &mut to[1..=end - start]);
            assert_eq!(to[1..=end - start], from[start..end]);
            assert!(to[0] == 0 && to[end - start + 1..].iter().all(|&word| word == 0));
        }
    }
}
