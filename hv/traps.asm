; The 256 entries of the IDT: each pushes its vector (and 0 where the CPU pushes
; no error code), the rest saves the general registers as struct trap_frame
; (hv/cpu.h) has them and calls trap_handle(frame).

extern trap_handle
global trap_stubs:data

section .text
%macro stub 1
trap_stub_%1:
  ; vectors with an error code: SDM volume 3, table 6-1
  %if %1 == 8 || (%1 >= 10 && %1 <= 14) || %1 == 17 || %1 == 21 || %1 == 29 || %1 == 30
  %else
    push qword 0
  %endif
    push qword %1
    jmp trap_common
%endmacro

%assign vector 0
%rep 256
    stub vector
  %assign vector vector + 1
%endrep

trap_common:
    push r15
    push r14
    push r13
    push r12
    push r11
    push r10
    push r9
    push r8
    push rdi
    push rsi
    push rbp
    push rbx
    push rdx
    push rcx
    push rax
    cld
    mov rdi, rsp
    mov rbx, rsp
    and rsp, -16
    call trap_handle
    mov rsp, rbx
    pop rax
    pop rcx
    pop rdx
    pop rbx
    pop rbp
    pop rsi
    pop rdi
    pop r8
    pop r9
    pop r10
    pop r11
    pop r12
    pop r13
    pop r14
    pop r15
    add rsp, 16             ; vector, error code
    iretq

section .rodata align=8
trap_stubs:
%assign vector 0
%rep 256
    dq trap_stub_ %+ vector
  %assign vector vector + 1
%endrep
