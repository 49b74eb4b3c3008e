; PVH entry: 32-bit protected mode, paging off, EBX = struct pvh_start_info.
; Builds identity tables for the low 4 GiB (2 MiB pages; everything from the
; device hole at 0xd0000000 on is uncached), enters long mode, enables SSE for
; those who ask for it, and calls guest_start(start_info) on a 32 KiB stack.

section .note.pvh note alloc noexec nowrite align=4
    dd 4, 8, 18             ; name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY
    db "Xen", 0
    dq start32

DEVICE_HOLE equ 0xd0000000
PAGE_PRESENT_WRITE_LARGE equ 0x83
PAGE_UNCACHED equ 0x18      ; PCD | PWT

section .text.start progbits alloc exec nowrite align=16
bits 32
global start32
start32:
    cli
    cld
    mov esp, stack_top
    mov eax, pdpt + 3
    mov [pml4], eax
    mov edi, pdpt
    mov eax, page_directories + 3
    mov ecx, 4
.directory:
    mov [edi], eax
    add edi, 8
    add eax, 4096
    loop .directory

    mov edi, page_directories
    mov eax, PAGE_PRESENT_WRITE_LARGE
    mov ecx, 4 * 512
.page:
    cmp eax, DEVICE_HOLE
    jb .cached
    or eax, PAGE_UNCACHED
.cached:
    mov [edi], eax
    add edi, 8
    add eax, 0x200000
    loop .page

    mov eax, cr4
    or eax, (1 << 5) | (1 << 9) | (1 << 10) ; PAE, OSFXSR, OSXMMEXCPT
    mov cr4, eax
    mov eax, pml4
    mov cr3, eax
    mov ecx, 0xc0000080     ; EFER
    rdmsr
    or eax, 1 << 8          ; LME
    wrmsr
    mov eax, cr0
    and eax, ~((1 << 2) | (1 << 3) | (1 << 30) | (1 << 29)) ; EM, TS, CD, NW
    or eax, (1 << 31) | (1 << 16) | (1 << 5) | (1 << 1) | 1 ; PG, WP, NE, MP, PE
    mov cr0, eax
    lgdt [gdt_pointer]
    jmp 0x08:start64

bits 64
start64:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov esp, stack_top
    xor ebp, ebp
    mov edi, ebx
    extern guest_start
    call guest_start
.halt:
    cli
    hlt
    jmp .halt

section .rodata
align 8
gdt:
    dq 0
    dq 0x00af9b000000ffff   ; 0x08: 64-bit code
    dq 0x00cf93000000ffff   ; 0x10: data
gdt_end:
gdt_pointer:
    dw gdt_end - gdt - 1
    dd gdt

global pml4
section .bss nobits alloc write align=4096
pml4: resb 4096
pdpt: resb 4096
page_directories: resb 4 * 4096
stack: resb 32768
stack_top:

section .note.GNU-stack noalloc noexec nowrite progbits
