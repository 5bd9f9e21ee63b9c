//! Physical memory: page tables, list pages, copies, the timeline.

use core::arch::asm;
use core::arch::x86_64::_rdtsc;
use core::ptr;

use mover_abi::{Move, PageBytes};

/// The time-stamp counter.
pub(super) fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has it, and CR4.TSD is clear in kernel mode or without effect.
    unsafe { _rdtsc() }
}

/// Makes `root` the page table.
///
/// # Safety
/// It maps the mover segment, and all that is used afterwards, onto itself; nothing writes it.
pub(super) unsafe fn use_page_table(root: u64) {
    // SAFETY: what runs and what is used stays where it is, by the caller's promise. Not
    // `nomem`: what lies at other addresses may change.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
}

/// The page at `addr`.
///
/// # Safety
/// `addr` is page-aligned and mapped onto itself, and nothing writes the page any more.
pub(super) unsafe fn page(addr: u64) -> &'static PageBytes {
    // SAFETY: by the caller's promise it is readable, aligned and constant; all bytes are valid.
    unsafe { &*pointer(addr) }
}

/// Copies what `m` says, eight bytes a step (lengths are whole pages). Processors copy long runs
/// of `rep movsq` by the cache line.
///
/// # Safety
/// Both ranges are mapped onto themselves and do not overlap, and nothing in Rust's hands lies in
/// the destination.
pub(super) unsafe fn copy(m: &Move) {
    // SAFETY: the caller's promise; the direction flag is clear since the entry.
    unsafe {
        asm!(
            "rep movsq",
            inout("rcx") m.len / 8 => _,
            inout("rsi") m.from => _,
            inout("rdi") m.to => _,
            options(nostack, preserves_flags)
        );
    }
}

/// Writes `bytes` at `addr`.
///
/// # Safety
/// The bytes there are mapped onto themselves, and nothing in Rust's hands lies in them.
pub(super) unsafe fn write<const N: usize>(addr: u64, bytes: &[u8; N]) {
    // SAFETY: the caller's promise; an array of bytes needs no alignment.
    unsafe { pointer::<[u8; N]>(addr).cast_mut().write_volatile(*bytes) };
}

/// Physical addresses are `usize` wide here.
#[expect(clippy::cast_possible_truncation, reason = "x86-64 only")]
fn pointer<T>(addr: u64) -> *const T {
    ptr::with_exposed_provenance(addr as usize)
}
