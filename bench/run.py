#!/usr/bin/python3
"""Runs every measurement and prints one table.

  run.py --programs FOLDER --out FILE [--rounds N] [--only NAME,...] CORPUS ...

A figure that has a goal says whether it was reached. Goals are parts of the
peer's figure, but those below zero: a part of the peer's that must not be fallen
short of (ratio), or a value of ours that must not be exceeded (RAM).
"""
import argparse
import json
import os
import platform
import subprocess
import sys

# Values of ours that are goals themselves, by figure.
OWN_GOALS = {
    "frame taken and given back, hot": 10,
    "frame taken and given back, churn": 20,
    "metadata of frames and index, a frame": 20,
}
AT_LEAST = {"duplicates found": 0.999}


def programs(options):
    rounds = str(options.rounds)
    few = str(max(1, options.rounds // 5))
    return {
        "codec": ["bench_codec", rounds, *options.corpus],
        "pool": ["bench_pool", few, *options.corpus],
        "frames": ["bench_frames", rounds],
        "steps": ["bench_steps"],
        "share": ["bench_share", *options.corpus],
    }


def verdict(row):
    """(goal as text, reached or None)."""
    figure, ours, theirs, goal = row["figure"], row["ours"], row["theirs"], row["goal"]
    if figure in OWN_GOALS:
        return f"<= {OWN_GOALS[figure]} {row['unit']}", ours <= OWN_GOALS[figure]
    if figure in AT_LEAST:
        return f">= {AT_LEAST[figure]}", ours >= AT_LEAST[figure]
    if goal == 0 or (goal > 0 and not theirs):
        return "", None
    if figure == "ratio":
        return f">= {-goal} x", ours >= -goal * theirs
    if goal < 0:
        return f"<= {-goal}", ours <= -goal
    return f"<= {goal} x", ours <= goal * theirs


def show(row):
    if "skipped" in row:
        return f"{row['figure']:<40} skipped: {row['skipped']}"
    goal, reached = verdict(row)
    digits = 0 if row["unit"] == "ns" and row["ours"] >= 100 else 1 if row["unit"] == "ns" else 3
    theirs = f"{row['theirs']:.{digits}f}" if row["theirs"] else ""
    part = f"{row['ours'] / row['theirs']:.2f} x" if row["theirs"] else ""
    mark = {None: "", True: "reached", False: "missed"}[reached]
    return (f"{row['figure']:<40} {row['set']:<15} {row['ours']:>9.{digits}f} {row['unit']:<3} "
            f"{row['peer']:<17} {theirs:>9} {part:>8}  {goal:<10} {mark}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--programs", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="names, with commas")
    parser.add_argument("corpus", nargs="+")
    options = parser.parse_args()
    failed = 0
    with open(options.out, "w", encoding="ascii") as out:
        machine = {"machine": platform.machine(), "kernel": platform.release(),
                   "processors": os.cpu_count(), "load": os.getloadavg()[0]}
        print(json.dumps(machine), file=out)
        for name, command in programs(options).items():
            if options.only and name not in options.only.split(","):
                continue
            command[0] = os.path.join(options.programs, command[0])
            # Room for the thread-local data of allocators that are loaded at run time.
            environment = dict(os.environ, GLIBC_TUNABLES="glibc.rtld.optional_static_tls=65536")
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                                  env=environment) as process:
                for line in process.stdout:
                    out.write(line)
                    print(show(json.loads(line)), flush=True)
            if process.returncode:
                failed += 1
                print(f"{name}: ended with status {process.returncode}")
    print(f"\nfigures: {options.out}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
