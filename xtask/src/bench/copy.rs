//! The mover's copying instruction beside the C library's `memcpy`.
//!
//! The mover moves whole pages with `rep movsq`, because SSE is off where it runs. Its program
//! cannot be called here, so the same instruction is measured on this machine's memory: for one
//! long move, and for single pages that lie anywhere.

use std::hint::black_box;

use super::figure::Figure;
use super::once::timed;
use super::sys::movsq;

/// Far more than any cache.
const BYTES: usize = 512 << 20;

/// Each way of copying goes over everything so often.
const PASSES: u32 = 3;

const PAGE_WORDS: usize = 4096 / 8;

/// Prime, so that stepping by it reaches every page once in a seemingly random order.
const STRIDE: usize = 99_991;

type Copy = fn(&[u64], &mut [u64]);

pub(super) fn measure() -> Vec<Figure> {
    let from: Vec<u64> = (0..BYTES as u64 / 8).collect();
    // Written, so that every page is there.
    let mut to = vec![1; from.len()];
    let whole = compare("copy.long", "one move of 512 MiB", &from, &mut to, |copy, from, to| {
        copy(from, to);
    });
    let pages =
        compare("copy.pages", "moves of 4 KiB to and from anywhere", &from, &mut to, scatter);
    [whole, pages].concat()
}

/// Copies page by page, each to another place.
fn scatter(copy: Copy, from: &[u64], to: &mut [u64]) {
    let pages = from.len() / PAGE_WORDS;
    let mut at = 0;
    for page in 0..pages {
        let (source, target) = (at * PAGE_WORDS, (pages - 1 - page) * PAGE_WORDS);
        copy(&from[source..source + PAGE_WORDS], &mut to[target..target + PAGE_WORDS]);
        at = (at + STRIDE) % pages;
    }
}

/// Both ways of copying in turn, with the same pattern.
fn compare(
    name: &str,
    what: &str,
    from: &[u64],
    to: &mut [u64],
    pattern: fn(Copy, &[u64], &mut [u64]),
) -> Vec<Figure> {
    let memcpy: Copy = |from, to| to.copy_from_slice(from);
    let mut seconds = [0.0; 2];
    for _ in 0..PASSES {
        for (copy, sum) in [movsq as Copy, memcpy].into_iter().zip(&mut seconds) {
            *sum += timed(|| pattern(black_box(copy), from, to)).1;
            black_box(&to);
        }
    }
    let [movsq, memcpy] = seconds.map(|sum| gib(BYTES) * f64::from(PASSES) / sum);
    vec![
        Figure::new(&format!("{name}.mover"), movsq, "GiB/s", format!("rep movsq, {what}")),
        Figure::new(&format!("{name}.memcpy"), memcpy, "GiB/s", format!("memcpy, {what}")),
        Figure::new(
            &format!("{name}.ratio"),
            movsq / memcpy,
            "of memcpy",
            "speed of the mover's instruction; above 1 is faster than memcpy",
        ),
    ]
}

fn gib(bytes: usize) -> f64 {
    bytes as f64 / (1 << 30) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scattering_copies_every_page_once() {
        let from: Vec<u64> = (0..64 * PAGE_WORDS as u64).collect();
        let mut to = vec![u64::MAX; from.len()];
        scatter(movsq, &from, &mut to);
        assert_ne!(to, from);
        to.sort_unstable();
        assert_eq!(to, from);
    }
}
