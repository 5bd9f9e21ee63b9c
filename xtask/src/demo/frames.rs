//! Page frames of a file, seen from inside the guest and from outside.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use testbed::Vm;

/// Bytes in a page.
pub(super) const PAGE: u64 = 4096;

/// As `guest frames` prints it, in pages of 4 KiB.
#[derive(Debug, Deserialize)]
pub(super) struct Extent {
    page: u64,
    frame: u64,
    count: u64,
}

#[derive(Deserialize)]
struct Answer {
    extents: Vec<Extent>,
}

/// Where the file's pages lie, by page.
pub(super) type Places = BTreeMap<u64, u64>;

/// Pages of a file, 4 KiB each, before and after.
#[derive(Debug, Serialize)]
pub(super) struct Frames {
    pub(super) pages_before: u64,
    pub(super) pages_after: u64,
    pub(super) same_place: u64,
    /// Bytes of sampled pages, read from outside the guest, are the same before and after.
    pub(super) outside_pages_equal: bool,
}

impl Frames {
    pub(super) fn compare(before: &Places, after: &Places, outside_pages_equal: bool) -> Self {
        Self {
            pages_before: before.len() as u64,
            pages_after: after.len() as u64,
            same_place: same_place(before, after),
            outside_pages_equal,
        }
    }
}

/// Asks the guest.
pub(super) fn of(vm: &mut Vm, file: &str) -> Result<Places> {
    let answer: Answer = vm.exec(["guest", "frames", file])?.json()?;
    Ok(places(&answer.extents))
}

fn places(extents: &[Extent]) -> Places {
    let pages = |e: &Extent| (e.page..e.page + e.count).zip(e.frame..e.frame + e.count);
    extents.iter().flat_map(pages).collect()
}

/// How many pages lie in the same frame in both.
fn same_place(before: &Places, after: &Places) -> u64 {
    before.iter().filter(|(page, frame)| after.get(page) == Some(frame)).map(|_| 1).sum()
}

/// Pages whose bytes are compared from outside the guest.
const SAMPLES: usize = 16;

/// Reads some of the pages, evenly spread, from outside the guest.
pub(super) fn sample(vm: &mut Vm, places: &Places) -> Result<Vec<Vec<u8>>> {
    let step = (places.len() / SAMPLES).max(1);
    places
        .values()
        .step_by(step)
        .map(|frame| vm.read_physical(frame * PAGE, usize::try_from(PAGE)?))
        .collect::<Result<_>>()
        .context("read physical memory from outside")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_elsewhere_is_not_in_the_same_place() {
        let before = places(&[Extent { page: 0, frame: 10, count: 3 }]);
        let after = places(&[
            Extent { page: 0, frame: 10, count: 1 },
            Extent { page: 1, frame: 20, count: 2 },
        ]);
        assert_eq!((before.len(), same_place(&before, &after)), (3, 1));
    }
}
