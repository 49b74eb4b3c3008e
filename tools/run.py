#!/usr/bin/python3
"""Runs build/ballast.img on the best machine there is and leaves a report.

Exit status: 0 when the console's last line is `ballast: result ok`, 1 when it
is anything else, 2 when the machine asked for is not to be had.
"""
import argparse
import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import machines
import report
import runner
import summary


def parse_arguments(arguments):
    defaults = machines.Options()
    parser = argparse.ArgumentParser(description="Runs a Ballast image.")
    parser.add_argument("--image", default="build/ballast.img")
    parser.add_argument("--machine", default="auto", help="auto, bochs, kvm or tcg")
    parser.add_argument("--out", default="", help="folder for the results (out/TIME)")
    parser.add_argument("--timeout", type=int, default=900, help="seconds, 900 by default")
    parser.add_argument("--memory", type=int, default=defaults.memory_mib,
                        help="MiB the machine has")
    parser.add_argument("--cpu", default=defaults.cpu, help="CPU model of Bochs")
    parser.add_argument("--ips", type=int, default=defaults.ips,
                        help="instructions in an emulated second (Bochs)")
    parser.add_argument("--cpus", type=int, default=defaults.cpus,
                        help="processors the machine has")
    return parser.parse_args(arguments)


def show_line(line):
    print(line, flush=True)


def last_line_of(outcome, limit):
    if outcome.interrupted:
        return "ballast: result failed: interrupted from the keyboard"
    if outcome.timed_out:
        return f"ballast: result failed: time limit of {limit} s reached"
    return outcome.last_line or "ballast: result failed: the console stayed empty"


def write_results(folder, outcome, machine, limit):
    """summary.txt and report.html; the text of the summary."""
    text = summary.make(folder, last_line_of(outcome, limit), machine, outcome.seconds)
    with open(os.path.join(folder, "summary.txt"), "w", encoding="utf-8") as file:
        file.write(text)
    report.write(folder, os.path.join(folder, "report.html"), last_line_of(outcome, limit),
                 machine)
    return text


def main(arguments):
    options = parse_arguments(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    machine, reason = machines.choose(options.machine)
    if machine is None:
        print(f"machine {options.machine}: {reason}", file=sys.stderr)
        return 2
    folder = options.out or os.path.join("out", time.strftime("%Y%m%d-%H%M%S"))
    print(f"machine: {machine} ({reason}); results in {folder}", flush=True)
    outcome = runner.run(folder, options.image, machine,
                         machines.Options(options.memory, options.cpu, options.ips,
                                          cpus=options.cpus),
                         options.timeout, show_line)
    print()
    print(write_results(folder, outcome, machine, options.timeout), end="")
    print(f"report: {os.path.join(folder, 'report.html')}")
    return 0 if outcome.ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
