#!/usr/bin/python3
"""Makes the pages that `make bench` measures with, once.

  make_corpus.py DIRECTORY [--only NAME ...] [--pages N]

Two kinds of files of whole pages, DIRECTORY/NAME.raw:

  guest-*   RAM of a stock Debian kernel and Debian programs under QEMU (TCG),
            each after other work: idle, text, database, compile. The disk of
            the guest is made of the packages of this machine.
  heap-*    writable memory of processes of this machine: python, sqlite.

Of each at most N pages, evenly spread, uniform ones left out (the core never
compresses them). What cannot be made is said and left out. DIRECTORY/corpus.json
tells how each came to be.
"""
import argparse
import glob
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = 4096
GUEST_MEMORY = 256 << 20
KERNEL_PACKAGE = "linux-image-cloud-amd64"
# In the guest, with what they depend on.
PACKAGES = ("bash", "coreutils", "grep", "sed", "mawk", "findutils", "gzip", "sqlite3", "gcc",
            "libc6-dev", "python3-minimal", "util-linux", "mount")
MODULES = ("virtio", "virtio_ring", "virtio_pci_legacy_dev", "virtio_pci_modern_dev",
           "virtio_pci", "virtio_blk")
READY = "CORPUS-READY"
LIMIT_SECONDS = 900  # a guest that hangs ends here

# What each guest does before its memory is taken; it stays alive meanwhile.
WORK = {
    "idle": "sleep 3",
    "text": """
cat /usr/include/*.h /usr/share/common-licenses/* > /tmp/text
for i in 1 2 3; do sort /tmp/text | uniq -c | sort -rn | head -2000 > /tmp/lines.$i; done
tr -cs A-Za-z '\\n' < /tmp/text | sort | uniq -c | sort -rn > /tmp/words
grep -r -l include /usr/include > /tmp/found
gzip -k -1 /tmp/text
( awk '{ seen[$0] = NR } END { while (1) system("sleep 1000") }' /tmp/text & )
""",
    "database": """
sqlite3 /tmp/shop.db "create table item(id integer primary key, name text, price real, note text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 60000)
insert into item select i, 'item ' || i, (i * 7919) % 10007 / 100.0,
       hex(i * 2654435761) || ' in shelf ' || (i % 97) from n;
create index by_name on item(name); create index by_price on item(price);"
( (echo "pragma cache_size=-60000; select count(*), sum(length(note)) from item;
select avg(price) from item where name > 'item 3' order by price limit 1000;
create temp table copy as select * from item order by note;
select count(*) from copy;"; sleep 100000) | sqlite3 /tmp/shop.db & )
sleep 20
""",
    "compile": """
cd /src
for i in mm/*.c lib/*.c; do gcc -I. -O2 -g -c $i -o /tmp/$(basename $i).o; done 2>/dev/null
( gcc -I. -O2 -g -ftime-report -c mm/swap_write.c -o /tmp/last.o & )
sleep 2
""",
}


def run(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


def closure(names):
    """Installed packages that `names` need, themselves included."""
    known, waiting = set(), list(names)
    while waiting:
        name = waiting.pop()
        done = subprocess.run(["dpkg-query", "-W", "-f", "${Depends},${Pre-Depends}", name],
                              capture_output=True, text=True, check=False)
        if name in known or done.returncode:
            continue
        known.add(name)
        for item in re.split(r"[,|]", done.stdout):
            match = re.match(r"\s*([a-z0-9][a-z0-9+.-]*)", item)
            if match:
                waiting.append(match[1])
    return sorted(known)


def copy_package(name, root):
    """Its files; a virtual package has none."""
    done = subprocess.run(["dpkg", "-L", name], capture_output=True, text=True, check=False)
    for path in done.stdout.splitlines():
        if path.startswith(("/usr/share/doc", "/usr/share/man", "/usr/share/locale")):
            continue
        real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        target = root + real
        if os.path.isdir(real) and not os.path.islink(real):
            os.makedirs(target, exist_ok=True)
        elif os.path.lexists(real) and not os.path.lexists(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy2(real, target, follow_symlinks=False)


def make_disk(folder):
    """An ext4 file system with the packages, our sources and the work."""
    disk, root = os.path.join(folder, "guest.ext4"), os.path.join(folder, "root")
    shutil.rmtree(root, ignore_errors=True)
    for name in ("proc", "sys", "dev", "tmp", "run", "src", "usr/bin", "usr/sbin", "usr/lib",
                 "usr/lib64"):
        os.makedirs(os.path.join(root, name))
    for name in ("bin", "sbin", "lib", "lib64"):
        os.symlink("usr/" + name, os.path.join(root, name))
    for package in closure(PACKAGES):
        copy_package(package, root)
    for name in ("awk", "cc"):
        link = os.path.join(root, "usr/bin", name)
        if not os.path.lexists(link):
            os.symlink({"awk": "mawk", "cc": "gcc"}[name], link)
    for name in ("mm", "lib", "abi"):
        shutil.copytree(os.path.join(ROOT, name), os.path.join(root, "src", name))
    for name, text in WORK.items():
        with open(os.path.join(root, f"work-{name}"), "w", encoding="ascii") as file:
            file.write(f"#!/bin/bash\nexport PATH=/usr/bin:/usr/sbin\n{text}\n"
                       f"echo {READY}\nsleep 100000\n")
        os.chmod(file.name, 0o755)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-d", root, disk, "900M")
    shutil.rmtree(root)
    return disk


def fetch_kernel(folder):
    """Unpacks Debian's kernel; returns the folder and the kernel's version."""
    tree = os.path.join(folder, "kernel")
    if not glob.glob(tree + "/boot/vmlinuz-*"):
        depends = run("apt-cache", "depends", KERNEL_PACKAGE)
        package = re.search(r"Depends: (linux-image-\S+)", depends)[1]
        os.makedirs(tree, exist_ok=True)
        run("apt-get", "download", "-q", package, cwd=folder)
        run("dpkg-deb", "-x", sorted(glob.glob(f"{folder}/{package}_*.deb"))[-1], tree)
    vmlinuz = sorted(glob.glob(tree + "/boot/vmlinuz-*"))[-1]
    return tree, os.path.basename(vmlinuz)[len("vmlinuz-"):]


def make_initramfs(folder, tree, version):
    """busybox and the modules that reach the disk."""
    root = os.path.join(folder, "initramfs")
    shutil.rmtree(root, ignore_errors=True)
    for name in ("proc", "sys", "dev", "bin", "new"):
        os.makedirs(os.path.join(root, name))
    shutil.copy2("/bin/busybox", root + "/bin/busybox")
    lines = ["#!/bin/busybox sh", "/bin/busybox mount -t proc proc /proc",
             "/bin/busybox mount -t sysfs sys /sys", "/bin/busybox mount -t devtmpfs dev /dev"]
    for module in MODULES:
        found = glob.glob(f"{tree}/lib/modules/{version}/**/{module}.ko", recursive=True)
        if found:
            shutil.copy2(found[0], root)
    # Some need others: in three passes all find what they need.
    lines += [f"/bin/busybox insmod /{module}.ko 2>/dev/null" for module in MODULES] * 3
    lines += ["/bin/busybox sleep 1", "/bin/busybox mount -t ext4 /dev/vda /new",
              "for d in proc sys dev; do /bin/busybox mount -o move /$d /new/$d; done",
              "set -- $(/bin/busybox sed 's/.*work=\\([a-z]*\\).*/\\1/' /new/proc/cmdline)",
              "exec /bin/busybox switch_root /new /work-$1"]
    with open(root + "/init", "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
    os.chmod(root + "/init", 0o755)
    image = os.path.join(folder, "initramfs.cpio")
    names = run("find", ".", cwd=root)
    with open(image, "wb") as file:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=root, input=names.encode(),
                       stdout=file, check=True)
    return image


class Monitor:
    """QEMU's monitor protocol, as far as needed."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self.ask("qmp_capabilities")

    def ask(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            if "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']}")
            if "return" in answer:
                return


def dump_guest(folder, work, disk, kernel, initramfs):
    """Boots the guest, waits for its work, returns the file with its RAM."""
    console, socket_path = f"{folder}/{work}.console", f"{folder}/{work}.qmp"
    memory = f"{folder}/{work}.ram"
    open(console, "w", encoding="ascii").close()
    qemu = subprocess.Popen(
        ["qemu-system-x86_64", "-accel", "tcg", "-m", f"{GUEST_MEMORY >> 20}M", "-display",
         "none", "-no-reboot", "-kernel", kernel, "-initrd", initramfs, "-serial",
         f"file:{console}", "-drive", f"file={disk},if=virtio,format=raw,snapshot=on", "-qmp",
         f"unix:{socket_path},server=on,wait=off", "-append",
         f"console=ttyS0 root=/dev/vda quiet panic=-1 work={work}"], stdin=subprocess.DEVNULL)
    try:
        end = time.monotonic() + LIMIT_SECONDS
        while READY not in open(console, encoding="utf-8", errors="replace").read():
            if qemu.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the guest did not finish, see {console}")
            time.sleep(1)
        monitor = Monitor(socket_path)
        monitor.ask("stop")
        monitor.ask("pmemsave", val=0, size=GUEST_MEMORY, filename=memory)
    finally:
        qemu.kill()
        qemu.wait()
    return memory


def uniform(page):
    return page[8:] == page[:-8]


def keep_sample(pages, target, limit):
    """At most limit of the pages that are not uniform, evenly spread."""
    good = [page for page in pages if not uniform(page)]
    step = max(1, len(good) / limit)
    chosen = [good[int(i * step)] for i in range(min(limit, len(good)))]
    with open(target, "wb") as file:
        file.write(b"".join(chosen))
    return {"pages": len(chosen), "not_uniform": len(good), "all": len(pages)}


def pages_of(path):
    with open(path, "rb") as file:
        data = file.read()
    return [data[i:i + PAGE] for i in range(0, len(data) - PAGE + 1, PAGE)]


HEAPS = {
    "python": [sys.executable, "-c", """
import ast, glob, os, sys
trees = [ast.parse(open(f).read()) for f in sorted(glob.glob(os.path.dirname(os.__file__) + '/*.py'))[:60]]
words = {}
for f in sorted(glob.glob('/usr/include/*.h')):
    for i, w in enumerate(open(f, errors='replace').read().split()):
        words.setdefault(w, []).append(i)
print('ready', flush=True)
sys.stdin.read()
"""],
    "sqlite": [sys.executable, "-c", """
import sqlite3, sys
db = sqlite3.connect(':memory:')
db.execute('create table t(a integer primary key, b text, c real)')
db.executemany('insert into t values(?, ?, ?)',
               ((i, 'row %x' % (i * 40503 & 0xffffffff), i / 7.0) for i in range(150000)))
db.execute('create index u on t(b)')
print('ready', flush=True)
sys.stdin.read()
"""],
}


def heap_pages(command):
    """Writable private memory of a process once it says it is ready."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    pages = []
    try:
        if "ready" not in process.stdout.readline():
            raise RuntimeError("it ended early")
        with open(f"/proc/{process.pid}/maps", encoding="ascii") as maps, \
                open(f"/proc/{process.pid}/mem", "rb") as memory:
            for line in maps:
                match = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw-p \S+ \S+ 0\s*(\[heap\])?$", line)
                if match:
                    start, end = int(match[1], 16), int(match[2], 16)
                    memory.seek(start)
                    data = memory.read(end - start)
                    pages += [data[i:i + PAGE] for i in range(0, len(data), PAGE)]
    finally:
        process.kill()
        process.wait()
    return pages


def make_guests(folder, wanted, limit, report):
    missing = [tool for tool in ("qemu-system-x86_64", "mke2fs", "cpio", "busybox")
               if not shutil.which(tool)]
    if missing:
        raise RuntimeError("not here: " + ", ".join(missing))
    scratch = os.path.join(folder, "scratch")
    os.makedirs(scratch, exist_ok=True)
    tree, version = fetch_kernel(scratch)
    initramfs, disk = make_initramfs(scratch, tree, version), make_disk(scratch)
    for work in wanted:
        print(f"corpus: guest {work}", flush=True)
        memory = dump_guest(scratch, work, disk, f"{tree}/boot/vmlinuz-{version}", initramfs)
        report[f"guest-{work}"] = keep_sample(pages_of(memory), f"{folder}/guest-{work}.raw",
                                              limit) | {"kernel": version}
        os.unlink(memory)
    os.unlink(disk)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("directory")
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--pages", type=int, default=8192)
    options = parser.parse_args()
    folder = os.path.abspath(options.directory)
    os.makedirs(folder, exist_ok=True)

    def wanted(kind, names):
        return [n for n in names if (not options.only or f"{kind}-{n}" in options.only)
                and not os.path.exists(f"{folder}/{kind}-{n}.raw")]

    report_path = folder + "/corpus.json"
    report = {}
    if os.path.exists(report_path):
        with open(report_path, encoding="ascii") as file:
            report = json.load(file)
    for name in wanted("heap", HEAPS):
        try:
            report[f"heap-{name}"] = keep_sample(heap_pages(HEAPS[name]),
                                                 f"{folder}/heap-{name}.raw", options.pages)
        except (OSError, RuntimeError) as error:
            print(f"corpus: no heap-{name}: {error}")
    guests = wanted("guest", WORK)
    if guests:
        try:
            make_guests(folder, guests, options.pages, report)
        except (OSError, RuntimeError, subprocess.CalledProcessError, TypeError,
                IndexError) as error:
            print(f"corpus: no {' '.join('guest-' + n for n in guests)} (from here on): {error}")
    with open(report_path, "w", encoding="ascii") as file:
        json.dump(report, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
