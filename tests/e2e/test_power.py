"""The power cut on a real kernel: the daemon runs on ext4 over a disk that records its writes and flushes
(tests/power/); each case cuts the power at some moment of that record, keeps what was flushed and any part of the rest,
mounts, starts the daemon and checks: what was acknowledged before the cut is there with its sequence number, nothing is
quarantined, no number is given again, and the delivered files hold each record once.

That the method finds mistakes is tested too: with `sync: never` the same cuts must lose acknowledged records.

SLUICE_POWER_CASES sets the number of cuts (default 20), SLUICE_POWER_SEED what is random, SLUICE_POWER_KEEP=1 keeps the
record and the image of a failed case. Needs root, /dev/fuse, loop devices: elsewhere skipped, with CI=true a failure.
"""
import http.client
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
import unittest

from daemon import SLOW, TOP, Daemon, wait_until

sys.path.insert(0, os.path.join(TOP, "tests", "power"))
from crash_disk import FLUSH, LoopMount, RecordingDisk, WriteLog, missing  # noqa: E402
from record_client import Client, delivered, read_stream  # noqa: E402

CASES = int(os.environ.get("SLUICE_POWER_CASES", "20" if SLOW == 1 else "4"))
SEED = int(os.environ.get("SLUICE_POWER_SEED", "1"))
KEEP = bool(os.environ.get("SLUICE_POWER_KEEP"))
DISK_BYTES = 512 << 20
WRITERS = 3
RECORDS_MAX = 12000
BYTES_MAX = 24 << 20
SECONDS_MAX = 15 * SLOW

# Small files, so that a few seconds see many of them filled, moved and recycled.
CONFIG = """
sync: @SYNC@
loops: 2
disk_reserve: 1%
journal: {size: 4MiB}
segments: {min: 64KiB, max: 512KiB}
cache: {size: 32MiB}
streams:
  - {name: events, shards: 3}
deliveries:
  - name: archive
    source: events
    buffer: {size: 128KiB, interval: 300ms}
    compression: zstd
    sink: file://@FOLDER@/mnt/out/
"""


def put(client, ids, pad=""):
    """[(id, shard, sequence number)] of what was acknowledged."""
    answer = client.put_records("events", [(i, json.dumps({"id": i, "pad": pad})) for i in ids])
    return [(i, r["ShardId"], int(r["SequenceNumber"])) for i, r in zip(ids, answer) if "SequenceNumber" in r]


class Writer(threading.Thread):
    """Puts batches; notes for each acknowledgement the position in the disk's record right after it."""

    def __init__(self, load, number):
        super().__init__(daemon=True)
        self.load, self.number = load, number
        self.count = self.bytes = 0
        self.acknowledged = []  # (position, id, shard, sequence number)
        self.problem = None

    def run(self):
        try:
            self._run()
        except Exception as e:  # seen by the test's own thread
            self.problem = e

    def _run(self):
        rng, client = random.Random(SEED * 100 + self.number), None
        while not self.load.stopping.is_set():
            ids = [f"{self.number}-{self.count + i}" for i in range(rng.choice([1, 1, 3, 20, 100]))]
            pad = rng.choice(["", "x" * 100, "y" * 3000, "z" * 3000])
            self.count += len(ids)
            self.bytes += len(ids) * len(pad)
            try:
                client = client or Client(self.load.port)
                done = put(client, ids, pad)
            except (OSError, http.client.HTTPException):
                if client:
                    client.close()
                client = None
                self.load.stopping.wait(0.02)
                continue
            position = self.load.disk.position()
            self.acknowledged += [(position, *one) for one in done]
            if rng.random() < 0.03:  # a quiet while: the tail gets its mark
                self.load.stopping.wait(rng.uniform(0.05, 0.3))
        if client:
            client.close()


class Load:
    """Runs the daemon on a recording disk under load, with a crash of the daemon in the middle; ends with a clean stop."""

    def __init__(self, folder, sync, share=1.0):
        self.folder, self.share = folder, share
        self.disk = RecordingDisk(folder, os.path.join(folder, "mnt"), DISK_BYTES)
        self.daemon = power_daemon(folder, sync)
        self.stopping = threading.Event()
        self.port = None
        self.streams = []  # (position, name) of the streams that were made meanwhile

    def record(self):
        self.writers = [Writer(self, n) for n in range(WRITERS)]
        try:
            self.disk.open()
            self.begin = self.disk.position()
            self.port = self.daemon.start().port
            for w in self.writers:
                w.start()
            self._until(self.share / 2)
            self.daemon.kill()
            self.port = self.daemon.start().port
            self._until(self.share)
            self.stopping.set()
            for w in self.writers:
                w.join(60 * SLOW)
            status = self.daemon.stop()
            if status != 0:
                raise AssertionError(f"the daemon ended with {status}:\n{self.daemon.log()}")
            self.end = self.disk.position()
        finally:
            self.stopping.set()
            self.daemon.kill()
            self.disk.close()
        for w in self.writers:
            if w.problem:
                raise w.problem
        self.acknowledged = sorted(one for w in self.writers for one in w.acknowledged)
        return self

    def _until(self, share):
        """Lets the writers go on up to a share of what is allowed in all; makes streams meanwhile."""
        client, end = Client(self.port), time.monotonic() + SECONDS_MAX * share
        while (sum(w.count for w in self.writers) < RECORDS_MAX * share and sum(w.bytes for w in self.writers) < BYTES_MAX * share
               and time.monotonic() < end):
            name = f"extra-{len(self.streams)}"
            client.call("CreateStream", StreamName=name, ShardCount=1)
            self.streams.append((self.disk.position(), name))
            self.stopping.wait(0.2)
        client.close()

    def cuts(self, log, count, rng):
        """Moments of the record, in order: a third right at an acknowledgement, when nothing later can have helped it, a
        third right before a flush, when most is in the balance, a third anywhere."""
        flushes = [i for i in range(self.begin, self.end) if log.entries[i][0] == FLUSH]
        kinds = [lambda: rng.choice(self.acknowledged)[0], lambda: rng.choice(flushes), lambda: rng.randrange(self.begin, self.end)]
        return sorted(kinds[n % 3]() for n in range(count))


def power_daemon(folder, sync):
    d = Daemon(config=CONFIG.replace("@SYNC@", sync), folder=folder)
    d.data = os.path.join(folder, "mnt", "data")
    return d


class CutDisk:
    """A disk after the power cut, mounted where the recording one was."""

    def __init__(self, load, log, cut, rng):
        self.file = os.path.join(load.folder, f"cut-{cut}.img")
        self.in_balance = log.image(cut, self.file, rng)
        self.loop = LoopMount(self.file, os.path.join(load.folder, "mnt"))
        self.out = os.path.join(load.folder, "mnt", "out")

    def __enter__(self):
        try:
            self.loop.attach()
            self.loop.mount()
        except BaseException:
            self.loop.close()
            raise
        return self

    def __exit__(self, kind, *_):
        self.loop.close()
        if not (KEEP and kind):
            os.unlink(self.file)

    def delivered(self):
        return delivered(self.out)


class Power(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        lack = missing()
        if lack and os.environ.get("CI") == "true":
            raise AssertionError(f"the power-cut test {lack}; in CI it must run")
        if lack:
            raise unittest.SkipTest(lack)

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="sluice-power-")
        self.daemon = self.log = None

    def tearDown(self):
        if self.daemon:
            self.daemon.kill()
        if self.log:
            self.log.close()
        if not KEEP:
            shutil.rmtree(self.folder, ignore_errors=True)

    def lost(self, load, cut, client):
        """What was acknowledged at the cut and is not there as it was; with what else is wrong in the log."""
        got, complaints = read_stream(client, "events")
        for position, key, shard, number in load.acknowledged:
            if position > cut:
                break
            if got.get(key) != (shard, number):
                complaints.append(f"record {key}, acknowledged as {shard} {number} at {position}, is {got.get(key)}")
        names = set()
        while True:
            answer = client.call("ListStreams", **({"ExclusiveStartStreamName": max(names)} if names else {}))
            names.update(answer["StreamNames"])
            if not answer["HasMoreStreams"]:
                break
        complaints += [f"stream {name}, made at {position}, is not there" for position, name in load.streams
                       if position <= cut and name not in names]
        return got, complaints

    def check_delivery(self, disk, got, before):
        self.assertEqual([k for k, c in before.items() if c != 1], [], "delivered more than once before the cut")
        self.assertEqual(set(before) - set(got), set(), "delivered before the cut, but not in the log")
        wait_until(lambda: set(got) <= set(disk.delivered()), 30, "every stored record is delivered")
        self.assertEqual(self.daemon.stop(), 0, "a clean stop")
        counts = disk.delivered()
        self.assertEqual([k for k, c in counts.items() if c != 1], [], "delivered more than once")
        self.assertEqual(set(counts) - set(got), set(), "delivered, but not in the log")

    def check_case(self, load, cut, rng):
        with CutDisk(load, self.log, cut, rng) as disk:
            try:
                before = disk.delivered()
                client = Client(self.daemon.start().port)
                got, complaints = self.lost(load, cut, client)
                self.assertEqual(complaints[:5], [], f"{len(complaints)} complaints")
                self.assertEqual(client.metric("sluice_log_quarantined_shards"), 0)
                highest = {}
                for shard, number in got.values():
                    highest[shard] = max(highest.get(shard, -1), number)
                fresh = put(client, [f"fresh-{i}" for i in range(30)])
                self.assertEqual(len(fresh), 30, "puts work again")
                for key, shard, number in fresh:
                    self.assertGreater(number, highest.get(shard, -1), "a number is given twice")
                    got[key] = (shard, number)
                self.assertEqual(read_stream(client, "events"), (got, []))
                client.close()
                self.check_delivery(disk, got, before)
            finally:
                self.daemon.kill()
            return disk.in_balance, disk.loop.repaired, len(got) - 30

    def test_power_cuts_lose_and_repeat_nothing(self):
        rng = random.Random(SEED)
        load = Load(self.folder, "batch").record()
        self.log = WriteLog(load.disk.log_file, os.path.join(self.folder, "base.img"), DISK_BYTES)
        flushes = sum(e[0] == FLUSH for e in self.log.entries)
        self.assertGreater(len(load.acknowledged), 500, "the load was too small to mean anything")
        self.assertGreater(flushes, 50, "hardly any flush reached the disk")
        self.daemon = power_daemon(self.folder, "batch")
        tried, balance, repaired = 0, 0, 0
        for cut in load.cuts(self.log, CASES, rng):
            with self.subTest(cut=cut, seed=SEED, folder=self.folder if KEEP else None):
                in_balance, mended, _ = self.check_case(load, cut, rng)
                tried, balance, repaired = tried + 1, balance + in_balance, repaired + mended
        print(f"{tried} power cuts, {len(load.acknowledged)} records acknowledged, {len(self.log.entries)} disk operations, "
              f"{flushes} flushes, {balance / max(tried, 1):.0f} operations in the balance, {repaired} superblocks repaired")

    def test_the_same_cuts_find_a_log_that_does_not_sync(self):
        rng = random.Random(SEED)
        load = Load(self.folder, "never", 0.4).record()
        self.log = WriteLog(load.disk.log_file, os.path.join(self.folder, "base.img"), DISK_BYTES)
        self.daemon = power_daemon(self.folder, "never")
        for cut in load.cuts(self.log, 10, rng):
            with CutDisk(load, self.log, cut, rng):
                try:
                    client = Client(self.daemon.start().port)
                    _, complaints = self.lost(load, cut, client)
                    client.close()
                finally:
                    self.daemon.kill()
            if complaints:
                return
        self.fail("ten power cuts took nothing from a log that was never synced")


if __name__ == "__main__":
    unittest.main()
