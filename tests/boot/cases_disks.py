"""Swap on every kind of disk, in QEMU; disks that fail, are full, are slow."""
import errno

from cases_swap import POSITIVE, TWO, exactly_one_lost
from harness import (Case, Fault, console_never_says, console_says, disk_untouched_outside_swap,
                     event, host, host_counter, swap_written, verified)

# Kind: what the console calls it.
KINDS = {"ahci": r"disk ahci0\.0: .*NCQ, depth 32", "nvme": r"disk nvme0n1: .*MSI-X, depth 32",
         "virtio": r"disk virtio0: .*MSI-X, depth 32",
         "virtio-line": r"disk virtio0: .*virtio, depth 32"}
SWAP = host("32M", "swap") + TWO
# Cells change their owner often, so that many of these are read; each fails once.
READ_ONCE = tuple(Fault("read", cell, errno.EIO, 1) for cell in range(100, 400, 10))
READ_THRICE = (Fault("read", 200, errno.EIO, 3),)
WRITE = (Fault("write", 3, errno.EIO), Fault("write", 50, errno.ENOSPC))
TWO_OR_MORE = lambda value: value >= 2
SLOW = console_never_says(r"interrupts lost|no answer|does not answer")


def swaps(kind, says):
    return Case(f"swap on {kind}", SWAP,
                [verified("one", "two"), console_says(says), SLOW, swap_written,
                 disk_untouched_outside_swap], disk=kind)


def fails(kind):
    """Errors are retried (reads) or set aside (writes): no page is lost."""
    return Case(f"{kind} that fails to read once, to write, and is full", SWAP,
                [verified("one", "two"), console_says(r"set aside"),
                 host_counter("swap_read_errors", POSITIVE, "positive"),
                 host_counter("swap_retries", POSITIVE, "positive"),
                 host_counter("swap_write_errors", TWO_OR_MORE, "2 or more"),
                 host_counter("swap_sectors_bad", POSITIVE, "positive")],
                disk=kind, faults=READ_ONCE + WRITE)


def keeps_failing(kind):
    return Case(f"{kind} that keeps failing to read", SWAP,
                [exactly_one_lost, host_counter("swap_read_errors", POSITIVE, "positive"),
                 event("swap_error")], result="failed: .*", disk=kind, faults=READ_THRICE)


def slow(kind):
    """Requests wait for long, and nobody takes that for a failure."""
    return Case(f"{kind} that is slow", SWAP, [verified("one", "two"), SLOW, swap_written],
                disk=kind, iops=400)


CASES = ([swaps(kind, says) for kind, says in KINDS.items()] +
         [fails(kind) for kind in ("ahci", "nvme", "virtio")] +
         [keeps_failing(kind) for kind in ("nvme", "virtio")] +
         [slow("nvme")])
