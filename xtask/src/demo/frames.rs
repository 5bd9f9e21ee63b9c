//! Page frames of a file, seen from inside the guest and from outside.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;
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
pub(super) fn same_place(before: &Places, after: &Places) -> u64 {
    before.iter().filter(|(page, frame)| after.get(page) == Some(frame)).map(|_| 1).sum()
}

/// Reads some of the pages, evenly spread, from outside the guest.
pub(super) fn sample(vm: &mut Vm, places: &Places, samples: usize) -> Result<Vec<Vec<u8>>> {
    let step = (places.len() / samples).max(1);
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
