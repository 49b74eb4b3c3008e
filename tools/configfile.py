"""What the tools need from a configuration file: sizes, names and image paths.

The hypervisor's loader (boot/config.c) is the judge of a configuration; here
only the few keys that making an image needs are read, and lines that make no
sense are left for the loader to complain about.
"""
import os
import re
from dataclasses import dataclass

SIZE = re.compile(r"^(\d+)\s*([KMG]?)B?$", re.IGNORECASE)
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class ConfigProblem(Exception):
    """One line: file:line: reason."""


@dataclass
class Image:
    line: int      # index into lines
    vm: str
    source: str    # path as this machine sees it


def parse_size(text):
    """Bytes of "64M", or None when it is no size."""
    match = SIZE.match(text.strip())
    return int(match[1]) * UNITS[match[2].upper()] if match else None


def split_key(line):
    """("key", "value") of a `key = value` line, else None."""
    text = line.strip()
    if not text or text[0] in "#;[" or "=" not in text:
        return None
    key, value = text.split("=", 1)
    return key.strip(), strip_comment(value)


def strip_comment(value):
    """A value without the comment that may follow it."""
    return re.split(r"\s#", value, maxsplit=1)[0].strip()


class ConfigFile:
    """A configuration file as lines, with what the tools want to know of it."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            self.lines = file.read().decode("latin-1").splitlines(keepends=True)
        self.images = []
        self.vm_names = []
        self.guest_bytes = 0
        self.host = {}
        self._scan()

    def _scan(self):
        section = None
        for index, line in enumerate(self.lines):
            head = re.match(r"^\s*\[\s*(\w+)\s*(.*?)\s*\]", line)
            if head:
                section = (head[1], head[2])
                if head[1] == "vm":
                    self.vm_names.append(head[2])
                continue
            pair = split_key(line)
            if pair and section:
                self._take(index, section, *pair)

    def _take(self, index, section, key, value):
        kind, name = section
        if kind == "host":
            self.host[key] = value
        elif key == "memory":
            self.guest_bytes += parse_size(value) or 0
        elif key == "image" and value:
            folder = os.path.dirname(os.path.abspath(self.path))
            self.images.append(Image(index, name, os.path.normpath(os.path.join(folder, value))))

    def problem(self, index, reason):
        return ConfigProblem(f"{self.path}:{index + 1}: {reason}")

    def rewritten(self, new_paths):
        """The file's bytes with the value of each image line replaced:
        new_paths maps line index to path. Line numbers stay."""
        out = []
        for index, line in enumerate(self.lines):
            if index in new_paths:
                before, value = line.split("=", 1)
                old = strip_comment(value)
                line = before + "=" + value.replace(old, new_paths[index], 1)
            out.append(line)
        return "".join(out).encode("latin-1")
