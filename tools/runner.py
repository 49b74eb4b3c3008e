"""One run of an image on a machine: from a copy of the image to its result.

Used by run.py for a person and by the boot tests. The run is over when the
machine stops by itself; one that printed its result and then falls silent
without stopping is stopped, and so is one that reaches the time limit.
"""
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass

import machines

RESULT_PREFIX = "ballast: result "
TELEMETRY_START = b'{"record":"start"'
RESULT_OK = RESULT_PREFIX + "ok"
POLL_SECONDS = 0.1
GRACE_SECONDS = 20
LEFT_BEHIND = ("console.log", "telemetry.jsonl", "disk.img", "disk.img.lock", "machine.log",
               "summary.txt", "report.html")

# Set it to end all runs of this process soon.
stop_all = threading.Event()


@dataclass
class Outcome:
    """How a run ended."""
    seconds: float
    timed_out: bool
    last_line: str  # of the console
    interrupted: bool = False  # by the person at the keyboard
    aborted: bool = False  # the emulator itself failed

    @property
    def ok(self):
        return self.last_line == RESULT_OK and not self.timed_out and not self.interrupted


def prepare(folder, image):
    """An empty run folder with a copy of the image, holes kept."""
    os.makedirs(folder, exist_ok=True)
    for name in LEFT_BEHIND:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            os.remove(path)
    subprocess.run(["cp", "--sparse=always", image, os.path.join(folder, "disk.img")], check=True)
    for name in ("console.log", "telemetry.jsonl"):
        open(os.path.join(folder, name), "wb").close()


class ConsoleReader:
    """Follows console.log and hands out whole lines as they appear."""

    def __init__(self, path):
        self.path = path
        self.file = open(path, "rb")
        self.rest = b""
        self.last_line = ""

    def lines(self, final=False):
        self.rest += self.file.read()
        *whole, self.rest = self.rest.split(b"\n")
        if final and self.rest:
            whole.append(self.rest)
            self.rest = b""
        for line in whole:
            text = clean(line)
            if text:
                self.last_line = text
                yield text

    def close(self):
        self.file.close()


def clean(line):
    """Text of a console line without the firmware's terminal controls."""
    text, out, index = line.decode("utf-8", "replace"), [], 0
    while index < len(text):
        if text[index] == "\x1b":
            index += 1
            if index < len(text) and text[index] == "[":
                index += 1
                while index < len(text) and not "@" <= text[index] <= "~":
                    index += 1
            index += 1
            continue
        if text[index] >= " ":
            out.append(text[index])
        index += 1
    return "".join(out).rstrip()


def stop(process):
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def drop_firmware_text(path):
    """Firmware talks on COM2 too, before we do: telemetry starts at its start
    record."""
    with open(path, "rb") as file:
        content = file.read()
    start = content.find(TELEMETRY_START)
    with open(path, "wb") as file:
        file.write(content[start:] if start >= 0 else b"")


def run(folder, image, machine, options, limit_seconds, show=lambda line: None,
        grace_seconds=GRACE_SECONDS):
    """Runs a copy of image in folder; calls show for every console line. A machine
    that is silent for grace_seconds after its result is stopped."""
    folder = os.path.abspath(folder)
    prepare(folder, image)
    command, environment = machines.MACHINES[machine](folder, options)
    started = time.monotonic()
    with open(os.path.join(folder, "machine.out"), "wb") as out:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                                   stdout=out, stderr=subprocess.STDOUT,
                                   start_new_session=True)
    console = ConsoleReader(os.path.join(folder, "console.log"))
    timed_out = interrupted = False
    try:
        timed_out = follow(process, console, started + limit_seconds, show, grace_seconds)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if process.poll() is None:
            stop(process)
        for line in console.lines(final=True):
            show(line)
        console.close()
        drop_firmware_text(os.path.join(folder, "telemetry.jsonl"))
        lock = os.path.join(folder, "disk.img.lock")
        if os.path.exists(lock):
            os.remove(lock)
    return Outcome(time.monotonic() - started, timed_out, console.last_line, interrupted,
                   process.returncode == -signal.SIGABRT)


def growth(folder):
    """Bytes the machine has written to its serial ports so far."""
    return sum(os.path.getsize(os.path.join(folder, name))
               for name in ("console.log", "telemetry.jsonl"))


def follow(process, console, deadline, show, grace_seconds):
    """Until the machine stops. True when it had to be given up. Once the result
    is known it is left alone as long as it still writes telemetry."""
    folder = os.path.dirname(console.path)
    finished, written, quiet_since = False, 0, 0.0
    while process.poll() is None:
        if stop_all.is_set():
            raise KeyboardInterrupt
        for line in console.lines():
            show(line)
            finished |= line.startswith(RESULT_PREFIX)
        now, size = time.monotonic(), growth(folder)
        if size != written:
            written, quiet_since = size, now
        if finished and now > quiet_since + grace_seconds:
            return False
        if now > deadline:
            return True
        time.sleep(POLL_SECONDS)
    return False
