//! Page frames of a file, seen from inside the guest and from outside.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Serialize;
use testbed::Vm;

/// Bytes in a page.
pub(super) const PAGE: u64 = 4096;

/// Where the file's pages lie, by page.
pub(super) type Places = BTreeMap<u64, u64>;

/// Pages of a file, 4 KiB each, before and after.
#[derive(Debug, Serialize)]
pub(super) struct Frames {
    pub(super) pages_before: u64,
    pub(super) pages_after: u64,
    pub(super) same_place: u64,
    /// Bytes of sampled pages, read from outside the guest, are the same before and after; none where
    /// their owner wrote to them in between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outside_pages_equal: Option<bool>,
}

impl Frames {
    pub(super) fn compare(
        before: &Places,
        after: &Places,
        outside_pages_equal: Option<bool>,
    ) -> Self {
        Self {
            pages_before: before.len() as u64,
            pages_after: after.len() as u64,
            same_place: same_place(before, after),
            outside_pages_equal,
        }
    }
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
        let before = Places::from([(0, 10), (1, 11), (2, 12)]);
        let after = Places::from([(0, 10), (1, 20), (2, 21)]);
        assert_eq!((before.len(), same_place(&before, &after)), (3, 1));
    }
}
