; Where a further CPU begins: copied to a page below 1 MiB (hv/cpus.c), entered in
; real mode at its first byte with CS = page >> 4, the state INIT leaves (SDM
; volume 3, 8.4 and table 9-1). Goes through protected mode to long mode, draws a
; number, waits until the boot CPU has put a stack into that number's place, and
; calls entry(number).
;
; Position-independent: EBX holds the page's address. Several CPUs may run it at
; once; what they write is the same for all.

CR0_VALUE equ 0x80010033        ; PG, WP, NE, ET, MP, PE; caches on
CR4_PAE   equ 1 << 5
EFER      equ 0xc0000080
EFER_BITS equ 1 << 8 | 1 << 11  ; LME, NXE

global startup_code:data, startup_data:data, startup_end:data

%define AT(label) (label - startup_code)

section .rodata align=16
startup_code:
bits 16
    cli
    cld
    mov ax, cs
    mov ds, ax
    movzx ebx, ax
    shl ebx, 4
    lea eax, [ebx + AT(gdt)]
    mov [AT(gdt_pointer) + 2], eax
    lea eax, [ebx + AT(protected)]
    mov [AT(protected_pointer)], eax
    lea eax, [ebx + AT(long_mode)]
    mov [AT(long_pointer)], eax
    o32 lgdt [AT(gdt_pointer)]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp dword far [AT(protected_pointer)]

bits 32
protected:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov eax, CR4_PAE
    mov cr4, eax
    mov eax, [ebx + AT(startup_data.root)]
    mov cr3, eax
    mov ecx, EFER
    rdmsr
    or eax, EFER_BITS
    wrmsr
    mov eax, CR0_VALUE
    mov cr0, eax
    jmp far [ebx + AT(long_pointer)]

bits 64
long_mode:
    mov edi, 1
    lock xadd [rbx + AT(startup_data.drawn)], edi
    cmp edi, [rbx + AT(startup_data.limit)]
    jae .park
.wait:
    pause
    mov rsp, [rbx + AT(startup_data.stacks) + rdi * 8]
    test rsp, rsp
    jz .wait
    xor ebp, ebp                ; the end of every backtrace
    push rbp
    jmp [rbx + AT(startup_data.entry)]
.park:
    cli
    hlt
    jmp .park

align 8
gdt:
    dq 0
    dq 0x00cf9b000000ffff       ; 0x08: 32-bit code
    dq 0x00cf93000000ffff       ; 0x10: data
    dq 0x00af9b000000ffff       ; 0x18: 64-bit code
gdt_pointer:
    dw 4 * 8 - 1
    dd 0
align 8
protected_pointer:
    dd 0
    dw 0x08
align 8
long_pointer:
    dd 0
    dw 0x18

; struct startup (hv/cpus.c)
align 8
startup_data:
.entry: dq 0
.root:  dd 0
.drawn: dd 0
.limit: dd 0
        dd 0
.stacks: times 16 dq 0
startup_end:
