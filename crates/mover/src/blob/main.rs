//! The mover itself: check everything, then move everything, then enter the next kernel.
//!
//! | file | idea |
//! |---|---|
//! | `entry` | from the old kernel into Rust, and out into the next kernel |
//! | `exception` | what the processor reports while we run |
//! | `memory` | physical memory: page tables, list pages, copies, the timeline |
//! | `report` | the last words on the serial port |
//! | `port` | I/O ports |
//! | `reset` | the end when something is wrong |
//! | `libcall` | `memcpy` and its kin, which the compiler takes for granted |
//!
//! There is no way to panic: the panic handler calls a function that does not exist, so the
//! mover links only if the compiler has found every panic unreachable.

#![cfg_attr(mover_blob, no_std)]
#![cfg_attr(mover_blob, no_main)]

mod entry;
mod exception;
mod libcall;
mod memory;
mod port;
mod report;
mod reset;

use core::sync::atomic::{AtomicBool, Ordering};

use entry::{NextKernel, Start};
use mover_abi::Timeline;
use mover_abi::check::{self, List};

/// Whether a move has begun: from then on the old system is no longer whole.
static MOVING: AtomicBool = AtomicBool::new(false);

/// Does the mover's work; what it returns is entered.
fn run(start: &Start) -> NextKernel {
    let params =
        check::params(&start.params, start.mover.clone()).unwrap_or_else(|d| report::damage(&d));
    report::use_port(params.serial_port);
    // SAFETY: the block is whole, so the root is the one that the loader made, who maps there,
    // onto itself, all that the mover touches; and it lies in the mover segment past the blob,
    // which no move writes.
    unsafe { memory::use_page_table(params.page_table) };
    // SAFETY: `List` asks only for page-aligned addresses below the limit that the whole parameter
    // block or a whole list page names, and the loader has mapped those. Nothing is moved before
    // `List::check` has accepted, which refuses moves that write to a list page.
    let list_page = |addr| unsafe { memory::page(addr) };
    let list = List::check(&params, list_page).unwrap_or_else(|d| report::damage(&d));
    let checked = memory::ticks();

    MOVING.store(true, Ordering::Relaxed);
    let mut moves = list.moves();
    let [moved, composed, placed] = params.phase_moves.map(|count| {
        for m in moves.by_ref().take(usize::try_from(count).unwrap_or(usize::MAX)) {
            // SAFETY: the list is checked: both ranges are whole, they do not overlap, and the
            // destination is neither in the mover segment nor in a list page.
            unsafe { memory::copy(&m) };
        }
        memory::ticks()
    });
    if params.timeline != 0 {
        let timeline = Timeline { entered: start.entered, checked, moved, composed, placed };
        // SAFETY: `check::params` has found the place whole and outside the mover segment, and
        // the list is not read any more.
        unsafe { memory::write(params.timeline, &timeline.to_bytes()) };
    }
    NextKernel { entry: params.entry, boot_params: params.boot_params }
}

#[cfg(mover_blob)]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // SAFETY: nothing has this name. A mover in which this call is left does not link, so it is
    // never made.
    unsafe extern "C" {
        safe fn the_mover_can_panic() -> !;
    }
    the_mover_can_panic()
}
