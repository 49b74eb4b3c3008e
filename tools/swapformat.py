"""The header of a swap area, as mm/swap_format.h describes it."""
import struct
import zlib

MAGIC = b"BALLASTSWAP".ljust(16, b"\0")
VERSION = 1
SECTOR = 512


def swap_header(sector_count, uuid_bytes):
    """Sector 0 of a swap area of sector_count sectors."""
    fields = struct.pack("<16sIIQ16sI", MAGIC, VERSION, SECTOR, sector_count, uuid_bytes, 0)
    return (fields + struct.pack("<I", zlib.crc32(fields))).ljust(SECTOR, b"\0")
