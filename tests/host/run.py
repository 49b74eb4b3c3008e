#!/usr/bin/python3
"""Runs cmocka programs, two at a time, and prints one line for each and a sum.

    run.py [--result FILE] [--timeout SECONDS] PROGRAM ...

A program written as npt:PROGRAM runs with nested tables in AMD's format.

Exit status 0 only when no test failed. The output of a program that failed is
shown whole. FILE then holds "PASSED FAILED SKIPPED".
"""
import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import time

COUNT = re.compile(r"\[\s*(PASSED|FAILED|SKIPPED)\s*\] (\d+) test")
FIGURE = re.compile(r"^figure: (.*)$", re.M)


def run(program, timeout):
    started = time.monotonic()
    npt = program.startswith("npt:")
    program = program.removeprefix("npt:")
    environment = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="stdout",
                       UBSAN_OPTIONS="print_stacktrace=1",
                       ASAN_OPTIONS="detect_leaks=0")
    if npt:
        environment["BALLAST_FORMAT"] = "npt"
        environment.setdefault("BALLAST_STEPS", "5000")
    try:
        done = subprocess.run([program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=timeout, env=environment)
        status, output = done.returncode, done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as late:
        status = "no end within %d s" % timeout
        output = (late.stdout or b"").decode(errors="replace")
    except OSError as problem:
        status, output = str(problem), ""
    counts = {"PASSED": 0, "FAILED": 0, "SKIPPED": 0}
    for name, number in COUNT.findall(output):
        counts[name] = int(number)
    # A program that died without its summary is one failure.
    if status != 0 and counts["FAILED"] == 0:
        counts["FAILED"] = 1
    label = os.path.basename(program) + (" (NPT)" if npt else "")
    return label, status, counts, output, time.monotonic() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--result")
    parser.add_argument("--timeout", type=int, default=600)
    parser.add_argument("programs", nargs="*")
    arguments = parser.parse_args()
    total = {"PASSED": 0, "FAILED": 0, "SKIPPED": 0}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for program, status, counts, output, seconds in pool.map(
                lambda one: run(one, arguments.timeout), arguments.programs):
            for name in total:
                total[name] += counts[name]
            if status != 0:
                print(output)
            print("%-4s %-24s %3d passed, %d failed, %d skipped  (%.1f s)%s" %
                  ("ok" if status == 0 else "FAIL", program, counts["PASSED"],
                   counts["FAILED"], counts["SKIPPED"], seconds,
                   "" if status in (0, 1) else "  status %s" % status))
            for figure in FIGURE.findall(output):
                print("       " + figure)
            sys.stdout.flush()
    print("host: %(PASSED)d passed, %(FAILED)d failed, %(SKIPPED)d skipped" % total)
    if arguments.result:
        with open(arguments.result, "w") as file:
            file.write("%(PASSED)d %(FAILED)d %(SKIPPED)d\n" % total)
    return 1 if total["FAILED"] else 0


sys.exit(main())
