"""Several loops: every shard is reached through every connection, deliveries run on every loop, the metrics are sums over the
loops, and another number of loops finds what the former ones have written. And what a change of streams and of the configuration
does to deliveries that run."""
import base64
import glob
import http.client
import json
import os
import random
import re
import signal
import shutil
import subprocess
import time
import unittest

from daemon import BUILD, SLOW, Daemon, wait_until

CONNECTIONS = 12  # the kernel spreads them over the loops

CONFIG = """
loops: %d
log: {level: debug}
streams:
  - {name: even, shards: 8}
  - {name: odd, shards: 8}
deliveries:
%s
"""


def delivery(name, source=None, interval="1s", size="4MiB"):
    source = f"source: {source or 'direct'}, compression: none, "
    return f"  - {{name: {name}, {source}buffer: {{size: {size}, interval: {interval}}}, sink: 'file://@FOLDER@/out/{name}/'}}\n"


def check_prometheus(test, text):
    """The rules of the text format; returns {series: value}."""
    declared, helped, values, current = {}, set(), {}, None
    test.assertTrue(text.endswith("\n"))
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split(" ")[2]
            test.assertNotIn(name, helped, "HELP twice")
            helped.add(name)
            test.assertGreater(len(line.split(" ", 3)[3]), 3, line)
            continue
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            test.assertNotIn(name, declared, "TYPE twice")
            test.assertIn(kind, ("counter", "gauge", "histogram"))
            declared[name], current = kind, name
            continue
        match = re.fullmatch(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\n"])*",?)*\})? (\S+)', line)
        test.assertTrue(match, f"no sample: {line!r}")
        family = re.sub(r"_(bucket|sum|count)$", "", match[1]) if declared.get(current) == "histogram" else match[1]
        test.assertEqual(family, current, "a metric's samples stand together, after its TYPE")
        test.assertIn(family, helped)
        series = match[1] + (match[2] or "")
        test.assertNotIn(series, values, "a series twice")
        values[series] = float(match[3])
        if declared[family] == "counter":
            test.assertTrue(family.endswith("_total"), family)
            test.assertGreaterEqual(values[series], 0)
    for name in (n for n, kind in declared.items() if kind == "histogram"):
        counts = {}
        for series, value in values.items():
            match = re.fullmatch(name + r'_bucket\{(.*?),?le="([^"]+)"\}', series)
            if match:
                counts.setdefault(match[1], []).append((float(match[2].replace("+Inf", "inf")), value))
        for labels, buckets in counts.items():
            test.assertEqual(buckets, sorted(buckets), "buckets in order, and never falling")
            test.assertEqual([c for _, c in buckets], sorted(c for _, c in buckets))
            test.assertEqual(buckets[-1][0], float("inf"))
            test.assertEqual(buckets[-1][1], values[name + "_count" + ("{" + labels + "}" if labels else "")])
    return values


class Base(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon()
        self.connections = []

    def tearDown(self):
        for c in self.connections:
            c.close()
        if self.daemon.process and self.daemon.process.poll() is not None:
            print(self.daemon.log())  # it ended by itself
        self.daemon.kill()
        shutil.rmtree(self.daemon.folder, ignore_errors=True)

    def start(self, config):
        self.daemon.config = config
        self.daemon.start()
        for c in self.connections:
            c.close()
        self.connections = [http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=30 * SLOW) for _ in range(CONNECTIONS)]

    def call(self, connection, operation, service="Kinesis_20131202", **body):
        connection.request("POST", "/", json.dumps(body), {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"{service}.{operation}"})
        answer = connection.getresponse()
        text = answer.read()
        self.assertEqual(answer.status, 200, text)
        return json.loads(text) if text else {}

    def metrics(self, connection=None):
        connection = connection or self.connections[0]
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.getheader("Content-Type"), "text/plain; version=0.0.4; charset=utf-8")
        return check_prometheus(self, answer.read().decode())

    def put(self, connection, stream, texts):
        records = [{"Data": base64.b64encode(t.encode()).decode(), "PartitionKey": t} for t in texts]
        answer = self.call(connection, "PutRecords", StreamName=stream, Records=records)
        self.assertEqual(answer["FailedRecordCount"], 0)
        return {t: (r["ShardId"], r["SequenceNumber"]) for t, r in zip(texts, answer["Records"])}

    def read(self, connection, stream):
        """{text: (shard, sequence number)} through one connection."""
        got = {}
        for shard in self.call(connection, "ListShards", StreamName=stream)["Shards"]:
            iterator = self.call(connection, "GetShardIterator", StreamName=stream, ShardId=shard["ShardId"],
                                 ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
            while True:
                answer = self.call(connection, "GetRecords", ShardIterator=iterator)
                for r in answer["Records"]:
                    text = base64.b64decode(r["Data"]).decode()
                    self.assertNotIn(text, got, "twice")
                    got[text] = (shard["ShardId"], r["SequenceNumber"])
                iterator = answer["NextShardIterator"]
                if not answer["Records"] and answer["MillisBehindLatest"] == 0:
                    break
        return got

    def delivered(self, name):
        lines = []
        for path in glob.glob(f"{self.daemon.folder}/out/{name}/**/*", recursive=True):
            if os.path.isfile(path) and not os.path.basename(path).startswith("."):
                with open(path, encoding="utf-8") as f:
                    lines += f.read().splitlines()
        return lines

    def await_delivered(self, name, texts, seconds=30):
        try:
            wait_until(lambda: len(self.delivered(name)) >= len(texts), seconds, f"{name}: {len(texts)} records")
        except AssertionError as e:
            self.connections[0].request("GET", f"/deliveries/{name}")
            status = self.connections[0].getresponse().read().decode()
            raise AssertionError(f"{e}; {len(self.delivered(name))} are there; {status}\n{self.daemon.log()}") from None
        self.assertEqual(sorted(self.delivered(name)), sorted(texts), f"{name}: each record exactly once")


class Loops(Base):
    # Uids are given one after the other, and a delivery's loop is uid modulo loops: four in a row are on every one of three loops.
    deliveries = "".join(delivery(f"{s}-{n}", s) for s in ("even", "odd") for n in range(2)) + "".join(delivery(f"direct-{n}") for n in range(3))

    def write(self, tag, acknowledged, direct):
        """Puts through every connection onto both streams and the direct deliveries; counts the records."""
        for n, c in enumerate(self.connections):
            for stream in ("even", "odd"):
                acknowledged[stream].update(self.put(c, stream, [f"{tag} {stream} {n} {i}" for i in range(50)]))
            for k in range(3):
                texts = [f"{tag} direct {n} {k} {i}" for i in range(5)]
                records = [{"Data": base64.b64encode(t.encode()).decode()} for t in texts]
                answer = self.call(c, "PutRecordBatch", "Firehose_20150804", DeliveryStreamName=f"direct-{k}", Records=records)
                self.assertEqual(answer["FailedPutCount"], 0)
                direct[k] += texts
        return len(self.connections) * (2 * 50 + 3 * 5)

    def check(self, acknowledged, direct):
        for stream, records in acknowledged.items():
            for c in random.Random(1).sample(self.connections, 3):
                self.assertEqual(self.read(c, stream), records)
            for n in range(2):
                self.await_delivered(f"{stream}-{n}", records)
        for k in range(3):
            self.await_delivered(f"direct-{k}", direct[k])

    def test_any_connection_reaches_any_shard_and_another_number_of_loops_finds_all(self):
        acknowledged, direct = {"even": {}, "odd": {}}, {k: [] for k in range(3)}
        for life, loops in enumerate((3, 1, 2, 3)):
            self.start(CONFIG % (loops, self.deliveries))
            count = self.write(f"life{life}", acknowledged, direct)
            if life % 2:  # else what is not delivered yet is, by the next number of loops
                self.check(acknowledged, direct)
            now = self.metrics()
            self.assertEqual(now["sluice_log_append_records_total"], count)
            self.assertEqual(now["sluice_records_in_total"], len(self.connections) * 100)
            self.assertEqual(now['sluice_requests_total{service="kinesis",operation="PutRecords",result="ok"}'], len(self.connections) * 2)
            self.assertEqual(now['sluice_requests_total{service="firehose",operation="PutRecordBatch",result="ok"}'], len(self.connections) * 3)
            self.assertEqual(now["sluice_http_connections"], len(self.connections))
            self.assertEqual(len([k for k in now if k.startswith("sluice_delivery_state{")]), 7)
            if loops > 1:
                self.assertGreater(now["sluice_loop_messages_total"], 0)
            for c in self.connections:  # the same sums, wherever they are asked for
                self.assertEqual(self.metrics(c)["sluice_log_append_records_total"], count)
            self.daemon.kill()
        self.start(CONFIG % (2, self.deliveries))
        self.check(acknowledged, direct)
        now = wait_until(lambda: [m for m in [self.metrics()] if not any(v for k, v in m.items() if "_lag_records{" in k)], 10, "no lag")[0]
        self.assertEqual([k for k, v in now.items() if "_lost_records" in k and v], [])
        self.assertEqual(self.daemon.stop(), 0)

    def test_a_stop_drains_the_deliveries_of_every_loop(self):
        self.start(CONFIG % (3, "".join(delivery(f"d{n}", "even", interval="900s") for n in range(6))))
        records = {}
        for n, c in enumerate(self.connections):
            records.update(self.put(c, "even", [f"{n} {i}" for i in range(20)]))
        self.assertEqual(self.daemon.stop(), 0)
        for n in range(6):
            self.assertEqual(sorted(self.delivered(f"d{n}")), sorted(records))

    def test_grace_is_the_daemons_not_each_loops(self):
        """Three deliveries, one on each loop, whose sink cannot be written to."""
        self.start(CONFIG % (3, "".join(delivery(f"d{n}", "even") for n in range(3))))
        records = self.put(self.connections[0], "even", ["a", "b"])
        for n in range(3):
            self.await_delivered(f"d{n}", records)
            folder = os.path.join(self.daemon.folder, "out", f"d{n}")
            shutil.rmtree(folder)
            with open(folder, "w", encoding="utf-8") as f:  # a file where the folder was
                f.write("in the way")
        self.put(self.connections[0], "even", ["c"])
        wait_until(lambda: sum(v for k, v in self.metrics().items() if "_retries_total{" in k) >= 3, 20, "all retry")
        begin = time.monotonic()
        self.assertEqual(self.daemon.stop(), 0)
        self.assertLess(time.monotonic() - begin, 45 * SLOW, "30 s of grace, once")


class Changes(Base):
    def test_streams_come_and_go_while_deliveries_run(self):
        self.start("loops: 3\nstreams: [{name: other, shards: 3}]\n")
        self.call(self.connections[0], "CreateStream", StreamName="events", ShardCount=4)
        kinesis = self.daemon.kinesis()
        kinesis.get_waiter("stream_exists").wait(StreamName="events", WaiterConfig={"Delay": 1})
        self.daemon.stop()
        self.start("loops: 3\nstreams: [{name: other, shards: 3}]\ndeliveries:\n" + "".join(delivery(f"d{n}", "events") for n in range(3)) +
                   delivery("other", "other"))
        texts = []
        for life in range(3):
            part = [f"life{life} {i}" for i in range(200)]
            for n, c in enumerate(self.connections):
                self.put(c, "events", part[n::CONNECTIONS])
                self.put(c, "other", part[n::CONNECTIONS])
            texts += part
            for name in ("d0", "d1", "d2", "other"):
                self.await_delivered(name, texts)
            self.call(self.connections[life], "DeleteStream", StreamName="events")
            kinesis = self.daemon.kinesis()
            kinesis.get_waiter("stream_not_exists").wait(StreamName="events", WaiterConfig={"Delay": 1})
            self.call(self.connections[life + 3], "CreateStream", StreamName="events", ShardCount=2 + life)
            kinesis.get_waiter("stream_exists").wait(StreamName="events", WaiterConfig={"Delay": 1})
        self.assertEqual(self.daemon.stop(), 0)
        self.assertIn("delivery_stream_deleted delivery=d0 stream=events", self.daemon.log())

    def test_a_delivery_that_left_the_configuration_keeps_its_records_until_it_is_back(self):
        config = "loops: 2\nsegments: {min: 1MiB, max: 1MiB}\ndeliveries:\n"
        slow, fast = delivery("slow", interval="900s", size="128MiB"), delivery("fast", size="1MiB")
        pad = "x" * 900_000
        self.start(config + slow + fast)

        def put(name, texts):
            for n, text in enumerate(texts):
                self.call(self.connections[n % CONNECTIONS], "PutRecord", "Firehose_20150804", DeliveryStreamName=name,
                          Record={"Data": base64.b64encode((text + pad).encode()).decode()})
        put("slow", [f"{n} " for n in range(12)])
        self.daemon.kill()
        self.start(config + fast)
        self.assertIn("delivery_not_configured delivery=slow", self.daemon.log())
        self.assertRegex(self.daemon.log(), "records_without_delivery stream=sluice.direct.slow records=12")
        # Retention is at work on both logs: it takes what the other delivery has delivered.
        put("fast", [f"{n} " for n in range(40)])
        self.await_delivered("fast", [f"{n} " + pad for n in range(40)])
        wait_until(lambda: self.metrics()["sluice_log_expired_segments_total"] >= 20, 60, "segments are trimmed")
        self.assertEqual(self.daemon.stop(), 0)
        self.start(config + delivery("slow") + fast)
        self.await_delivered("slow", [f"{n} " + pad for n in range(12)])
        self.assertEqual(self.daemon.stop(), 0)

    def test_a_full_capacity_refuses_and_what_is_delivered_makes_room(self):
        config = "loops: 2\ndeliveries:\n"
        text = base64.b64encode(b"y" * 900_000).decode()

        def put(c):
            c.request("POST", "/", json.dumps({"DeliveryStreamName": "small", "Record": {"Data": text}}),
                      {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Firehose_20150804.PutRecord"})
            answer = c.getresponse()
            return answer.status, answer.read()
        waits = delivery("small", interval="900s", size="128MiB").replace("buffer:", "capacity: 8MiB, buffer:")
        self.start(config + waits)
        taken = 0
        for n in range(60):
            status, body = put(self.connections[n % CONNECTIONS])
            taken += status == 200
            if status != 200:
                self.assertIn(b"ServiceUnavailableException", body)
        self.assertGreater(taken, 4)
        self.assertLess(taken, 16, "8 MiB hold about nine records")
        self.daemon.kill()
        self.start(config + waits.replace("900s", "1s"))
        wait_until(lambda: len(self.delivered("small")) == taken, 30, "delivered")
        wait_until(lambda: put(self.connections[0])[0] == 200, 20, "there is room again")


class Start(Base):
    def test_a_signal_at_any_moment_of_the_start_ends_it(self):
        config = CONFIG % (3, Loops.deliveries)
        self.start(config)
        self.daemon.stop()
        for n in range(24):
            for extra, statuses in ((), (0, -signal.SIGTERM)), (("--listen", "192.0.2.1:80", "--allow-unsigned"), (0, 1, -signal.SIGTERM)):
                command = [os.path.join(BUILD, "sluiced"), "--config", self.daemon.config_file, "--data", self.daemon.data]
                process = subprocess.Popen(command + list(extra or ("--listen", "127.0.0.1:0")), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                try:
                    process.wait(n * 0.004 * SLOW)  # the moment of the signal
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGTERM)
                try:
                    _, log = process.communicate(timeout=20 * SLOW)
                except subprocess.TimeoutExpired:
                    process.kill()
                    raise AssertionError(f"it hangs: signal after {n * 4} ms\n{process.communicate()[1].decode()}") from None
                self.assertIn(process.returncode, statuses, log.decode())


if __name__ == "__main__":
    unittest.main()
