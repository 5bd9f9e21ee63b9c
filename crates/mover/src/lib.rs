//! The mover: the program that runs between the two kernels, as a flat binary.
//!
//! ```text
//! kexec ─► BLOB at segment start: own stack, GDT, IDT
//!            │ check parameters ─► switch page tables ─► check the whole list
//!            │ move preserved pages ─► metadata ─► kernel, a time stamp after each
//!            ▼
//!          next kernel (RSI = boot_params, interrupts off)
//!          or, if anything is damaged: one line on the serial port, and a reset
//! ```
//!
//! `build.rs` compiles `src/blob/` with the plain stable toolchain; one toolchain makes one blob,
//! whatever the profile and wherever the sources lie. What the loader writes into it and how is in
//! [`mover_abi`]. `tests/rig/` runs it alone in QEMU.

/// The mover: a flat image, entered at offset 0, that runs at any page-aligned address.
///
/// Its length is a multiple of [`mover_abi::PAGE`], a stack of 16 KiB included. The loader
/// overwrites [`mover_abi::Params::SIZE`] bytes at [`mover_abi::PARAMS_OFFSET`].
pub const BLOB: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mover.bin"));

/// The blob's sources, as clippy and rustfmt see them; only `build.rs` compiles them for real.
#[cfg(clippy)]
#[path = "blob/main.rs"]
mod blob;

const _: () = assert!(BLOB.len().is_multiple_of(4096) && BLOB.len() <= 64 << 10);
