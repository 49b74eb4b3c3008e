"""2 MiB mappings: made while memory is plenty, cut under pressure, made again after."""
from harness import Case, console_never_says, host, host_counter, verified, vm, vm_counter

POSITIVE = lambda value: value > 0
ZERO = lambda value: value == 0
FEW = lambda value: 0 < value < 600

CASES = [
    Case("large mappings in enough memory",
         host("64M", "none") +
         vm("alone", "workload=fill seed=1 ws=12M", memory="24M"),
         [verified("alone", pages=3000), vm_counter("alone", "large", POSITIVE, "positive"),
          vm_counter("alone", "faults_zero", FEW, "below 600"),
          host_counter("large_made", POSITIVE, "positive"), console_never_says("error: ")]),
    Case("large mappings switched off",
         host("64M", "none", large_pages="off") +
         vm("alone", "workload=fill seed=1 ws=12M", memory="24M"),
         [verified("alone", pages=3000), host_counter("large_made", ZERO, "0"),
          vm_counter("alone", "faults_zero", lambda value: value > 3000, "above 3000")]),
    # The second guest leaves; the first, which kept its frames, gets its mappings back.
    Case("large mappings under pressure and after",
         host("48M", "compress swap") +
         vm("stays", "workload=fill seed=1 ws=16M rounds=50 mix=0:100:0:0", memory="24M",
            reserve="20M") +
         vm("leaves", "workload=fill seed=2 ws=24M rounds=1", memory="32M", shares=4000),
         [verified("stays", "leaves"), vm_counter("stays", "large_made", POSITIVE, "positive"),
          vm_counter("stays", "large_split", POSITIVE, "positive"),
          vm_counter("stays", "large_coalesced", POSITIVE, "positive"),
          vm_counter("stays", "large", POSITIVE, "positive")]),
]
