"""Telemetry of a run that never was, for tests of the tools."""
import json
import math

NAMES = ("alpha", "beta", "gamma", "delta")
PAGES = 11264  # 44 MiB
STATES = ("high", "clear", "soft", "hard", "low")


def start_record():
    vms = [{"id": i, "name": name, "memory": PAGES, "reserve": 1024, "limit": PAGES,
            "vcpus": 1, "shares": 1000, "cpu_shares": 1000, "group": "", "balloon": True, "started": True,
            "reason": ""} for i, name in enumerate(NAMES)]
    machine = {"cpu": "Synthetic <CPU>", "vendor": "GenuineIntel", "virtualization": "VT-x, EPT",
               "signature": 1, "features_1_ecx": 1, "features_1_edx": 1, "features_7_ebx": 1,
               "physical_bits": 39, "tsc_hz": 50000000, "lapic_hz": 1000000,
               "memory": 64 << 20, "cpus": 1}
    return {"record": "start", "t": 0, "schema": 1, "version": "0.1", "config_hash": "0" * 16,
            "seed": 1, "keys_secret": False, "policy": "esx",
            "tiers": ["share", "balloon", "compress", "swap"], "large_pages": True,
            "swap_read_ahead": 8, "sample_ms": 100,
            "machine": machine, "vms": vms}


def vm_sample(index, name, step):
    """Homes that add up to the configured pages, moving with time."""
    grown = min(1.0, step / 60 * (1 + index * 0.2))
    touched = int(PAGES * grown * 0.9)
    pressure = max(0.0, min(1.0, (step - 20) / 60))
    shared = int(touched * 0.2 * pressure)
    pool = int(touched * 0.2 * pressure)
    swap = int(touched * 0.25 * pressure * (0.8 + 0.2 * math.sin(step / 7)))
    balloon = int((PAGES - touched) * pressure)
    private = touched - shared - pool - swap
    vm = {"id": index, "name": name, "state": "running", "wait": "none", "driver": "idle",
          "run_us": step * 20000, "checked": step * 100, "exits": {"nested_fault": step * 50},
          "device": {}, "refused": {}, "configured": PAGES, "reserve": 1024, "limit": PAGES,
          "target": PAGES - swap - balloon, "resident": private + shared // 2, "private": private,
          "shared": shared, "pool": pool, "swap": swap, "balloon": balloon,
          "zero": PAGES - touched - balloon, "faults_zero": touched, "faults_cow": step * 3,
          "faults_pool": step * 7, "faults_swap": step * 5, "stall_page_in": step * 9000,
          "stall_frame": step * 2500}
    return {key: value for key, value in vm.items() if key == "id" or value != 0}


def sample_record(step):
    vms = [vm_sample(i, name, step) for i, name in enumerate(NAMES)]
    managed, minimum = 16384, 983
    private = min(managed - 400, sum(vm.get("resident", 0) for vm in vms))
    free = max(200, managed - private - 2000)
    host = {"state": STATES[min(4, step // 25)], "idle_us": step * 1000,
            "frames_managed": managed, "frames_free": free, "frames_private": private,
            "frames_shared": 900, "frames_pool": 800, "frames_table": 90, "min_free": minimum,
            "metadata_ppm": 4700, "table_ppm": 2100, "swap_online": 1,
            "net_share": step * 20, "net_balloon": step * 11, "net_compress": step * 8,
            "net_swap": step * 31}
    for vm in vms:
        vm.setdefault("exits", {})
        vm.setdefault("device", {})
        vm.setdefault("refused", {})
    return {"record": "sample", "t": step * 100000, "seq": step, "host": host, "vms": vms}


def event_records():
    return [{"record": "event", "t": 2500000, "event": "state", "old": "high", "new": "clear"},
            {"record": "event", "t": 2600000, "event": "target", "vm": "alpha", "old": 5,
             "new": 4},
            {"record": "event", "t": 11900000, "event": "vm_end", "vm": "alpha",
             "reason": "exit status 0", "status": 0, "checked": 12000, "mismatched": 0}]


def end_record(last):
    vms = [dict(vm, started=True, reason="exit status 0", status=0, mismatched=0)
           for vm in last["vms"]]
    net = {tier: last["host"][f"net_{tier}"] for tier in
           ("share", "balloon", "compress", "swap")}
    return {"record": "end", "t": last["t"], "result": "ok", "reason": "",
            "audit": {"violations": 0, "first": ""}, "net": net, "configured": PAGES * 4,
            "managed": 16384, "samples_skipped": 0, "events_skipped": 0, "host": last["host"],
            "peak": {"metadata_ppm": 4700, "table_ppm": 2100}, "vms": vms}


def records(steps=120):
    """All records of a run, in the order of a file."""
    samples = [sample_record(step) for step in range(steps)]
    timed = sorted(samples + event_records(), key=lambda record: record["t"])
    timed = [record for record in timed if record["t"] <= samples[-1]["t"]]
    return [start_record()] + timed + [end_record(samples[-1])]


def as_text(items):
    return "".join(json.dumps(item) + "\n" for item in items)
