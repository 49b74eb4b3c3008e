"""Faults of the hypervisor itself, planted into its code: a register dump, a
backtrace with names, one last line, and the machine is off.
"""
from harness import Case, console_says, host, vm

CONFIG = host("48M") + vm("fill", "workload=fill seed=1 ws=4M rounds=1", memory="16M")
UD2 = b"\x0f\x0b"
# push %rax; jmp to it: runs over the end of the stack
PUSH_FOREVER = b"\x50\xeb\xfd"
# mov %al, this instruction: the text cannot be written
WRITE_TEXT = b"\x88\x05\xfa\xff\xff\xff"
# jump to the stack: data is never executed
RUN_STACK = b"\xff\xe4"


def panics(name, code, reason, checks=()):
    return Case(f"panic: {name}", CONFIG,
                [console_says(r"error:   rax [0-9a-f]{16}  rcx"), *checks],
                result=f"failed: panic: {reason}", telemetry=False, planted=("loop_run", code))


CASES = [
    panics("bad instruction", UD2, r"invalid opcode .* loop_run\+0x0",
           [console_says(r"error:   at [0-9a-f]{16} loop_run\+0x0"),
            console_says(r"error:   at [0-9a-f]{16} main\+0x")]),
    panics("stack overflow", PUSH_FOREVER, r"double fault \(.*stack overflow\) .* loop_run\+0x.*"),
    panics("write to text", WRITE_TEXT, r"page fault \(vector 14, error 0x3\) .* loop_run\+0x0"),
    panics("execution of data", RUN_STACK, r"page fault \(vector 14, error 0x11\) .*"),
]
