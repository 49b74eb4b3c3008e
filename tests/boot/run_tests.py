#!/usr/bin/python3
"""Boots images in Bochs, two at a time, and judges what they leave.

    run_tests.py [--result FILE] [--list] [WORD ...]

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


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description="Boot tests in Bochs.")
    parser.add_argument("--result")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument("--jobs", type=int, default=AT_ONCE)
    parser.add_argument("words", nargs="*")
    return parser.parse_args(arguments)


def chosen(words):
    return [case for case in cases.ALL if not words or any(word in case.name for word in words)]


def show(case, seconds, problems):
    print(f"{'FAIL' if problems else 'PASS'}  boot: {case.name}  ({seconds:.0f} s)", flush=True)
    for problem in problems[:LINES_SHOWN]:
        print(f"      {problem}", flush=True)


def run_all(selected, jobs):
    """Number of cases that failed. The longest start first."""
    order = sorted(selected, key=lambda case: -case.limit)
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(harness.run_case, case): case for case in order}
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
    selected = chosen(options.words)
    if options.list:
        print("\n".join(case.name for case in selected))
        return 0
    failed = skipped = 0
    if shutil.which("bochs-bin"):
        started = time.monotonic()
        failed = run_all(selected, options.jobs)
        print(f"boot: {len(selected)} cases in {time.monotonic() - started:.0f} s")
    else:
        skipped = len(selected)
        print("SKIP  boot: bochs is not installed")
    if options.result:
        with open(options.result, "w", encoding="ascii") as file:
            file.write(f"{len(selected) - failed - skipped} {failed} {skipped}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
