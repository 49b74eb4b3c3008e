#!/usr/bin/python3
"""Makes an empty Ballast swap area in a file, a partition or a whole disk.

    mkswap.py FILE [--offset BYTES] [--size BYTES] [--uuid UUID] [--force]

Without --size the area reaches from the offset to the end. Only the header, 4096
bytes, is written; docs/swap-format.md describes it. A range that holds anything
but zeros or an earlier area of ours in its first MiB is refused, unless --force
says that its content may be lost.
"""
import argparse
import os
import sys
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import swapformat  # noqa: E402

DATA_SECTOR = 8
CELL_SECTORS = 9
CELLS_MIN = 14
MIN_BYTES = (DATA_SECTOR + CELLS_MIN * CELL_SECTORS) * swapformat.SECTOR
HEADER_BYTES = DATA_SECTOR * swapformat.SECTOR
# Where partition tables and file systems keep what they are recognized by.
LOOK_BYTES = 1 << 20


class Refused(Exception):
    """Says why nothing was written."""


def number(text):
    """A byte count: decimal or 0x..., with K, M or G for powers of 1024."""
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:].upper(), 1)
    try:
        value = int(text[:-1] if factor > 1 else text, 0) * factor
    except ValueError:
        raise argparse.ArgumentTypeError("not a number of bytes: %r" % text)
    if value < 0 or value % swapformat.SECTOR:
        raise argparse.ArgumentTypeError("%s is not a multiple of 512" % text)
    return value


def is_ours(sector):
    """True for a whole, undamaged header of a swap area."""
    if len(sector) < swapformat.SECTOR or sector[:16] != swapformat.MAGIC:
        return False
    sectors = int.from_bytes(sector[24:32], "little")
    return sector == swapformat.swap_header(sectors, sector[32:48])


def refuse_foreign(file, offset, size, force):
    """Raises Refused when the range looks like somebody's data."""
    file.seek(offset)
    start = file.read(min(size, LOOK_BYTES))
    if force or is_ours(start[:swapformat.SECTOR]):
        return
    place = next((i for i, byte in enumerate(start) if byte), None)
    if place is not None:
        raise Refused("there is data at byte %d that is not a swap area of ours; "
                      "--force overwrites it" % (offset + place))


def make(path, offset, size, identity, force):
    """Writes the header; returns (sectors, pages) of the new area."""
    with open(path, "r+b") as file:
        whole = file.seek(0, os.SEEK_END)
        if offset >= whole:
            raise Refused("the offset %d is not inside its %d bytes" % (offset, whole))
        if size is None:
            size = (whole - offset) // swapformat.SECTOR * swapformat.SECTOR
        if offset + size > whole:
            raise Refused("%d bytes from %d on reach beyond its end at %d" % (size, offset, whole))
        if size < MIN_BYTES:
            raise Refused("%d bytes are too few, %d are needed" % (size, MIN_BYTES))
        refuse_foreign(file, offset, size, force)
        sectors = size // swapformat.SECTOR
        file.seek(offset)
        file.write(swapformat.swap_header(sectors, identity.bytes).ljust(HEADER_BYTES, b"\0"))
        file.flush()
        os.fsync(file.fileno())
    return sectors, (sectors - DATA_SECTOR) // CELL_SECTORS


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--offset", type=number, default=0, metavar="BYTES")
    parser.add_argument("--size", type=number, metavar="BYTES")
    parser.add_argument("--uuid", type=uuid.UUID, help="default: a random one")
    parser.add_argument("--force", action="store_true", help="overwrite what is there")
    arguments = parser.parse_args()
    try:
        sectors, pages = make(arguments.file, arguments.offset, arguments.size,
                              arguments.uuid or uuid.uuid4(), arguments.force)
    except (OSError, Refused) as problem:
        text = problem.strerror if isinstance(problem, OSError) else problem
        print("mkswap: %s: %s" % (arguments.file, text), file=sys.stderr)
        return 1
    print("%s: swap area of %d sectors at byte %d, room for %d pages" %
          (arguments.file, sectors, arguments.offset, pages))
    return 0


if __name__ == "__main__":
    sys.exit(main())
