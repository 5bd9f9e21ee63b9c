//! A placeholder: what is loaded so that the kernel calls something loaded, long before it is known
//! what to jump into.
//!
//! `systemctl kexec` refuses to begin a shutdown where `/sys/kernel/kexec_loaded` is 0 (systemd:
//! `src/systemctl/systemctl-start-special.c`, `load_kexec_kernel()`), but the next kernel is loaded
//! only when all services have stopped. If nothing takes its place, a jump into the placeholder is
//! a reset: it is the mover without orders, which copies nothing and goes through the firmware.

use crate::sys::{self, KexecError, Segment};
use mover::BLOB;
use physmem::{PhysRange, RangeError};

/// Where it is put at the jump: the first megabyte above the legacy hole, which is RAM on every PC.
/// Nothing of the old system matters any more by then.
const AT: u64 = 1 << 20;

/// Why there is no placeholder.
#[derive(Debug, thiserror::Error)]
pub enum PlaceholderError {
    /// The kernel refused.
    #[error(transparent)]
    Kexec(#[from] KexecError),
    /// The mover does not fit there.
    #[error(transparent)]
    Range(#[from] RangeError),
}

/// Loads the placeholder. What was loaded before is forgotten.
///
/// # Errors
/// The kernel refuses.
pub fn load() -> Result<(), PlaceholderError> {
    let len = u64::try_from(BLOB.len()).expect("usize has 64 bits");
    let to = PhysRange::from_len(AT, len)?;
    Ok(sys::load(AT, &[Segment { bytes: BLOB, to }])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mover_abi::{PARAMS_OFFSET, Params, check};

    #[test]
    fn the_mover_refuses_to_run_without_orders() {
        let params = BLOB[PARAMS_OFFSET..][..Params::SIZE].try_into().unwrap();
        let end = AT + u64::try_from(BLOB.len()).unwrap();
        assert!(check::params(params, AT..end).is_err());
        assert!(BLOB.len().is_multiple_of(4096), "whole pages");
    }
}
