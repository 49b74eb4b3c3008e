#!/usr/bin/python3
"""The minimal guest under QEMU's emulation, without Ballast: its workloads, and
its balloon driver against QEMU's own virtio-balloon (microvm, virtio-mmio
version 2). Prints a line a case and `N passed, N failed, N skipped`.

  run_qemu.py [--result FILE] [WORD...]   cases whose names contain a word
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GUEST = os.path.join(ROOT, "build", "guest.elf")
HOSTILE = os.path.join(ROOT, "build", "guests")
QEMU = "qemu-system-x86_64"
COMMON = ["-accel", "tcg", "-cpu", "max", "-display", "none", "-no-reboot",
          "-device", "isa-debug-exit,iobase=0xf4,iosize=1"]
# Eight transports from 0xfeb00000 on, GSIs 16 to 23; devices take the last one first.
MICROVM = ["-M", "microvm,ioapic2=off,pic=on,pit=on,rtc=on,isa-serial=on,auto-kernel-cmdline=off",
           "-global", "virtio-mmio.force-legacy=false",
           "-device", "virtio-balloon-device,deflate-on-oom=on,id=balloon0"]
PLACE = "virtio=0xfeb00e00 gsi=23"
PLACE_DECIMAL = f"virtio={0xfeb00e00}"
LIMIT = 60  # seconds before a run counts as hanging


class Machine:
    """A guest that runs. Its console is `text()`; QMP is there for microvm."""

    def __init__(self, image, cmdline, machine, memory):
        self.folder = tempfile.mkdtemp(prefix="ballast-qemu-")
        self.console = os.path.join(self.folder, "console.log")
        self.process = subprocess.Popen(
            [QEMU, *COMMON, *machine, "-m", str(memory), "-kernel", image, "-append", cmdline,
             "-serial", f"file:{self.console}", "-qmp", "stdio"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.end = time.monotonic() + LIMIT
        self.process.stdout.readline()  # the greeting
        self.command("qmp_capabilities")

    def command(self, name, **arguments):
        """The answer, None when the guest has ended."""
        try:
            self.process.stdin.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
            self.process.stdin.flush()
            for line in self.process.stdout:
                answer = json.loads(line)
                if "return" in answer or "error" in answer:
                    return answer.get("return")
        except (BrokenPipeError, json.JSONDecodeError):
            pass
        return None

    def balloon_pages(self):
        """Pages the driver says it holds."""
        answer = self.command("query-balloon")
        return None if answer is None else (self.memory_bytes - answer["actual"]) // 4096

    def wait_for(self, condition):
        """True when it became true before the limit."""
        while time.monotonic() < self.end:
            if condition():
                return True
            if self.process.poll() is not None:
                return False
            time.sleep(0.05)
        return False

    def finish(self):
        """(status or None, console)"""
        try:
            self.process.communicate(timeout=max(1, self.end - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        code = self.process.returncode
        with open(self.console, encoding="ascii", errors="replace") as file:
            text = file.read()
        shutil.rmtree(self.folder)
        return (code >> 1 if code > 0 and code & 1 else None), text


def start(image, cmdline, machine, memory=64):
    found = Machine(image, cmdline, machine, memory)
    found.memory_bytes = memory << 20
    return found


def judge(status, text, wanted_status, pattern):
    if status != wanted_status:
        return f"status {status}, not {wanted_status}: {text.strip().splitlines()[-1:]}"
    return "" if re.search(pattern, text) else f"the console has no '{pattern}'"


def workload(cmdline, status=0, pattern=r"[1-9]\d* pages checked, 0 mismatches", memory=64):
    """A case: the minimal guest on a PC without a balloon."""
    def case():
        return judge(*start(GUEST, cmdline, ["-M", "pc"], memory).finish(), status, pattern)
    return f"guest: {cmdline}", case


def hostile(name, cmdline="", status=0, pattern="0 mismatches"):
    """A case: a guest of tests/guest/ on the microvm with a balloon."""
    def case():
        image = os.path.join(HOSTILE, name + ".elf")
        return judge(*start(image, f"{PLACE_DECIMAL} {cmdline}", MICROVM, 32).finish(), status,
                     pattern)
    return f"{name} {cmdline}".strip(), case


def balloon_follows():
    """Up to 6144 pages, down to 2048, and statistics when asked for."""
    guest = start(GUEST, f"workload=idle ticks=400 {PLACE}", MICROVM)
    path = "/machine/peripheral/balloon0"
    for pages in (6144, 2048):
        guest.command("balloon", value=guest.memory_bytes - pages * 4096)
        if not guest.wait_for(lambda wanted=pages: guest.balloon_pages() == wanted):
            return f"the balloon does not reach {pages} pages"
    guest.command("qom-set", path=path, property="guest-stats-polling-interval", value=1)

    def statistics():
        answer = guest.command("qom-get", path=path, property="guest-stats")
        return answer and 0 < answer["stats"]["stat-free-memory"] < guest.memory_bytes
    if not guest.wait_for(statistics):
        return "no statistics"
    return judge(*guest.finish(), 0, "6144 pages inflated, 4096 deflated, 0 times out of memory")


def cache_gives_way():
    guest = start(GUEST, f"workload=cache ws=40M requests=40000 ticks=150 {PLACE}", MICROVM)
    guest.command("balloon", value=24 << 20)
    if not guest.wait_for(lambda: (guest.balloon_pages() or 0) >= 10000):
        return "the cache does not give way"
    return judge(*guest.finish(), 0, r"cache: \d+ pages checked, 0 mismatches")


def deflates_on_oom():
    guest = start(GUEST, f"workload=grow ticks=60 {PLACE}", MICROVM)
    guest.command("balloon", value=24 << 20)
    status, text = guest.finish()
    return judge(status, text, 0, r"0 mismatches\n.*[1-9]\d* times out of memory")


CASES = [
    workload("workload=fill ws=20M seed=7"),
    workload("workload=cache ws=24M"),
    workload("workload=churn ws=16M"),
    workload("workload=clones ws=16M"),
    workload("workload=grow ws=24M"),
    workload("workload=fill corrupt=1 ws=4M", status=1, pattern=r", 1 mismatches"),
    workload("workload=fill ws=80M", status=3, pattern="fill: no memory after"),
    workload("workload=nothing", status=2, pattern="no workload 'nothing'"),
    workload("ws=1X", status=2, pattern="'ws=1X' is not a number"),
    workload("surprise=1", status=2, pattern="'surprise=1' is an unknown key"),
    workload("mix=50:50:1:0", status=2, pattern="is not RANDOM:TEXT:ZERO:UNIFORM"),
    ("balloon: inflate, deflate, statistics", balloon_follows),
    ("balloon: the cache gives way", cache_gives_way),
    ("balloon: deflates when out of memory", deflates_on_oom),
    hostile("mute", "rounds=1"),
    hostile("retouch", "rounds=1"),
    hostile("doorbell", "rounds=2000"),
    hostile("exit7", status=7, pattern="status 7"),
    hostile("fpu", "seed=3"),
]


def main():
    arguments = sys.argv[1:]
    result = None
    if arguments[:1] == ["--result"]:
        result, arguments = arguments[1], arguments[2:]
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for name, case in CASES:
        if arguments and not any(word in name for word in arguments):
            continue
        if not shutil.which(QEMU):
            counts["skipped"] += 1
            continue
        problem = case()
        counts["failed" if problem else "passed"] += 1
        print(f"{'FAIL' if problem else 'ok  '} {name}" + (f": {problem}" if problem else ""),
              flush=True)
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    if result:
        with open(result, "w", encoding="ascii") as file:
            file.write(" ".join(str(count) for count in counts.values()) + "\n")
    return counts["failed"] != 0


if __name__ == "__main__":
    sys.exit(main())
