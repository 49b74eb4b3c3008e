"""The EFI system partition: a FAT file system filled by mtools.

Volume id and all times are fixed (mtools takes SOURCE_DATE_EPOCH), so the same
files give the same bytes.
"""
import os
import subprocess
import tempfile

VOLUME_ID = "8A11A575"
VOLUME_NAME = "BALLAST"
EPOCH = 1735689600  # 2025-01-01 00:00 UTC
SECTOR = 512


def mtools(*arguments):
    environment = dict(os.environ, SOURCE_DATE_EPOCH=str(EPOCH), TZ="UTC", MTOOLS_SKIP_CHECK="1",
                       MTOOLSRC="/dev/null")
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{arguments[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def folders_of(paths):
    """Every folder those absolute paths need, parents first."""
    found = []
    for path in paths:
        parts = path.strip("/").split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = "/" + "/".join(parts[:depth])
            if folder not in found:
                found.append(folder)
    return found


def write_esp(disk_path, offset, sectors, files):
    """Formats the range of the disk and copies files: {path on the ESP: bytes}."""
    target = f"{disk_path}@@{offset}"
    mtools("mformat", "-i", target, "-T", str(sectors), "-h", "16", "-s", "63", "-H",
           str(offset // SECTOR), "-N", VOLUME_ID, "-v", VOLUME_NAME, "-m", "248", "::")
    for folder in folders_of(files):
        mtools("mmd", "-i", target, "::" + folder)
    with tempfile.TemporaryDirectory() as temporary:
        source = os.path.join(temporary, "file")
        for path, content in files.items():
            with open(source, "wb") as file:
                file.write(content)
            os.utime(source, (EPOCH, EPOCH))
            mtools("mcopy", "-m", "-i", target, source, "::" + path)


def read_file(disk_path, offset, path):
    """A file of the ESP, as bytes."""
    done = subprocess.run(["mcopy", "-n", "-i", f"{disk_path}@@{offset}", "::" + path, "-"],
                          capture_output=True, check=True)
    return done.stdout
