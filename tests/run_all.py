#!/usr/bin/python3
"""Runs every suite and ends with one line: N passed, N failed, N skipped.

A suite is a command that leaves "PASSED FAILED SKIPPED" in a result file. One
that leaves none counts as one failure. Exit status 0 only when nothing failed.

    run_all.py [SUITE ...]      only those suites
"""
import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RESULTS = os.path.join(ROOT, "build", "tests")
PYTHON = "/usr/bin/python3"

# Name: (command, seconds it may take). {result} is the file for its figures.
SUITES = {
    "tree": ([PYTHON, "tests/check_tree.py", "--result", "{result}"], 300),
    "tools": ([PYTHON, "tests/tools/test_tools.py", "--result", "{result}"], 300),
    "guest": ([PYTHON, "tests/guest/run_qemu.py", "--result", "{result}"], 300),
    "host": (["make", "-s", "--no-print-directory", f"-j{os.cpu_count()}", "test-host"], 900),
    "memcheck": (["make", "-s", "--no-print-directory", "memcheck-quick",
                  "MEMCHECKED=random edges clean pool pin balloon"], 300),
    "fuzz": ([PYTHON, "tests/fuzz/run_fuzz.py", "--result", "{result}"], 1800),
    "proof": ([PYTHON, "tests/proof/run_proof.py", "--quick", "--result", "{result}"], 900),
    "boot": ([PYTHON, "tests/boot/run_tests.py", "--result", "{result}"], 2700),
    "machines": ([PYTHON, "tests/machines/run_tests.py", "--result", "{result}"], 900),
}


def run_suite(name):
    """(passed, failed, skipped) of a suite."""
    command, limit = SUITES[name]
    result = os.path.join(RESULTS, f"{name}.result")
    if os.path.exists(result):
        os.remove(result)
    started = time.monotonic()
    print(f"== {name}", flush=True)
    try:
        done = subprocess.run([part.format(result=result) for part in command], cwd=ROOT,
                              stdin=subprocess.DEVNULL, timeout=limit, check=False)
        status = done.returncode
    except subprocess.TimeoutExpired:
        status = f"no end within {limit} s"
    counts = read_counts(result)
    if status != 0 and counts[1] == 0:
        print(f"FAIL  {name}: the suite ended with status {status}")
        counts = (counts[0], 1, counts[2])
    print(f"== {name}: {counts[0]} passed, {counts[1]} failed, {counts[2]} skipped, "
          f"{time.monotonic() - started:.0f} s\n", flush=True)
    return counts


def read_counts(path):
    try:
        with open(path, encoding="ascii") as file:
            passed, failed, skipped = map(int, file.read().split())
            return passed, failed, skipped
    except (OSError, ValueError):
        return 0, 1, 0


def main(arguments):
    os.makedirs(RESULTS, exist_ok=True)
    unknown = [name for name in arguments if name not in SUITES]
    if unknown:
        print(f"no suite is called {unknown[0]}; there are {', '.join(SUITES)}", file=sys.stderr)
        return 2
    total = [0, 0, 0]
    for name in arguments or SUITES:
        total = [a + b for a, b in zip(total, run_suite(name))]
    print(f"{total[0]} passed, {total[1]} failed, {total[2]} skipped", flush=True)
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
