//! What the processor reports while we run: said on the serial port, then reset.
//!
//! An exception here means that a page is not mapped or that memory fails. The old kernels leave
//! no IDT, so without this one the machine would reset without a word. A non-maskable interrupt
//! is nobody's now: it is ignored.

use core::arch::{asm, global_asm};
use core::array;

use super::report;

/// Vectors that Intel reserves for exceptions (SDM vol. 3A, table 6-1).
const VECTORS: usize = 32;

/// The vectors that push an error code before the return address (same table).
const WITH_ERROR_CODE: u32 = 1 << 8 | 0b11111 << 10 | 1 << 17 | 1 << 21 | 0b11 << 29;

/// Bytes of code for one vector in the table below.
const STUB: u64 = 16;

const NMI: usize = 2;

/// A 64-bit interrupt gate (SDM vol. 3A, figure 6-8).
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Gate {
    low: u64,
    high: u64,
}

impl Gate {
    /// Present, to `target` in segment 0x10.
    fn to(target: u64) -> Self {
        let low = target & 0xffff | 0x10 << 16 | 0x8e00 << 32 | (target >> 16 & 0xffff) << 48;
        Self { low, high: target >> 32 }
    }
}

/// What `lidt` reads.
#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

static mut IDT: [Gate; VECTORS] = [Gate { low: 0, high: 0 }; VECTORS];

global_asm!(
    r#"
    .section .text.exceptions, "ax"
    .balign {stub}
exception_stubs:
    .set vector, 0
    .rept {vectors}
    .byte 0x6a, vector              /* push vector */
    jmp 2f
    .balign {stub}
    .set vector, vector + 1
    .endr
2:  pop rdi
    mov rsi, rsp
    mov rdx, cr2
    and rsp, -16
    call {exception}
ignore_interrupt:
    iretq
"#,
    stub = const STUB,
    vectors = const VECTORS,
    exception = sym exception,
);

/// Installs the IDT.
pub(super) fn catch() {
    let (stubs, ignore): (u64, u64);
    // SAFETY: only computes addresses. (An extern static would be reached by a relocation.)
    unsafe {
        asm!(
            "lea {}, [rip + exception_stubs]",
            "lea {}, [rip + ignore_interrupt]",
            out(reg) stubs,
            out(reg) ignore,
            options(nomem, nostack, preserves_flags)
        );
    }
    let gates = array::from_fn(|vector| match vector {
        NMI => Gate::to(ignore),
        _ => Gate::to(stubs + STUB * vector as u64),
    });
    let table = &raw mut IDT;
    // SAFETY: one processor runs, and nothing refers to the table before `lidt`.
    unsafe { table.write(gates) };
    #[expect(clippy::cast_possible_truncation, reason = "512 bytes")]
    let limit = size_of::<[Gate; VECTORS]>() as u16 - 1;
    let pointer = TablePointer { limit, base: table.addr() as u64 };
    // SAFETY: the table stays where it is, and its gates lead to code that may run at any time.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer, options(readonly, nostack)) };
}

/// Called by the stubs with the stack as the processor left it.
unsafe extern "sysv64" fn exception(vector: u32, frame: *const u64, address: u64) -> ! {
    let error_code = usize::from(1 << (vector & 31) & WITH_ERROR_CODE != 0);
    // SAFETY: the processor has pushed RIP, after the error code if this vector has one.
    let at = unsafe { frame.wrapping_add(error_code).read() };
    report::exception(vector.into(), at, address)
}
