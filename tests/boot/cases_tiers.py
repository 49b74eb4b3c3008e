"""Each tier alone, all together, and the same bytes twice."""
import os

from harness import (ROOT, Case, below_ppm, console_never_says, event, host, host_counter, net,
                     only_tiers, overcommitted, swap_untouched, swap_written, verified, vm,
                     vm_counter)

with open(os.path.join(ROOT, "experiments", "demo.conf"), encoding="ascii") as file:
    DEMO = file.read().replace("../build/", os.path.join(ROOT, "build") + "/")

DEMO_VMS = [line.split()[1].rstrip("]") for line in DEMO.splitlines() if line.startswith("[vm ")]
POSITIVE = lambda value: value > 0
ZERO = lambda value: value == 0

# More than two clones' content, all the same: fits only when shared.
SHARE = (host("32M", "share", share_pages=512) +
         "".join(vm(f"clone{i}", f"workload=clones seed={i} ws=10M rounds=4 private=5",
                    memory="16M", share_group="all") for i in range(3)))
# One guest frees most of what it touched; a cache then grows into it. Nothing
# but the balloon can take the freed pages back.
BALLOON = (host("42M", "balloon") +
           vm("grow", "workload=grow seed=1 ws=18M phases=6 ticks=300", memory="20M") +
           vm("cache", "workload=cache seed=2 ws=22M requests=40000 ticks=400", memory="26M"))
# Text compresses by two to three.
COMPRESS = (host("32M", "compress") +
            "".join(vm(f"text{i}", f"workload=fill seed={i} ws=18M rounds=1 mix=0:100:0:0",
                       memory="24M") for i in range(2)))
# Random words do not.
SWAP = (host("32M", "swap") +
        "".join(vm(f"random{i}", f"workload=fill seed={i} ws=15M rounds=1 mix=100:0:0:0",
                   memory="24M") for i in range(2)))
SMALL = (host("24M") + vm("clone1", "workload=clones seed=1 ws=8M", memory="16M", share_group="g") +
         vm("clone2", "workload=clones seed=2 ws=8M", memory="16M", share_group="g") +
         vm("cache", "workload=cache seed=3 ws=10M requests=4000", memory="16M") +
         vm("fill", "workload=fill seed=4 ws=10M", memory="16M"))


def three_found(run):
    """The guest that falsified three pages of its own has found three."""
    end = run.vm("liar")
    found = (end["status"], end.get("mismatched", 0))
    return "" if found == (1, 3) else f"liar: status and mismatches are {found}, not (1, 3)"


METADATA = [below_ppm("metadata_ppm", 5000), below_ppm("table_ppm", 2500)]

CASES = [
    Case("one guest, enough memory",
         host("64M", "none") + vm("alone", "workload=fill seed=1 ws=12M", memory="24M"),
         [verified("alone", pages=3000), only_tiers(), swap_untouched]),
    Case("a page that differs is noticed",
         host("64M", "none") + vm("honest", "workload=fill seed=1 ws=4M", memory="16M") +
         vm("liar", "workload=fill seed=2 ws=4M corrupt=3", memory="16M"),
         [verified("honest"), three_found], result="failed: .*liar.*", mismatches=True),
    Case("tier share alone", SHARE,
         [verified("clone0", "clone1", "clone2"), only_tiers("share"), net("share"),
          host_counter("share_merged", POSITIVE, "positive"),
          vm_counter("clone1", "faults_cow", POSITIVE, "positive"), swap_untouched]),
    Case("tier balloon alone", BALLOON,
         [verified("grow", "cache"), only_tiers("balloon"), net("balloon"),
          vm_counter("grow", "inflated", POSITIVE, "positive"), swap_untouched]),
    Case("tier compress alone", COMPRESS,
         [verified("text0", "text1"), only_tiers("compress"), net("compress"),
          vm_counter("text0", "faults_pool", POSITIVE, "positive"), swap_untouched]),
    Case("tier swap alone", SWAP,
         [verified("random0", "random1"), only_tiers("swap"), net("swap"), swap_written,
          vm_counter("random0", "faults_swap", POSITIVE, "positive"),
          host_counter("swap_tampered", ZERO, "0")]),
    # The cache checks what it hits, which depends on when it had to give way.
    Case("the demonstration, all tiers", DEMO,
         [verified(*DEMO_VMS), overcommitted(2.5), net("share"), net("balloon"),
          net("compress"), net("swap"), event("state", new="soft"), swap_written,
          console_never_says("error: ")] + METADATA, limit=900,
         alike=tuple(name for name in DEMO_VMS if name != "cache")),
    # EPT as it was before Haswell: cold pages are found without accessed bits.
    Case("no accessed and dirty bits",
         host("20M") + vm("fill", "workload=fill seed=1 ws=15M rounds=1", memory="24M") +
         vm("clones", "workload=clones seed=2 ws=8M rounds=1", memory="24M"),
         [verified("fill", "clones"), net("compress"), swap_written],
         cpu="corei7_sandy_bridge_2600k"),
    Case("the same bytes twice", SMALL, [verified("clone1", "clone2", "cache", "fill")],
         limit=700, repeat=True),
]
