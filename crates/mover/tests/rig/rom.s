/* The rig's own firmware: 64 KiB below 4 GiB, so that nothing but the mover touches memory.

   Mailbox at 0x500: u32 CR3, u32 CR4, u64 address of the mover.
   It leaves the old kernel's last state (relocate_kernel_64.S) and enters the mover; `next`, at
   0xffff1000, stands for the next kernel: it leaves what it finds at 0x600 and ends QEMU. */

    .section .rom, "ax"
    .code32
rom:
protected:
    movw $0x18, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $0x400, 0xfee00360     /* local APIC, LINT1: NMIs come through */
    movl 0x504, %eax
    movl %eax, %cr4             /* PAE, and LA57 if the case says so; no OSFXSR */
    movl 0x500, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx      /* EFER = SCE, LME, NXE (LMA follows) */
    movl $0x901, %eax
    xorl %edx, %edx
    wrmsr
    movl $0x80000033, %eax      /* CR0 = PG, NE, ET, MP, PE */
    movl %eax, %cr0
    ljmp $0x10, $long

    .code64
long:
    lgdt none(%rip)             /* 6.1 and 6.12 leave neither GDT nor IDT */
    lidt none(%rip)
    movl $0x508, %esp
    xorl %eax, %eax
    xorl %ebx, %ebx
    xorl %ecx, %ecx
    xorl %edx, %edx
    ret                         /* to the mover; the stack that is left is none */

    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff    /* 0x08: 32-bit code */
    .quad 0x00af9b000000ffff    /* 0x10: 64-bit code */
    .quad 0x00cf93000000ffff    /* 0x18: data */
gdtr:
    .word . - gdt - 1
    .long gdt
none:
    .word 0
    .quad 0

    .org 0x1000
next:
    movq %rax, 0x600
    movq %rbx, 0x608
    movq %rcx, 0x610
    movq %rdx, 0x618
    movq %rsi, 0x620
    movq %rdi, 0x628
    movq %rbp, 0x630
    movq %rsp, 0x638
    movq %r8,  0x640
    movq %r9,  0x648
    movq %r10, 0x650
    movq %r11, 0x658
    movq %r12, 0x660
    movq %r13, 0x668
    movq %r14, 0x670
    movq %r15, 0x678
    movl $0x800, %esp
    pushfq
    popq 0x680
    movq %cr0, %rax
    movq %rax, 0x688
    movq %cr3, %rax
    movq %rax, 0x690
    movq %cr4, %rax
    movq %rax, 0x698
    movl %cs, %eax
    movq %rax, 0x6a0
    movl %ds, %eax
    movq %rax, 0x6a8
    movl %es, %eax
    movq %rax, 0x6b0
    movl %ss, %eax
    movq %rax, 0x6b8
    movl %eax, %ss              /* the descriptor is really there */
    movb $0x10, %al
    outb %al, $0xf4             /* isa-debug-exit: 0x10 << 1 | 1 */
    hlt

    .org 0xff00
    .code16
start:
    lgdtl %cs:(gdtr - rom)
    movl $0x11, %eax
    movl %eax, %cr0
    ljmpl $0x08, $protected

    .org 0xfff0
    jmp start
    .org 0x10000
