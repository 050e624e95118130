"""kill -9 under load: no acknowledged record is lost, reordered or renumbered, and the delivered files hold each
acknowledged record exactly once (compared by sequence number: acknowledged ones once, others at most once).

SLUICE_KILLS sets the number of kills (default 100).
"""
import base64
import glob
import http.client
import json
import os
import random
import shutil
import subprocess
import threading
import time
import unittest

from daemon import SLOW, Daemon, wait_until

KILLS = int(os.environ.get("SLUICE_KILLS", "100"))
WRITERS = 3
# Most records that a writer sends between two kills: checking them costs more than sending them.
RECORDS_A_LIFE = 600

CONFIG = """
streams:
  - {name: events, shards: 3}
deliveries:
  - name: archive
    source: events
    buffer: {size: 64KiB, interval: 1s}
    compression: zstd
    sink: file://@FOLDER@/out/
"""


class Writer(threading.Thread):
    """Puts batches as fast as it can, up to a quota a life of the daemon; remembers what was acknowledged."""

    def __init__(self, test, number):
        super().__init__(daemon=True)
        self.test, self.number = test, number
        self.count = 0
        self.acknowledged = {}  # id -> (shard, sequence number)
        self.left = RECORDS_A_LIFE
        self.stopping = False

    def run(self):
        connection = None
        rng = random.Random(self.number)
        while not self.stopping:
            if self.left <= 0:
                time.sleep(0.01)
                continue
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", self.test.port, timeout=20 * SLOW)
            ids = [f"{self.number}-{self.count + i}" for i in range(rng.choice([1, 3, 20, 200]))]
            self.count += len(ids)
            self.left -= len(ids)
            pad = rng.choice(["", "x" * 100, "y" * 3000])
            records = [{"Data": base64.b64encode(json.dumps({"id": i, "pad": pad}).encode()).decode(), "PartitionKey": i} for i in ids]
            try:
                connection.request("POST", "/", json.dumps({"StreamName": "events", "Records": records}),
                                   {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Kinesis_20131202.PutRecords"})
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200:
                    self.test.refused.append((answer.status, body[:200]))
                    time.sleep(0.01)
                    continue
                for i, r in zip(ids, json.loads(body)["Records"]):
                    if "SequenceNumber" in r:
                        self.acknowledged[i] = (r["ShardId"], int(r["SequenceNumber"]))
            except (OSError, http.client.HTTPException, ValueError):
                connection.close()
                connection = None
                time.sleep(0.005)


class Kill(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon(config=CONFIG)
        self.port = None
        self.refused = []

    def tearDown(self):
        self.daemon.kill()
        shutil.rmtree(self.daemon.folder, ignore_errors=True)

    def read_all(self):
        """{id: (shard, sequence number)} of all that the stream holds; fails on disorder."""
        kinesis, got = self.daemon.kinesis(), {}
        for shard in kinesis.list_shards(StreamName="events")["Shards"]:
            it = kinesis.get_shard_iterator(StreamName="events", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
            last = -1
            while True:
                answer = kinesis.get_records(ShardIterator=it)
                for r in answer["Records"]:
                    number = int(r["SequenceNumber"])
                    self.assertGreater(number, last, "sequence numbers must rise")
                    last = number
                    key = json.loads(r["Data"])["id"]
                    self.assertNotIn(key, got, "a record must not be stored twice")
                    got[key] = (shard["ShardId"], number)
                it = answer["NextShardIterator"]
                if not answer["Records"] and answer["MillisBehindLatest"] == 0:
                    break
        return got

    def check_log(self, writers):
        # What is acknowledged before the reading begins must be read; the writers go on meanwhile.
        acknowledged = [dict(w.acknowledged) for w in writers]
        got = self.read_all()
        for known in acknowledged:
            for key, where in known.items():
                self.assertEqual(got.get(key), where, f"acknowledged record {key}")
        return got

    def delivered(self):
        """{id: how often} over the delivered files, opened by the real zstd."""
        counts = {}
        for path in glob.glob(self.daemon.folder + "/out/**/*.zst", recursive=True):
            text = subprocess.run(["zstd", "-dcq", path], stdout=subprocess.PIPE, check=True).stdout
            for line in text.splitlines():
                key = json.loads(line)["id"]
                counts[key] = counts.get(key, 0) + 1
        return counts

    def test_killed_under_load_loses_and_repeats_nothing(self):
        rng = random.Random(1)
        writers = [Writer(self, n) for n in range(WRITERS)]
        self.daemon.start()
        self.port = self.daemon.port
        for w in writers:
            w.start()
        try:
            for n in range(KILLS):
                for w in writers:
                    w.left = RECORDS_A_LIFE
                time.sleep(rng.uniform(0.02, 0.4) * SLOW)
                if n % 25 == 24:
                    self.check_log(writers)
                self.daemon.kill()
                self.daemon.start()
                self.port = self.daemon.port
        finally:
            for w in writers:
                w.stopping = True
            for w in writers:
                w.join(60 * SLOW)
        got = self.check_log(writers)
        acknowledged = {k for w in writers for k in w.acknowledged}
        self.assertGreater(len(acknowledged), KILLS * 20, "the load was too small to mean anything")
        wait_until(lambda: acknowledged <= set(self.delivered()), 60, "every acknowledged record is delivered")
        self.assertEqual(self.daemon.stop(), 0)
        counts = self.delivered()
        self.assertEqual([k for k, c in counts.items() if c != 1], [], "delivered more than once")
        self.assertEqual(set(counts) - set(got), set(), "delivered, but not in the log")
        print(f"{KILLS} kills, {len(acknowledged)} records acknowledged, {len(got)} stored, {len(counts)} delivered")


if __name__ == "__main__":
    unittest.main()
