#!/usr/bin/python3
"""Makes a disk that any UEFI machine boots Ballast from.

One GPT disk: an EFI system partition with the loader, the hypervisor, the
configuration and the guest images it names, and a swap partition that carries
our signature. The same inputs give the same bytes.
"""
import argparse
import os
import subprocess
import sys
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import configfile
import esp
import gpt
from swapformat import swap_header

NAMESPACE = uuid.UUID("62616c6c-6173-4000-8000-000000000000")
MIB = 1 << 20
ESP_MINIMUM = 16 * MIB
# A page on its way to swap takes nine sectors (page, tag, nonce): 1.125 times.
SWAP_PER_GUEST_BYTE = 1.3

LOADER_PATH = "/EFI/BOOT/BOOTX64.EFI"
FOLDER = "/ballast/"
HYPERVISOR_PATH = FOLDER + "ballast.elf"
CONFIG_PATH = FOLDER + "ballast.conf"


def fixed_uuid(name):
    return uuid.uuid5(NAMESPACE, name)


def default_swap_bytes(config):
    return int(config.guest_bytes * SWAP_PER_GUEST_BYTE) // MIB * MIB + 4 * MIB


def name_images(config, allow_missing):
    """({line index: path to write there}, {path on the ESP: bytes}). The images
    lie beside the configuration, so their paths are just names."""
    by_source, new_paths, files = {}, {}, {}
    for image in config.images:
        if image.source not in by_source:
            name = free_name(os.path.basename(image.source), by_source.values())
            by_source[image.source] = name
            content = read_image(config, image, allow_missing)
            if content is not None:
                files[FOLDER + name] = content
        new_paths[image.line] = by_source[image.source]
    return new_paths, files


def free_name(wanted, taken):
    stem, extension = os.path.splitext(wanted)
    name, count = wanted, 1
    while name in taken or FOLDER + name in (HYPERVISOR_PATH, CONFIG_PATH):
        count += 1
        name = f"{stem}-{count}{extension}"
    return name


def read_image(config, image, allow_missing):
    try:
        with open(image.source, "rb") as file:
            return file.read()
    except OSError as error:
        if allow_missing:
            return None
        raise config.problem(image.line,
                             f"image of VM {image.vm}: {image.source}: {error.strerror}") from None


def check_config(config, written, checker):
    """Lets the loader's own parser judge the file as it will be written."""
    done = subprocess.run([os.path.abspath(checker), config.path], input=written,
                          capture_output=True, check=False)
    if done.returncode:
        raise configfile.ConfigProblem(done.stderr.decode().strip())


def collect_files(config, options):
    """Everything that goes to the ESP."""
    new_paths, images = name_images(config, options.allow_missing)
    if options.checker:
        check_config(config, config.rewritten(new_paths), options.checker)
    files = {LOADER_PATH: read_built(options.loader, options.allow_missing),
             HYPERVISOR_PATH: read_built(options.hypervisor, options.allow_missing),
             CONFIG_PATH: None if options.no_config else config.rewritten(new_paths)}
    files.update(images)
    return {path: content for path, content in files.items() if content is not None}


def read_built(path, allow_missing):
    if allow_missing and not os.path.exists(path):
        return None
    with open(path, "rb") as file:
        return file.read()


def write_image(path, files, swap_bytes, signed=True):
    """Writes the disk; swap_bytes 0 leaves the swap partition out."""
    content = sum(len(data) for data in files.values())
    esp_bytes = max(ESP_MINIMUM, gpt.align_up(content * 9 // 8 + 2 * MIB, MIB))
    wanted = [(gpt.TYPE_ESP, fixed_uuid("esp"), esp_bytes // gpt.SECTOR, "ballast-esp")]
    if swap_bytes:
        wanted.append((gpt.TYPE_SWAP, fixed_uuid("swap"), swap_bytes // gpt.SECTOR, "ballast-swap"))
    partitions, sectors = gpt.layout(wanted)
    temporary = path + ".new"
    with open(temporary, "wb") as disk:
        disk.truncate(sectors * gpt.SECTOR)
        gpt.write_tables(disk, sectors, fixed_uuid("disk"), partitions)
        if swap_bytes and signed:
            disk.seek(partitions[1].offset)
            disk.write(swap_header(partitions[1].sectors, fixed_uuid("swap").bytes))
    esp.write_esp(temporary, partitions[0].offset, partitions[0].sectors, files)
    os.replace(temporary, path)
    return partitions, sectors


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description="Makes a Ballast disk image.")
    parser.add_argument("--config", required=True, help="configuration file")
    parser.add_argument("--out", default="build/ballast.img")
    parser.add_argument("--loader", default="build/BOOTX64.EFI")
    parser.add_argument("--hypervisor", default="build/ballast.elf")
    parser.add_argument("--checker", default="", help="program that judges the configuration "
                        "first (build/checkconf)")
    parser.add_argument("--swap", default="auto", metavar="SIZE",
                        help="size of the swap partition, like 96M; "
                        "auto: enough for all guest memory; 0: none")
    parser.add_argument("--no-swap", action="store_true", help="no swap partition")
    parser.add_argument("--swap-unsigned", action="store_true",
                        help="a swap partition without our signature (for tests)")
    parser.add_argument("--allow-missing", action="store_true",
                        help="leave out files that do not exist (for tests of the loader)")
    parser.add_argument("--no-config", action="store_true",
                        help="leave the configuration out (for tests of the loader)")
    return parser.parse_args(arguments)


def swap_size(config, options):
    if options.no_swap:
        return 0
    if options.swap in ("", "auto"):
        return default_swap_bytes(config)
    size = configfile.parse_size(options.swap)
    if size is None:
        raise configfile.ConfigProblem(f"--swap {options.swap}: not a size, like 96M")
    return gpt.align_up(size, gpt.SECTOR)


def main(arguments):
    options = parse_arguments(arguments)
    try:
        config = configfile.ConfigFile(options.config)
        files = collect_files(config, options)
        swap = swap_size(config, options)
        partitions, sectors = write_image(options.out, files, swap, not options.swap_unsigned)
    except configfile.ConfigProblem as problem:
        print(problem, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except RuntimeError as error:
        print(f"{options.out}: {error}", file=sys.stderr)
        return 1
    print(f"{options.out}: {sectors * gpt.SECTOR // MIB} MiB, " +
          ", ".join(f"{part.name} {part.size // MIB} MiB" for part in partitions))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
