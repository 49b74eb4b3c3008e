"""What an exit costs must not grow: instructions a round trip, counted by the clocks
of Bochs and QEMU, on the release build (bench/exits.py has the goals)."""
import os
import re
import sys

import machines
from harness import BUILD, ROOT, Case

sys.path.insert(0, os.path.join(ROOT, "bench"))
import exits

RELEASE = os.path.join(BUILD, "release", "ballast.elf")
GUEST = os.path.join(BUILD, "bench", "exits.elf")
WANTED = ("cpuid", "port_read", "tsc_adjust_write", "zero_fault", "cow_fault", "takeback_fault",
          "pool_fault")


def figures(run):
    """{name: instructions}"""
    tick = machines.tcg_tick_ns(machines.Options()) if run.machine == "tcg" else 1
    lines = (re.search(r"exits: (\w+) (\d+) of (\d+)", line) for line in run.console)
    return {hit[1]: round(int(hit[2]) / tick) for hit in lines if hit and int(hit[3])}


def within_goals(run):
    """Every figure is there and within its goal."""
    found = figures(run)
    missing = [name for name in WANTED if exits.BEYOND.get(name, name) not in found]
    if missing:
        return f"no figure for {', '.join(missing)}"
    for name in WANTED:
        beyond = found.get(exits.BEYOND.get(name), found[name] - found.get(exits.OWN.get(name), 0))
        if beyond > exits.goal(run.machine, name):
            return f"{name} takes {beyond} instructions, goal {exits.goal(run.machine, name)}"
    return ""


CONFIG = exits.CONFIG.format(mitigations="auto", exits=GUEST)

CASES = [Case("what an exit costs", CONFIG, [within_goals], image=["--hypervisor", RELEASE])]
