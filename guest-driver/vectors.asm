; Interrupt entries: 64 stubs of 16 bytes each. Every stub leaves the frame of
; struct interrupt_frame (interrupts.h) on the stack and calls
; interrupt_dispatch(frame). Vector registers are not saved: no C code of the
; guest touches them.

VECTOR_COUNT equ 64
; Exceptions that push an error code: 8, 10-14, 17, 21, 29, 30.
ERROR_CODE_VECTORS equ (1 << 8) | (0x1f << 10) | (1 << 17) | (1 << 21) | (1 << 29) | (1 << 30)

section .text
bits 64
global interrupt_stubs
align 16
interrupt_stubs:
%assign vector 0
%rep VECTOR_COUNT
    align 16
  %if (vector >= 32) || (((ERROR_CODE_VECTORS >> vector) & 1) == 0)
    push qword 0
  %endif
    push qword vector
    jmp near interrupt_entry
  %assign vector vector + 1
%endrep

align 16
interrupt_entry:
    push rax
    push rcx
    push rdx
    push rbx
    push rbp
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    mov rdi, rsp
    mov rbp, rsp
    and rsp, -16
    cld
    extern interrupt_dispatch
    call interrupt_dispatch
    mov rsp, rbp
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rbp
    pop rbx
    pop rdx
    pop rcx
    pop rax
    add rsp, 16             ; vector, error code
    iretq

section .note.GNU-stack noalloc noexec nowrite progbits
