"""Reads text off a screen dump: every cell of 8 by 16 pixels is looked up in the
hypervisor's own font (lib/font.c, compiled for it)."""
import ctypes
import os
import subprocess

WIDTH, HEIGHT = 8, 16
PRINTABLE = range(0x20, 0x7f)


def load_font(root, build):
    """{glyph: character}; a glyph is 16 bytes."""
    library = os.path.join(build, "font.so")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", f"-I{root}", "-o", library,
                    os.path.join(root, "lib", "font.c")], check=True)
    font = ctypes.CDLL(library)
    font.font_draw.argtypes = [ctypes.c_char, ctypes.c_char_p]
    glyphs = {}
    for code in PRINTABLE:
        rows = ctypes.create_string_buffer(HEIGHT)
        font.font_draw(bytes([code]), rows)
        glyphs[rows.raw] = chr(code)
    return glyphs


def read_ppm(path):
    """(width, height, pixels of three bytes) of a binary PPM file."""
    with open(path, "rb") as file:
        data = file.read()
    fields = data.split(maxsplit=4)
    if fields[0] != b"P6" or fields[3] != b"255":
        raise ValueError(f"{path}: no binary PPM")
    width, height = int(fields[1]), int(fields[2])
    return width, height, data[len(data) - width * height * 3:]


def lines(path, glyphs):
    """The screen as text; a cell that is no letter is a question mark."""
    width, height, pixels = read_ppm(path)
    found = []
    for top in range(0, height - HEIGHT + 1, HEIGHT):
        text = ""
        for left in range(0, width - WIDTH + 1, WIDTH):
            glyph = bytes(sum((pixels[((top + y) * width + left + x) * 3] > 127) << (7 - x)
                              for x in range(WIDTH)) for y in range(HEIGHT))
            text += glyphs.get(glyph, "?")
        found.append(text.rstrip())
    return found
