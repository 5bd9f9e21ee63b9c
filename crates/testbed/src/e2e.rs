//! The gate of end-to-end tests: they run only where someone asked for them.

use std::sync::OnceLock;

use crate::testbed::Testbed;

/// Set to 1 by `cargo xtask test`.
const GATE: &str = "PKRAM_E2E";

/// The testbed of this process, or `None`, said on standard error, where end-to-end tests were
/// not asked for.
///
/// # Panics
/// They were asked for and the testbed cannot be prepared.
#[must_use]
pub fn e2e(test: &str) -> Option<&'static Testbed> {
    static BED: OnceLock<Testbed> = OnceLock::new();
    if std::env::var_os(GATE).is_none_or(|value| value != "1") {
        eprintln!("{test}: skipped, needs QEMU and stock kernels; run `cargo xtask test`");
        return None;
    }
    Some(BED.get_or_init(|| match Testbed::prepare(false, &|step| eprintln!("testbed: {step}")) {
        Ok(bed) => bed,
        Err(error) => panic!("prepare the testbed: {error:#}"),
    }))
}
