//! I/O ports.

use core::arch::asm;

/// Reads a byte.
///
/// # Safety
/// Reading `port` has no effect on memory.
pub(super) unsafe fn read(port: u16) -> u8 {
    let value;
    // SAFETY: the caller's promise.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack)) };
    value
}

/// Writes a byte.
///
/// # Safety
/// Writing `value` to `port` has no effect on memory that is still used.
pub(super) unsafe fn write(port: u16, value: u8) {
    // SAFETY: the caller's promise.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack)) };
}
