#!/usr/bin/python3
"""What 2 MiB mappings save, in instructions a touched page.

    large.py [--machine bochs|tcg] ...

Runs bench/guest/large.c with `large_pages = on` and `off` in the emulators, whose
time stamp counters count instructions (Bochs: VT-x; QEMU with -icount: AMD-V), and
prints both. Page walks take no instructions: what they save is not in these figures.
"""
import argparse
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tools"))
import machines
import runner

BUILD = os.path.join(ROOT, "build")
WORK = os.path.join(BUILD, "bench", "large")
CONFIG = """\
[host]
memory = 64M
tiers = none
seed = 1
duration = 120s
large_pages = {large}

[vm large]
memory = 24M
image = {guest}
"""


def measure(machine, cpu, large):
    """{figure: instructions each}."""
    folder = os.path.join(WORK, f"{machine}-{large}")
    os.makedirs(folder, exist_ok=True)
    config, image = os.path.join(folder, "large.conf"), os.path.join(folder, "large.img")
    with open(config, "w", encoding="ascii") as file:
        file.write(CONFIG.format(large=large, guest=os.path.join(BUILD, "bench", "large.elf")))
    subprocess.run([sys.executable, os.path.join(ROOT, "tools", "mkimage.py"), "--config", config,
                    "--out", image, "--hypervisor",
                    os.path.join(BUILD, "release", "ballast.elf")], cwd=ROOT, check=True,
                   stdout=subprocess.DEVNULL)
    options = machines.Options(256, cpu)
    ticks = machines.tcg_tick_ns(options) if machine == "tcg" else 1
    lines = []
    outcome = runner.run(os.path.join(folder, "run"), image, machine, options, 600, lines.append)
    if not outcome.ok:
        sys.exit(f"large: the run ended with {outcome.last_line!r}, see {folder}")
    found = (re.search(r"large: (\w+) (\d+) of (\d+)", line) for line in lines)
    return {one[1]: int(one[2]) / ticks / int(one[3]) for one in found if one}


def main():
    parser = argparse.ArgumentParser(description="What 2 MiB mappings save.")
    parser.add_argument("--machine", choices=("bochs", "tcg"), action="append")
    parser.add_argument("--cpu", default="corei7_skylake_x", help="Bochs model")
    arguments = parser.parse_args()
    print(f"{'instructions each':24}{'off':>10}{'on':>10}")
    for machine in arguments.machine or ("bochs", "tcg"):
        off, on = (measure(machine, arguments.cpu, large) for large in ("off", "on"))
        for name in off:
            print(f"{machine + ' ' + name:24}{off[name]:10.0f}{on[name]:10.0f}")


if __name__ == "__main__":
    main()
