//! From the old kernel into Rust, and out into the next kernel.
//!
//! | | in: `relocate_kernel_64.S` leaves (6.1 … 7.3) | out: `boot.rst`, "64-bit boot protocol" |
//! |---|---|---|
//! | mode | long mode, identity map, CR4 = PAE (LA57, MCE kept) | the same, our own map |
//! | SSE | off: CR4.OSFXSR is clear, the first SSE instruction is #UD | on |
//! | stack | 2 KiB of the control page | ours |
//! | GDT, IDT | none, or the old kernel's | ours: CS 0x10, DS ES SS 0x18, flat |
//! | interrupts | off | off |
//! | registers | zero | zero but RSI = `boot_params` |

use core::arch::global_asm;
use core::ops::Range;

use mover_abi::{PARAMS_OFFSET, Params};

use super::{exception, run};

/// What the mover knows when it starts.
pub(super) struct Start {
    /// The parameter block, alleged.
    pub(super) params: [u8; Params::SIZE],
    /// Where the mover lies: code, data and stack.
    pub(super) mover: Range<u64>,
    /// The TSC at the first instruction.
    pub(super) entered: u64,
}

/// Where to go; in RAX and RDX by the System V ABI (§3.2.3, two INTEGER eightbytes).
#[repr(C)]
pub(super) struct NextKernel {
    pub(super) entry: u64,
    pub(super) boot_params: u64,
}

global_asm!(
    r#"
    .section .text.entry, "ax"
    .globl mover_start
mover_start:
    jmp 2f
    .skip {params_offset} - (. - mover_start)
params:
    .skip {params_size}

2:  cli
    cld
    rdtsc
    shl rdx, 32
    lea rsi, [rax + rdx]            /* second argument: the time */
    mov rax, cr4
    or eax, 0x600                   /* OSFXSR, OSXMMEXCPT: Rust may use SSE from here on */
    mov cr4, rax

    lea rsp, [rip + stack_top]
    lea rax, [rip + gdt]
    push rax                        /* ten bytes: the limit of four descriptors, the base */
    sub rsp, 2
    mov word ptr [rsp], 31
    lgdt [rsp]
    lea rsp, [rip + stack_top]
    push 0x10
    lea rax, [rip + 3f]
    push rax
    retfq                           /* CS = 0x10 */
3:  mov eax, 0x18
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax

    xor ebp, ebp
    lea rdi, [rip + params]
    lea rdx, [rip + mover_start]
    lea rcx, [rip + mover_end]
    call {enter}

    push rax                        /* for the ret */
    mov rsi, rdx
    xor eax, eax
    xor ebx, ebx
    xor ecx, ecx
    xor edx, edx
    xor edi, edi
    xor ebp, ebp
    xor r8d, r8d
    xor r9d, r9d
    xor r10d, r10d
    xor r11d, r11d
    xor r12d, r12d
    xor r13d, r13d
    xor r14d, r14d
    xor r15d, r15d
    ret

    .section .rodata.gdt, "a"
    .balign 8
gdt:
    .quad 0, 0
    .quad 0x00af9b000000ffff        /* 0x10: 64-bit code, accessed */
    .quad 0x00cf93000000ffff        /* 0x18: data, accessed */

    .section .stack, "aw", @nobits
    .skip 16384
stack_top:
"#,
    params_offset = const PARAMS_OFFSET,
    params_size = const Params::SIZE,
    enter = sym enter,
);

/// Called by the stub above, once.
// SAFETY: unsafe to call, as `params` must be the block in the blob and the stack be set up. The
// stub does both before it calls, and nothing else can: no other code names it.
unsafe extern "sysv64" fn enter(
    params: *const [u8; Params::SIZE],
    entered: u64,
    start: u64,
    end: u64,
) -> NextKernel {
    exception::catch();
    // SAFETY: the stub passes the address of the block in the blob; nothing writes it while the
    // mover runs. Volatile, because the compiler sees only the zeros that the loader overwrote.
    let params = unsafe { params.read_volatile() };
    run(&Start { params, mover: start..end, entered })
}
