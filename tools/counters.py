#!/usr/bin/python3
"""Writes the counter tables of docs/telemetry.md from mm/counters.h and, for the
balloon device, from hv/dev_balloon.h.

  tools/counters.py          rewrites what lies between the markers
  tools/counters.py --check  exit status 1 when the file is not up to date
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADER = ROOT / "mm" / "counters.h"
DEVICE_HEADER = ROOT / "hv" / "dev_balloon.h"
DOCUMENT = ROOT / "docs" / "telemetry.md"
BEGIN, END = "<!-- counters:begin -->", "<!-- counters:end -->"
ENTRY = re.compile(r'X\(\s*(\w+)\s*,\s*([GC])\s*,\s*(\w+)\s*,\s*"((?:[^"\\]|\\.)*)"\s*\)')
DEVICE_ENTRY = re.compile(r'X\(\s*(\w+)\s*,\s*"((?:[^"\\]|\\.)*)"\s*\)')
KIND = {"G": "gauge", "C": "counter"}


def counters(text, macro):
    """The entries of one X-macro list, in order."""
    text = text.replace("\\\n", " ")
    line = re.search(rf"#define {macro}\(X\)(.*)", text)
    if not line:
        sys.exit(f"{HEADER}: no list {macro}")
    return ENTRY.findall(line.group(1))


def table(title, entries):
    rows = [f"### {title}", "", "| name | kind | unit | meaning |", "|---|---|---|---|"]
    rows += [f"| `{n}` | {KIND[k]} | {u} | {m} |" for n, k, u, m in entries]
    return "\n".join(rows)


def device_table(text):
    line = re.search(r"#define BALLOON_COUNTERS\(X\)(.*)", text.replace("\\\n", " "))
    rows = ["### `device`: the balloon device", "", "| name | meaning |", "|---|---|"]
    rows += [f"| `{n}` | {m} |" for n, m in DEVICE_ENTRY.findall(line.group(1))]
    return "\n".join(rows)


def main():
    header = HEADER.read_text()
    tables = "\n\n".join(
        [table("Host", counters(header, "MM_HOST_COUNTERS")),
         table("Per VM", counters(header, "MM_VM_COUNTERS")),
         device_table(DEVICE_HEADER.read_text())])
    old = DOCUMENT.read_text()
    head, rest = old.split(BEGIN, 1)
    _, tail = rest.split(END, 1)
    new = f"{head}{BEGIN}\n\n{tables}\n\n{END}{tail}"
    if "--check" in sys.argv[1:]:
        if new != old:
            sys.exit("docs/telemetry.md is out of date: run tools/counters.py")
        return
    DOCUMENT.write_text(new)


if __name__ == "__main__":
    main()
