; Where the loader enters the hypervisor: RDI = struct boot_info in the direct
; map, interrupts off, paging on with the loader's tables, BSS already zero.
; Takes the hypervisor's own stack and calls main(); main() does not return.
;
; The page below the stack is left unmapped by hv/paging.c, so running over the
; end faults (and the #DF stack reports it).

STACK_SIZE equ 64 * 1024

global hv_entry:function
global hv_stack_guard, hv_stack_top
extern main

section .text
hv_entry:
    cli
    cld
    lea rsp, [rel hv_stack_top]
    xor ebp, ebp            ; the end of every backtrace
    push rbp                ; return address slot of main(): also an end mark
    jmp main

section .bss align=4096
hv_stack_guard: resb 4096
hv_stack:       resb STACK_SIZE
hv_stack_top:
