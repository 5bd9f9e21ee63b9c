//! The end when something is wrong: a reset, by three ways until one works.

use core::arch::asm;

use super::port;

/// Reset control register of Intel and compatible chipsets (e.g. ICH9 datasheet §13.7.5): bit 1
/// chooses a hard reset, the rise of bit 2 does it.
const RESET_CONTROL: u16 = 0xcf9;
/// Command port of the 8042 keyboard controller; 0xfe pulses the processor's reset line.
const KEYBOARD_COMMAND: u16 = 0x64;
const PULSE_RESET: u8 = 0xfe;

/// Resets the machine.
pub(super) fn reset() -> ! {
    for (port, value) in
        [(RESET_CONTROL, 0x02), (RESET_CONTROL, 0x06), (KEYBOARD_COMMAND, PULSE_RESET)]
    {
        // SAFETY: a reset is what is wanted; these ports do nothing else.
        unsafe { port::write(port, value) };
        for _ in 0..10_000 {
            // SAFETY: reading the 8042's status does nothing; it takes about a microsecond.
            unsafe { port::read(KEYBOARD_COMMAND) };
        }
    }
    let no_table = [0_u8; 10];
    // SAFETY: with an IDT of no entries the breakpoint cannot be delivered, nor the fault about
    // that: a triple fault, which resets the processor.
    unsafe { asm!("lidt [{}]", "int3", in(reg) &raw const no_table, options(noreturn)) }
}
