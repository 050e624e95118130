"""Memory is bounded by the configuration: under a load of large records, far more of it in flight than `cache.size` and
`http.memory` allow, the daemon stays within what they add up to, tells clients to come back later in AWS's way, and
serves normally afterwards.
"""
import base64
import collections
import http.client
import json
import os
import random
import threading
import time
import unittest

from daemon import SLOW, Daemon, wait_until

MIB = 1 << 20
SECONDS = 5 * SLOW
LOOPS = 2
CACHE = 16 * MIB
HTTP_MEMORY = 16 * MIB
HTTP_BODY = 12 * MIB

CONFIG = f"""
loops: {LOOPS}
workers: 2
disk_reserve: 0%
journal: {{size: 8MiB}}
segments: {{max: 4MiB}}
cache: {{size: {CACHE}}}
http: {{memory: {HTTP_MEMORY}, body: {HTTP_BODY}}}
streams:
  - {{name: events, shards: 4, retention: {{size: 64MiB}}}}
  - {{name: large, shards: 2, record_size: 8MiB, retention: {{size: 64MiB}}}}
deliveries:
  - {{name: archive, source: events, buffer: {{size: 1MiB, interval: 1s}}, compression: zstd, sink: "file://@FOLDER@/out/"}}
"""

# What a request may hold beyond http.memory: the one that is alone is let through whatever its size, a loop; with what it
# is decoded to (base64 makes 3 bytes of 4).
ALONE = LOOPS * HTTP_BODY * 2
# A delivery's pieces on their way: DELIVERY_FLOWS of two PIECE_BUFFER_BYTES, a loop (firehose/).
DELIVERY = LOOPS * 12 * 2 * (MIB + (160 << 10))
# Stacks, buffer rings, indexes, the catalog's cache, the allocator's own losses.
FIXED = 12 * MIB


def status_kib(pid, name):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(name + ":"))


def put_records(stream, count, size, rng):
    data = base64.b64encode(rng.randbytes(size)).decode()
    body = json.dumps({"StreamName": stream, "Records": [{"Data": data, "PartitionKey": str(rng.random())} for _ in range(count)]})
    return body.encode()


class Clients:
    """Writers and readers, each a thread with a connection; `answers` counts what they were told."""

    def __init__(self, port):
        self.port, self.ending = port, threading.Event()
        self.answers, self.wrong, self.stored = collections.Counter(), [], collections.Counter()
        self.lock = threading.Lock()
        rng = random.Random(1)
        bodies = {"many": put_records("events", 20, 50 << 10, rng), "large": put_records("events", 5, 900 << 10, rng),
                  "huge": put_records("large", 1, 7 * MIB, rng)}
        jobs = [("many", 8), ("large", 8), ("huge", 6)]
        self.threads = [threading.Thread(target=self._put, args=(name, bodies[name])) for name, n in jobs for _ in range(n)]
        whole = rng.randbytes(MIB - 100)
        self.threads += [threading.Thread(target=self._rest, args=(whole,)) for _ in range(6)]
        self.threads += [threading.Thread(target=self._read, args=(n,)) for n in range(4)]

    def run(self, seconds):
        for t in self.threads:
            t.start()
        self.ending.wait(seconds)
        self.ending.set()
        for t in self.threads:
            t.join()

    def _each(self, path, headers, make, judge):
        connection = None
        while not self.ending.is_set():
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=60 * SLOW)
                connection.request("POST", path, make(), headers)
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as e:
                # A refusal may come, and the connection end, while the body is still on its way.
                self._count(f"connection: {type(e).__name__}")
                connection = connection and connection.close()
                continue
            said = judge(answer.status, body)
            self._count(said)
        if connection:
            connection.close()

    def _count(self, said):
        with self.lock:
            self.answers[said] += 1

    def _refused(self, status, body):
        """Says how a request was refused; remembers it if that is no way to do so."""
        if status in (429, 503):
            return str(status)
        kind = json.loads(body).get("__type", "")
        if kind not in ("ProvisionedThroughputExceededException", "LimitExceededException"):
            self.wrong.append((status, body[:300]))
        return f"{status} {kind}"

    def _api(self, operation, make, judge):
        self._each("/", {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Kinesis_20131202." + operation}, make, judge)

    def _put(self, name, body):
        def judge(status, answer):
            if status != 200:
                return self._refused(status, answer)
            for r in json.loads(answer)["Records"]:
                if "SequenceNumber" in r:
                    with self.lock:
                        self.stored[name] += 1
                elif r["ErrorCode"] != "ProvisionedThroughputExceededException":
                    self.wrong.append((status, r))
            return "200"
        self._api("PutRecords", lambda: body, judge)

    def _rest(self, body):
        self._each("/streams/events/records", {}, lambda: body,
                   lambda status, answer: "200" if status == 200 else self._refused(status, answer))

    def _read(self, shard):
        iterator = []

        def make():
            if not iterator:
                iterator.append(call(self.port, "GetShardIterator", StreamName="events", ShardId=f"shardId-{shard:012}",
                                     ShardIteratorType="TRIM_HORIZON")[1]["ShardIterator"])
            return json.dumps({"ShardIterator": iterator[0]})

        def judge(status, answer):
            if status != 200:
                return "read " + self._refused(status, answer)
            iterator[0] = json.loads(answer)["NextShardIterator"]
            return "read 200"
        self._api("GetRecords", make, judge)


def call(port, operation, **members):
    """(status, answer); again and again while the daemon says that it has too much to do."""
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60 * SLOW)
        connection.request("POST", "/", json.dumps(members), {"Content-Type": "application/x-amz-json-1.1",
                                                              "X-Amz-Target": "Kinesis_20131202." + operation})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status != 503 and b"ProvisionedThroughputExceededException" not in body:
            return answer.status, json.loads(body)
        time.sleep(0.05)


def metric(port, name):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60 * SLOW)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return sum(float(x.rsplit(" ", 1)[1]) for x in text.splitlines() if x.split("{")[0].split(" ")[0] == name)


class Memory(unittest.TestCase):
    def test_a_load_of_large_records_stays_within_the_configured_memory(self):
        with Daemon(config=CONFIG) as d:
            pid = d.process.pid
            base = status_kib(pid, "VmRSS") * 1024
            clients = Clients(d.port)
            clients.run(SECONDS)
            self.assertIsNone(d.process.poll(), d.log())
            peak = status_kib(pid, "VmHWM") * 1024
            bound = base + CACHE + HTTP_MEMORY + ALONE + DELIVERY + FIXED
            print(f"{base / MIB:.0f} MiB resident before, {peak / MIB:.0f} MiB at most, {bound / MIB:.0f} MiB allowed; answers: "
                  f"{dict(clients.answers)}; stored: {dict(clients.stored)}")
            self.assertEqual(clients.wrong[:3], [], f"{len(clients.wrong)} refusals that no client understands")
            for name in ("many", "large", "huge"):
                self.assertGreater(clients.stored[name], 0, f"not one of the {name} records got through")
            if SLOW == 1:  # sanitizers have memory of their own
                self.assertLessEqual(peak, bound)
            self.check_normal_service(d)

    def check_normal_service(self, d):
        wait_until(lambda: metric(d.port, "sluice_http_memory_bytes") < MIB, 30, "the requests' memory is free again")
        for n in range(50):
            status, answer = call(d.port, "PutRecord", StreamName="events", PartitionKey=str(n), Data="eHh4")
            self.assertEqual(status, 200, answer)
        status, answer = call(d.port, "PutRecords", StreamName="large",
                              Records=[{"Data": base64.b64encode(os.urandom(7 * MIB)).decode(), "PartitionKey": "k"}])
        self.assertEqual((status, answer["FailedRecordCount"]), (200, 0))


if __name__ == "__main__":
    unittest.main()
