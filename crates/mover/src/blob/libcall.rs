//! `memcpy` and its kin, which the compiler takes for granted and a libc would bring.
//!
//! String instructions, because the compiler would turn a loop back into a call.

use core::arch::asm;
use core::ffi::{c_int, c_void};

// SAFETY: the name is C's, and so is what it does; no libc is linked that has it too. Callers owe
// what C asks of them: ranges that are valid and do not overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut c_void, from: *const c_void, len: usize) -> *mut c_void {
    // SAFETY: C11 §7.24.2.1: both ranges are valid and do not overlap; the direction flag is clear.
    unsafe {
        asm!(
            "rep movsb",
            inout("rcx") len => _,
            inout("rdi") to => _,
            inout("rsi") from => _,
            options(nostack, preserves_flags)
        );
    }
    to
}

// SAFETY: as for `memcpy`; callers owe one valid range.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut c_void, value: c_int, len: usize) -> *mut c_void {
    // SAFETY: C11 §7.24.6.1: the range is valid; the direction flag is clear.
    unsafe {
        asm!(
            "rep stosb",
            inout("rcx") len => _,
            inout("rdi") to => _,
            in("eax") value,
            options(nostack, preserves_flags)
        );
    }
    to
}
