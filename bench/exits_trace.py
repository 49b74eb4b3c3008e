#!/usr/bin/python3
"""Where the instructions of an exit go: one trip of each kind, instruction by
instruction in Bochs' debugger, summed up by function of the hypervisor.

    exits_trace.py [--cpu MODEL] [--list KIND]

Needs what `make bench-exits` built. bench/guest/exits.c marks the trips.
"""
import argparse
import bisect
import collections
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import exits
import machines

# The marks in the order of the guest, each with more instructions than it takes.
KINDS = {"nothing": 0, "cpuid": 1000, "port_read": 1000, "tsc_adjust_write": 1000, "clear": 0,
         "copy": 0, "zero_fault": 6000, "cow_fault": 6000, "takeback_fault": 6000,
         "pool_fault": 24000}
HYPERVISOR = 0xffffffff80000000
LINE = re.compile(r"\(0\)\.\[\d+\] \[\w+\] \w+:([0-9a-f]{16}) .*?: (.*?) +; ")


def symbols(elf):
    """[(address, name)] of the hypervisor's functions, sorted."""
    out = subprocess.run(["nm", elf], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in out.splitlines())
    return sorted((int(row[0], 16), row[2]) for row in rows
                  if len(row) == 3 and row[1] in "tTwW")


def run(folder, options):
    """Bochs' words, stopped at each mark and stepped through."""
    command, environment = machines.bochs(folder, options)
    with open(os.path.join(folder, "bochsrc"), "a", encoding="ascii") as file:
        file.write("magic_break: enabled=1\n")
    with open(os.path.join(folder, "bochs.commands"), "w", encoding="ascii") as file:
        for kind, count in KINDS.items():
            file.write("c\n" + (f"trace on\ns {count}\ntrace off\n" if count else ""))
        file.write("q\n")
    path = os.path.join(folder, "trace.txt")
    with open(path, "w", encoding="utf-8") as file:
        subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=file,
                       stderr=subprocess.DEVNULL, cwd=folder, check=False, timeout=900)
    return path


def trips(path):
    """One list of (address, instruction) for each traced mark: the first stay in the
    hypervisor after it."""
    found, current, entered, over = [], None, False, False
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if "racing enabled" in line:
                current, entered, over = [], False, False
                found.append(current)
            hit = LINE.match(line)
            if not hit or current is None or over:
                continue
            inside = int(hit[1], 16) >= HYPERVISOR
            entered |= inside
            over = entered and not inside
            if inside:
                current.append((int(hit[1], 16), hit[2]))
    return found


def by_function(trip, table):
    starts = [address for address, _ in table]
    counts = collections.Counter()
    for address, _ in trip:
        counts[table[bisect.bisect_right(starts, address) - 1][1]] += 1
    return counts


def main():
    parser = argparse.ArgumentParser(description="Instructions of an exit by function.")
    parser.add_argument("--cpu", default="corei7_skylake_x", help="Bochs model")
    parser.add_argument("--mitigations", default="auto", choices=("auto", "off"))
    parser.add_argument("--list", default="", help="print the instructions of that kind")
    arguments = parser.parse_args()
    elf = os.path.join(exits.BUILD, "release", "ballast.elf")
    folder, image = exits.prepare(arguments, elf, "trace")
    os.replace(image, os.path.join(folder, "disk.img"))
    path = run(folder, machines.Options(256, arguments.cpu))
    table = symbols(elf)
    starts = [address for address, _ in table]
    kinds = [kind for kind, count in KINDS.items() if count]
    for kind, trip in zip(kinds, trips(path)):
        print(f"\n{kind}: {len(trip)} instructions")
        for name, count in by_function(trip, table).most_common():
            print(f"  {count:6} {name}")
        if kind == arguments.list:
            for address, text in trip:
                print(f"    {table[bisect.bisect_right(starts, address) - 1][1]:28} {text}")


if __name__ == "__main__":
    main()
