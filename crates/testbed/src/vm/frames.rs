//! Where the pages of a file lie in physical memory.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Deserialize;

use super::Vm;

/// As `guest frames` prints it, in pages of 4 KiB.
#[derive(Debug, Deserialize)]
struct Extent {
    page: u64,
    frame: u64,
    count: u64,
}

#[derive(Deserialize)]
struct Answer {
    extents: Vec<Extent>,
}

impl Vm {
    /// The frame of each page of a file that there is, both in units of 4 KiB.
    ///
    /// # Errors
    /// The file cannot be read or mapped.
    pub fn frames(&mut self, file: &str) -> Result<BTreeMap<u64, u64>> {
        let answer: Answer = self.exec(["guest", "frames", file])?.json()?;
        Ok(places(&answer.extents))
    }
}

fn places(extents: &[Extent]) -> BTreeMap<u64, u64> {
    let pages = |e: &Extent| (e.page..e.page + e.count).zip(e.frame..e.frame + e.count);
    extents.iter().flat_map(pages).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extent_has_a_frame_for_each_page() {
        let extents =
            [Extent { page: 0, frame: 10, count: 1 }, Extent { page: 5, frame: 20, count: 2 }];
        assert_eq!(places(&extents), BTreeMap::from([(0, 10), (5, 20), (6, 21)]));
    }
}
