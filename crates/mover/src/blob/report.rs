//! The last words on the serial port.
//!
//! The UART is used as the old system left it, so that speed and format are what the other end
//! expects. Registers: National Semiconductor PC16550D, table "Register Summary".

use core::sync::atomic::{AtomicU16, Ordering};

use mover_abi::{Damage, hex};

use super::{MOVING, port, reset};

/// The first serial port of a PC, for when the parameters cannot say which.
const COM1: u16 = 0x3f8;

/// Offset of the line status register.
const LINE_STATUS: u16 = 5;
/// Line status: room for the next byte.
const HOLDING_EMPTY: u8 = 1 << 5;
/// Line status: all bytes are out on the wire.
const ALL_SENT: u8 = 1 << 6;

/// Reads of a port, about a microsecond each, after which a UART counts as absent: a byte takes
/// 9 ms at the slowest usual speed, 1200 baud.
const PATIENCE: u32 = 20_000;

static PORT: AtomicU16 = AtomicU16::new(COM1);

/// Says everything on `port` from now on; nothing if it is 0.
pub(super) fn use_port(port: u64) {
    PORT.store(u16::try_from(port).unwrap_or(0), Ordering::Relaxed);
}

/// Says what is damaged, and resets.
pub(super) fn damage(damage: &Damage) -> ! {
    say(b"pkram mover: ");
    damage.describe(&mut say);
    end()
}

/// Says what the processor reported, and resets.
pub(super) fn exception(vector: u64, at: u64, address: u64) -> ! {
    say(b"pkram mover: exception ");
    hex(vector, &mut say);
    say(b" at ");
    hex(at, &mut say);
    say(b", address ");
    hex(address, &mut say);
    end()
}

fn end() -> ! {
    let fate: &[u8] = match MOVING.load(Ordering::Relaxed) {
        false => b"; nothing was moved; resetting\r\n",
        true => b"; moving had begun; resetting\r\n",
    };
    say(fate);
    wait_for(ALL_SENT);
    reset::reset()
}

fn say(text: &[u8]) {
    let port = PORT.load(Ordering::Relaxed);
    if port == 0 {
        return;
    }
    for &byte in text {
        wait_for(HOLDING_EMPTY);
        // SAFETY: a UART's data register; at worst nothing is there.
        unsafe { port::write(port, byte) };
    }
}

fn wait_for(status: u8) {
    let port = PORT.load(Ordering::Relaxed);
    for _ in 0..PATIENCE {
        // SAFETY: a UART's line status register; at worst nothing is there.
        if port == 0 || unsafe { port::read(port + LINE_STATUS) } & status != 0 {
            return;
        }
    }
}
