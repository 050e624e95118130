#!/usr/bin/env python3
"""Waits until the demo's files hold all records, opens them with age and zstd and compares them with what was sent."""
import glob
import os
import subprocess
import sys
import time

SHOWN = 5


def opened(path, key):
    age = subprocess.Popen(["age", "-d", "-i", key, path], stdout=subprocess.PIPE)
    text = subprocess.run(["zstd", "-dcq"], stdin=age.stdout, stdout=subprocess.PIPE, check=True).stdout
    if age.wait() != 0:
        sys.exit(f"age could not open {path}")
    return text.decode().split("\n")[:-1]


def main():
    work, total = sys.argv[1], int(sys.argv[2])
    files, got = {}, 0
    end = time.monotonic() + 60
    while got < total and time.monotonic() < end:
        for path in sorted(glob.glob(work + "/out/**/*.zst.age", recursive=True)):
            if path not in files:
                files[path] = opened(path, work + "/key.txt")
                got += len(files[path])
                if len(files) <= SHOWN:
                    print(f"  {os.path.relpath(path, work)}  {os.path.getsize(path):>8} bytes  {len(files[path]):>6} records", flush=True)
        time.sleep(0.1)
    if len(files) > SHOWN:
        print(f"  ... and {len(files) - SHOWN} more like these")
    sent = []
    for path in glob.glob(work + "/*.sent"):
        with open(path, encoding="utf-8") as f:
            sent += f.read().split("\n")[:-1]
    delivered = [line for lines in files.values() for line in lines]
    if len(set(sent)) != len(sent):
        sys.exit("the demo's own records are not distinct")
    missing, extra = set(sent) - set(delivered), set(delivered) - set(sent)
    if missing or extra or len(delivered) != len(sent):
        sys.exit(f"sent {len(sent)}, delivered {len(delivered)}: {len(missing)} missing, {len(extra)} unknown")
    raw = sum(len(x.encode()) + 1 for x in delivered)
    stored = sum(os.path.getsize(p) for p in files)
    print(f"{len(delivered)} records in {len(files)} files: each exactly once; {raw} bytes became {stored} ({raw / stored:.1f} : 1)")


main()
