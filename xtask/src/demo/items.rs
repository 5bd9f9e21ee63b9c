//! What became of a memcached's items.

use serde::Serialize;
use testbed::Checked;

#[derive(Debug, Serialize)]
pub(super) struct Items {
    pub(super) set: u64,
    #[serde(flatten)]
    pub(super) checked: Checked,
}

impl Items {
    /// Whether so many were set, and none is missing or changed.
    pub(super) fn are_all(&self, wanted: u64) -> bool {
        self.set == wanted && self.checked == Checked { found: wanted, equal: wanted }
    }
}
