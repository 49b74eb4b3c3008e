"""Guests that misbehave, each beside one that must not notice (tests/guest)."""
import os

from harness import (BUILD, Case, ended, host, verified, vm)

HOSTILE = os.path.join(BUILD, "tests", "guest")


def beside_victim(name, reason, cmdline="", memory="16M", host_memory="32M", checks=()):
    """The hostile guest and a guest that fills and verifies its memory."""
    image = os.path.join(HOSTILE, name + ".elf")
    config = (host(host_memory) + vm("victim", "workload=fill seed=1 ws=14M rounds=2",
                                     memory="20M", reserve="4M") +
              vm("hostile", cmdline, memory=memory, image=image))
    return Case(f"hostile guest: {name}", config,
                [verified("victim", pages=3000), ended("hostile", reason), *checks],
                result="failed: .*")


CASES = [
    beside_victim("triple_fault", r"(?i)triple fault"),
]
