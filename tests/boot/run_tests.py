#!/usr/bin/python3
"""Boots images in Bochs and in QEMU, two at a time, and judges what they leave.

    run_tests.py [--result FILE] [--list] [--machine NAME] [WORD ...]

With words only cases run whose name contains one of them. A case that fails
leaves its files in build/tests/boot/CASE. FILE gets PASSED FAILED SKIPPED.
"""
import argparse
import concurrent.futures
import os
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cases
import harness
import runner

AT_ONCE = 2
LINES_SHOWN = 8
PROGRAM = {"bochs": "bochs-bin", "tcg": "qemu-system-x86_64"}


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description="Boot tests in Bochs and QEMU.")
    parser.add_argument("--result")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument("--jobs", type=int, default=AT_ONCE)
    parser.add_argument("--machine", choices=harness.MACHINES, action="append",
                        help="only there (both)")
    parser.add_argument("words", nargs="*")
    return parser.parse_args(arguments)


def chosen(words, where):
    """Cases of those names that have a run on one of those machines."""
    return [case for case in cases.ALL if set(case.machines) & set(where) and
            (not words or any(word in case.name for word in words))]


def show(case, seconds, problems):
    times = ", ".join(f"{machine} {value:.0f} s" for machine, value in seconds.items())
    print(f"{'FAIL' if problems else 'PASS'}  boot: {case.name}  ({times})", flush=True)
    for problem in problems[:LINES_SHOWN]:
        print(f"      {problem}", flush=True)


def run_all(selected, jobs, where):
    """Number of cases that failed. The longest start first."""
    order = sorted(selected, key=lambda case: -case.limit)
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(harness.run_case, case, where): case for case in order}
        for done in concurrent.futures.as_completed(running):
            if runner.stop_all.is_set():
                pool.shutdown(cancel_futures=True)
                sys.exit("boot: interrupted")
            seconds, problems = done.result()
            failed += bool(problems)
            show(running[done], seconds, problems)
    return failed


def main(arguments):
    options = parse_arguments(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: runner.stop_all.set())
    where = [one for one in options.machine or harness.MACHINES if shutil.which(PROGRAM[one])]
    selected = chosen(options.words, where or harness.MACHINES)
    if options.list:
        print("\n".join(case.name for case in selected))
        return 0
    failed = skipped = 0
    if where:
        started = time.monotonic()
        failed = run_all(selected, options.jobs, where)
        print(f"boot: {len(selected)} cases in {time.monotonic() - started:.0f} s")
    else:
        skipped = len(selected)
        print("SKIP  boot: no emulator is installed")
    if options.result:
        with open(options.result, "w", encoding="ascii") as file:
            file.write(f"{len(selected) - failed - skipped} {failed} {skipped}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
