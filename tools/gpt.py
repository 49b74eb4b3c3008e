"""GPT disks: writing one, and reading its partitions back.

Layout as in the UEFI Specification 2.10, chapter 5: protective MBR in sector 0,
primary header in sector 1, 128 entries of 128 bytes after it, the same mirrored
at the end of the disk. Everything is a function of the arguments, so the same
contents give the same bytes.
"""
import struct
import uuid
import zlib
from dataclasses import dataclass

SECTOR = 512
ENTRY_COUNT = 128
ENTRY_SIZE = 128
TABLE_SECTORS = ENTRY_COUNT * ENTRY_SIZE // SECTOR
FIRST_USABLE = 2 + TABLE_SECTORS
ALIGN_SECTORS = 2048  # partitions start at full MiB

TYPE_ESP = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
TYPE_SWAP = uuid.UUID("3b1f6a52-8e0c-4d27-9b57-62616c6c6173")  # mm/swap_format.h

# Emulators derive cylinders from the size: keep it a whole number of them.
CYLINDER_SECTORS = 16 * 63


@dataclass
class Partition:
    """One entry. Sectors; `last` is inclusive, as in the table."""
    type_guid: uuid.UUID
    guid: uuid.UUID
    first: int
    last: int
    name: str

    @property
    def sectors(self):
        return self.last - self.first + 1

    @property
    def offset(self):
        return self.first * SECTOR

    @property
    def size(self):
        return self.sectors * SECTOR


def align_up(value, unit):
    return (value + unit - 1) // unit * unit


def layout(wanted):
    """Places partitions [(type, guid, sectors, name)] and returns them with the
    number of sectors of a disk that holds them."""
    partitions, cursor = [], ALIGN_SECTORS
    for type_guid, guid, sectors, name in wanted:
        partitions.append(Partition(type_guid, guid, cursor, cursor + sectors - 1, name))
        cursor = align_up(cursor + sectors, ALIGN_SECTORS)
    return partitions, align_up(cursor + TABLE_SECTORS + 1, CYLINDER_SECTORS)


def protective_mbr(disk_sectors):
    size = min(disk_sectors - 1, 0xFFFFFFFF)
    entry = struct.pack("<B3sB3sII", 0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, size)
    return bytes(446) + entry + bytes(48) + b"\x55\xaa"


def entry_table(partitions):
    table = b""
    for part in partitions:
        name = part.name.encode("utf-16-le")
        table += struct.pack("<16s16sQQQ72s", part.type_guid.bytes_le, part.guid.bytes_le,
                             part.first, part.last, 0, name)
    return table.ljust(ENTRY_COUNT * ENTRY_SIZE, b"\0")


def header(disk_sectors, disk_guid, table, mine, other, table_at):
    fields = struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, mine, other,
                         FIRST_USABLE, disk_sectors - TABLE_SECTORS - 2, disk_guid.bytes_le,
                         table_at, ENTRY_COUNT, ENTRY_SIZE, zlib.crc32(table))
    check = struct.pack("<I", zlib.crc32(fields))
    return (fields[:16] + check + fields[20:]).ljust(SECTOR, b"\0")


def write_tables(disk, disk_sectors, disk_guid, partitions):
    """Writes both tables to an open file that is disk_sectors long."""
    table = entry_table(partitions)
    last = disk_sectors - 1
    backup_table = last - TABLE_SECTORS
    disk.seek(0)
    disk.write(protective_mbr(disk_sectors))
    disk.write(header(disk_sectors, disk_guid, table, 1, last, 2))
    disk.write(table)
    disk.seek(backup_table * SECTOR)
    disk.write(table)
    disk.write(header(disk_sectors, disk_guid, table, last, 1, backup_table))


def read_partitions(path):
    """Partitions of the primary table; ValueError when there is none."""
    with open(path, "rb") as disk:
        disk.seek(SECTOR)
        head = disk.read(SECTOR)
        if head[:8] != b"EFI PART":
            raise ValueError(f"{path}: no GPT")
        check = struct.unpack_from("<I", head, 16)[0]
        if zlib.crc32(head[:16] + bytes(4) + head[20:92]) != check:
            raise ValueError(f"{path}: the GPT header's CRC is wrong")
        table_at, count, size, table_crc = struct.unpack_from("<QIII", head, 72)
        disk.seek(table_at * SECTOR)
        table = disk.read(count * size)
    if zlib.crc32(table) != table_crc:
        raise ValueError(f"{path}: the GPT entries' CRC is wrong")
    found = []
    for start in range(0, count * size, size):
        kind, guid, first, last, _, name = struct.unpack_from("<16s16sQQQ72s", table, start)
        if kind != bytes(16):
            found.append(Partition(uuid.UUID(bytes_le=kind), uuid.UUID(bytes_le=guid), first, last,
                                   name.decode("utf-16-le").rstrip("\0")))
    return found


def find_partition(path, type_guid):
    """The first partition of that type, or None."""
    return next((p for p in read_partitions(path) if p.type_guid == type_guid), None)
