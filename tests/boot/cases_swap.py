"""Disks that are missing, not ours, too small, or fail; what is written to them."""
import os

from harness import (GUEST, ROOT, Case, console_says, disk_untouched_outside_swap, ended, event,
                     host, host_counter, not_started, swap_bytes, swap_untouched, swap_written,
                     verified, vm)

RANDOM = "workload=fill seed={} ws=15M rounds=1 mix=100:0:0:0"
TWO = (vm("one", RANDOM.format(1), memory="24M") + vm("two", RANDOM.format(2), memory="24M"))
SMALL_TWO = (vm("one", "workload=fill seed=1 ws=6M", memory="12M") +
             vm("two", "workload=fill seed=2 ws=6M", memory="12M"))
TEXT = (host("32M", "swap") +
        vm("one", "workload=fill seed=1 ws=16M rounds=1 mix=0:100:0:0", memory="24M") +
        vm("two", "workload=fill seed=2 ws=16M rounds=1 mix=0:100:0:0", memory="24M"))


def phrases():
    """The phrases that the guest's text pages are made of."""
    path = os.path.join(ROOT, "guest-driver", "content.c")
    with open(path, encoding="ascii") as file:
        table = file.read().split("phrases[")[1].split("{", 1)[1].split("};")[0]
    return [text.encode() for text in table.split('"')[1::2] if len(text) == 16]


def no_plain_text(run):
    """No phrase of any guest page lies in the swap partition. The same search
    must find all of them in the guest's image."""
    wanted = phrases()
    with open(GUEST, "rb") as file:
        guest = file.read()
    if len(wanted) < 16 or any(phrase not in guest for phrase in wanted):
        return "the phrases looked for are not those of the guest"
    disk = swap_bytes(run.path("disk.img"))
    found = [phrase for phrase in wanted if phrase in disk]
    return f"plain text in the swap partition: {found[0]!r}" if found else ""


def exactly_one_lost(run):
    """A page that cannot be read stops its owner; the other one is verified."""
    good = [vm_end["name"] for vm_end in run.data.end["vms"] if vm_end["status"] == 0]
    lost = [vm_end for vm_end in run.data.end["vms"] if vm_end["status"] is None]
    if len(good) != 1 or len(lost) != 1:
        return f"{len(good)} VMs ended well and {len(lost)} were stopped, should be 1 and 1"
    if not run.vm(good[0]).get("checked", 0):
        return f"{good[0]} checked nothing"
    return ended(lost[0]["name"], r"(?i)swap|read|disk")(run)


# More than its limit, gone through in order, again and again.
ORDER = vm("order", "workload=fill seed=1 ws=14M rounds=1 mix=100:0:0:0", memory="20M", limit="10M")


def waited_for(least, most):
    """Of the pages read in, so many percent were waited for by a fault of their own."""
    def check(run):
        pages = run.data.end["host"]["swap_pages_read"]
        faults = run.vm("order")["faults_swap"]
        part = 100 * faults // max(pages, 1)
        return "" if pages > 1000 and least <= part <= most else \
            f"{faults} faults for {pages} pages read in: {part} %, not {least} to {most}"
    return check


POSITIVE = lambda value: value > 0
ZERO = lambda value: value == 0

CASES = [
    Case("no swap disk, guests that fit", host("48M") + SMALL_TWO,
         [verified("one", "two"), host_counter("swap_online", ZERO, "0"),
          host_counter("swap_pages_written", ZERO, "0")], image=["--no-swap"]),
    Case("no swap disk, guests that do not", host("32M") + TWO,
         [not_started("two", r"swap|backing"), verified("one")], result="failed: .*",
         image=["--no-swap"]),
    Case("swap switched off", host("48M", swap="none") + SMALL_TWO,
         [verified("one", "two"), swap_untouched, host_counter("swap_online", ZERO, "0")]),
    Case("disk without our signature", host("48M") + SMALL_TWO,
         [verified("one", "two"), swap_untouched, console_says(r"(?i)signature"),
          host_counter("swap_online", ZERO, "0")], image=["--swap-unsigned"]),
    Case("swap area too small", host("32M") + TWO,
         [not_started("two", r"swap|backing"), verified("one")], result="failed: .*",
         image=["--swap", "2M"]),
    Case("plain text stays out of swap", TEXT,
         [verified("one", "two"), swap_written, no_plain_text, disk_untouched_outside_swap,
          host_counter("swap_pages_written", lambda value: value > 500, "above 500")]),
    Case("reads that fail once", host("32M", "swap", disk_fault="read 5 1") + TWO,
         [verified("one", "two"), host_counter("swap_read_errors", POSITIVE, "positive"),
          host_counter("swap_retries", POSITIVE, "positive")]),
    # Whose the fifth read is depends on when requests end.
    Case("reads that keep failing", host("32M", "swap", disk_fault="read 5 4") + TWO,
         [exactly_one_lost, host_counter("swap_read_errors", POSITIVE, "positive"),
          event("swap_error")], result="failed: .*", alike=()),
    Case("nothing read ahead", host("48M", "swap", swap_read_ahead="off") + ORDER,
         [verified("order"), waited_for(100, 100), host_counter("ahead_issued", ZERO, "0")]),
    Case("pages read ahead", host("48M", "swap") + ORDER,
         [verified("order"), waited_for(1, 40), host_counter("ahead_hit", POSITIVE, "positive")]),
    Case("writes that fail", host("32M", "swap", disk_fault="write 3 4") + TWO,
         [verified("one", "two"), host_counter("swap_write_errors", POSITIVE, "positive"),
          host_counter("swap_sectors_bad", POSITIVE, "positive")]),
]
