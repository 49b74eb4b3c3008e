; Where the guest's other processors begin: copied to SMP_PAGE (smp.c), entered in
; real mode. Goes to long mode with the tables of the first processor (start.asm),
; draws a number from 1 on, takes that number's stack and calls smp_arrive(number).

SMP_PAGE    equ 0x8000
STACK_BYTES equ 8192

global smp_start_code, smp_start_end, smp_drawn
extern pml4, smp_stacks, smp_arrive

%define AT(label) (SMP_PAGE + (label - smp_start_code))

section .rodata
align 16
smp_start_code:
bits 16
    cli
    cld
    xor ax, ax
    mov ds, ax
    o32 lgdt [AT(gdt_pointer)]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp dword 0x08:AT(protected)
bits 32
protected:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov eax, (1 << 5) | (1 << 9) | (1 << 10) ; PAE, OSFXSR, OSXMMEXCPT
    mov cr4, eax
    mov eax, pml4
    mov cr3, eax
    mov ecx, 0xc0000080     ; EFER
    rdmsr
    or eax, 1 << 8          ; LME
    wrmsr
    mov eax, 0x80010033     ; PG, WP, NE, ET, MP, PE
    mov cr0, eax
    jmp 0x18:AT(long_mode)
bits 64
long_mode:
    mov edi, 1
    lock xadd [smp_drawn], edi
    inc edi
    mov eax, edi
    imul eax, eax, STACK_BYTES
    lea rsp, [rax + smp_stacks]
    xor ebp, ebp
    mov eax, smp_arrive
    call rax
.halt:
    cli
    hlt
    jmp .halt
align 8
gdt:
    dq 0
    dq 0x00cf9b000000ffff   ; 0x08: 32-bit code
    dq 0x00cf93000000ffff   ; 0x10: data
    dq 0x00af9b000000ffff   ; 0x18: 64-bit code
gdt_pointer:
    dw 4 * 8 - 1
    dd AT(gdt)
smp_start_end:

section .data
align 4
smp_drawn: dd 0

section .note.GNU-stack noalloc noexec nowrite progbits
