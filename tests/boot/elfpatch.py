"""Puts machine code over a function of an ELF64 file: how the tests make the
hypervisor fault without a hook for that in the hypervisor.
"""
import struct

SHT_SYMTAB = 2


def sections(content):
    """Section headers as (type, address, offset, size, link)."""
    offset, = struct.unpack_from("<Q", content, 0x28)
    size, count = struct.unpack_from("<HH", content, 0x3a)
    for index in range(count):
        _, kind, _, address, where, length, link = struct.unpack_from(
            "<IIQQQQI", content, offset + index * size)
        yield kind, address, where, length, link


def symbol_address(content, headers, wanted):
    for kind, _, where, length, link in headers:
        if kind != SHT_SYMTAB:
            continue
        names = headers[link][2]
        for at in range(where, where + length, 24):
            name, _, _, _, value, _ = struct.unpack_from("<IBBHQQ", content, at)
            end = content.index(b"\0", names + name)
            if content[names + name:end].decode() == wanted:
                return value
    raise ValueError(f"no symbol {wanted}")


def patched(content, function, code):
    """The file's bytes with code over the beginning of the function."""
    headers = list(sections(content))
    address = symbol_address(content, headers, function)
    for kind, start, where, length, _ in headers:
        if kind == 1 and start and start <= address < start + length:
            at = where + address - start
            return content[:at] + code + content[at + len(code):]
    raise ValueError(f"{function} is in no section")
