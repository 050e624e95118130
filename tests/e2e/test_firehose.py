"""Deliveries of the real daemon into local files, opened by the real zstd and age; the Firehose operations by boto3."""
import glob
import http.client
import json
import os
import re
import shutil
import stat
import subprocess
import tempfile
import threading
import time
import unittest

from botocore.exceptions import ClientError

from daemon import SLOW, Daemon, wait_until

NAME = re.compile(r"^(?P<name>[a-zA-Z0-9_.-]+)-(?P<version>\d+)-(?P<time>\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d)-(?P<unique>[^.]+)(?P<extension>\..*)?$")


class Deliveries(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="sluice-test-")
        self.key = None
        self.opened = {} # path: records

    def tearDown(self):
        for folder, _, _ in os.walk(self.folder):
            os.chmod(folder, 0o700)
        shutil.rmtree(self.folder, ignore_errors=True)

    def daemon(self, config, **options):
        return Daemon(config=config, folder=self.folder, **options)

    def age_key(self):
        """Makes an identity; returns its recipient."""
        self.key = os.path.join(self.folder, "key.txt")
        said = subprocess.run(["age-keygen", "-o", self.key], check=True, stderr=subprocess.PIPE).stderr.decode()
        return re.search(r"age1\w+", said).group(0)

    def files(self, out="out"):
        found = glob.glob(os.path.join(self.folder, out, "**", "*"), recursive=True)
        return sorted(f for f in found if os.path.isfile(f))

    def open(self, path):
        """A file's bytes, by the real tools, as its extension says."""
        with open(path, "rb") as f:
            data = f.read()
        if path.endswith(".age"):
            data = subprocess.run(["age", "-d", "-i", self.key], input=data, check=True, stdout=subprocess.PIPE).stdout
            path = path[:-4]
        if path.endswith(".zst"):
            data = subprocess.run(["zstd", "-dcq"], input=data, check=True, stdout=subprocess.PIPE).stdout
        return data

    def delivered(self, out="out"):
        """All records of all files, in the files' order. A file never changes once it is there."""
        records = []
        for path in self.files(out):
            if path not in self.opened:
                data = self.open(path)
                self.assertTrue(data.endswith(b"\n"), path)
                self.opened[path] = data[:-1].split(b"\n")
            records += self.opened[path]
        return records

    def await_exactly(self, sent, out="out", seconds=30):
        wait_until(lambda: len(self.delivered(out)) >= len(sent), seconds, f"{len(sent)} records are delivered")
        self.assertEqual(sorted(self.delivered(out)), sorted(sent))

    @staticmethod
    def status(daemon, name):
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=30 * SLOW)
        try:
            connection.request("GET", "/deliveries/" + name)
            answer = connection.getresponse()
            body = answer.read()
            return json.loads(body) if answer.status == 200 else None
        finally:
            connection.close()

    @staticmethod
    def metric(daemon, name, delivery):
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=30 * SLOW)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        found = re.search(rf'^sluice_delivery_{name}{{delivery="{delivery}"}} (\S+)$', text, re.M)
        return float(found.group(1))

    @staticmethod
    def put(daemon, stream, lines):
        daemon.run("sluice", "put", stream, stdin=b"\n".join(lines) + b"\n")


class ToFiles(Deliveries):
    def test_by_size_with_zstd_and_age(self):
        recipient = self.age_key()
        other = os.path.join(self.folder, "other.txt")
        said = subprocess.run(["age-keygen", "-o", other], check=True, stderr=subprocess.PIPE).stderr.decode()
        second = re.search(r"age1\w+", said).group(0)
        sent = [b'{"n":%d,"text":"%s"}' % (n, b"abcdefgh" * 20) for n in range(5000)]
        with self.daemon(f"""
streams: [{{name: events, shards: 3}}]
deliveries:
  - name: archive
    source: events
    buffer: {{size: 100KiB, interval: 1h}}
    compression: zstd:3
    encryption: {{age: [{recipient}, {second}]}}
    sink: "file://@FOLDER@/out/!{{timestamp:yyyy/MM/dd}}/"
""") as d:
            self.put(d, "events", sent)
            whole = sum(len(x) + 1 for x in sent) // (100 << 10)
            wait_until(lambda: len(self.files()) >= whole - 1, 30, "files of 100 KiB are written")
            for path in self.files():
                self.assertLess(sum(len(r) + 1 for r in self.open(path)[:-1].split(b"\n")), 130 << 10)
        # the rest was delivered by the stop
        self.assertEqual(sorted(self.delivered()), sorted(sent))
        today = time.strftime("%Y/%m/%d", time.gmtime())
        for path in self.files():
            self.assertIn(os.path.relpath(os.path.dirname(path), self.folder + "/out"),
                          (today, time.strftime("%Y/%m/%d", time.gmtime(time.time() - 3600))))
            found = NAME.match(os.path.basename(path))
            self.assertTrue(found, path)
            self.assertEqual(found.group("name", "version", "extension"), ("archive", "1", ".zst.age"))
        # whoever has the second key opens them too; who has none does not
        with open(self.files()[0], "rb") as f:
            data = f.read()
        subprocess.run(["age", "-d", "-i", other], input=data, check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["age-keygen", "-o", self.folder + "/third.txt"], check=True, stderr=subprocess.DEVNULL)
        self.assertNotEqual(subprocess.run(["age", "-d", "-i", self.folder + "/third.txt"], input=data, stdout=subprocess.DEVNULL,
                                           stderr=subprocess.DEVNULL).returncode, 0)

    def test_by_interval_and_without_anything(self):
        with self.daemon("""
streams: [{name: events}]
deliveries:
  - {name: plain, source: events, buffer: {size: 1GiB, interval: 500ms}, compression: none, sink: "file://@FOLDER@/out/a/x-!{timestamp:yyyy}-"}
  - {name: raw, source: events, buffer: {interval: 500ms}, compression: none, delimiter: none, extension: .bin, sink: "file://@FOLDER@/raw"}
""") as d:
            begin = time.monotonic()
            self.put(d, "events", [b"one", b"two"])
            self.await_exactly([b"one", b"two"])
            self.assertGreater(time.monotonic() - begin, 0.4)
            self.assertLess(time.monotonic() - begin, 5 * SLOW)
            wait_until(lambda: self.files("raw"), 20, "the other one too")
            self.assertEqual(b"".join(self.open(f) for f in self.files("raw")), b"onetwo")
            self.assertTrue(self.files("raw")[0].endswith(".bin"))
            self.put(d, "events", [b"three"])
            self.await_exactly([b"one", b"two", b"three"])
            self.assertEqual(len(self.files()), 2)
            for path in self.files():
                self.assertRegex(os.path.relpath(path, self.folder), r"^out/a/x-\d{4}-plain-1-")
            self.assertEqual([os.path.dirname(f) for f in self.files("raw")], [self.folder + "/raw"] * len(self.files("raw")))

    def test_a_quiet_delivery_writes_no_files(self):
        with self.daemon("""
streams: [{name: events}]
deliveries: [{name: quiet, source: events, buffer: {interval: 50ms}, sink: "file://@FOLDER@/out/"}]
""") as d:
            self.put(d, "events", [b"x"])
            self.await_exactly([b"x"])
            # The file is there a moment before its commit is in the journal and counted.
            wait_until(lambda: self.status(d, "quiet")["objects"], 20, "the object is committed")
            status = self.status(d, "quiet")
            self.assertEqual((status["objects"], status["records"], status["lag_records"]), (1, 1, 0))
        self.assertEqual(len(self.files()), 1)
        self.assertEqual(glob.glob(self.folder + "/out/**/.*", recursive=True), [], "no temporary files are left")

    def test_two_deliveries_on_one_stream_each_get_everything(self):
        sent = [b"%d" % n for n in range(20000)]
        with self.daemon("""
loops: 2
streams: [{name: events, shards: 4}]
deliveries:
  - {name: one, source: events, buffer: {size: 20KiB, interval: 1s}, compression: none, sink: "file://@FOLDER@/one/"}
  - {name: two, source: events, buffer: {size: 1MiB, interval: 300ms}, compression: zstd, sink: "file://@FOLDER@/two/"}
  - {name: three, source: events, buffer: {size: 50KiB, interval: 1s}, compression: zstd, sink: "file://@FOLDER@/one/"}
""") as d:
            self.put(d, "events", sent)
            self.await_exactly(sent, "two")
            self.await_exactly(sent + sent, "one")
            names = [NAME.match(os.path.basename(f)).group("name") for f in self.files("one")]
            self.assertEqual(set(names), {"one", "three"})
            self.assertEqual(self.metric(d, "records_total", "two"), len(sent))
            self.assertEqual(d.firehose().list_delivery_streams()["DeliveryStreamNames"], ["one", "three", "two"])

    def test_records_of_a_shard_keep_their_order_within_the_files(self):
        sent = [b"%06d" % n for n in range(30000)]
        with self.daemon("""
streams: [{name: events, shards: 2}]
deliveries: [{name: a, source: events, buffer: {size: 32KiB, interval: 1s}, compression: zstd, sink: "file://@FOLDER@/out/"}]
""") as d:
            d.run("sluice", "put", "events", "--key", "k", stdin=b"\n".join(sent) + b"\n")
            self.await_exactly(sent)
            for path in self.files():
                self.assertEqual(self.opened[path], sorted(self.opened[path]))

    def test_latest_begins_with_what_comes_after_it_was_made(self):
        with self.daemon("streams: [{name: events}]\n") as d:
            self.put(d, "events", [b"before"])
        with self.daemon("""
streams: [{name: events}]
deliveries:
  - {name: a, source: events, start: latest, buffer: {interval: 100ms}, compression: none, sink: "file://@FOLDER@/new/"}
  - {name: b, source: events, buffer: {interval: 100ms}, compression: none, sink: "file://@FOLDER@/all/"}
""") as d:
            self.put(d, "events", [b"after"])
            self.await_exactly([b"after"], "new")
            self.await_exactly([b"before", b"after"], "all")

    def test_files_are_private_to_nobody_but_the_data_is(self):
        with self.daemon("""
streams: [{name: events}]
deliveries: [{name: a, source: events, buffer: {interval: 100ms}, compression: none, sink: "file://@FOLDER@/out/"}]
""") as d:
            self.put(d, "events", [b"x"])
            self.await_exactly([b"x"])
            self.assertEqual(stat.S_IMODE(os.stat(d.data).st_mode) & 0o077, 0)


class Lives(Deliveries):
    CONFIG = """
streams: [{name: events, shards: 2}]
deliveries: [{name: a, source: events, buffer: {size: 64KiB, interval: %s}, compression: %s, sink: "file://@FOLDER@/%s/"}]
"""

    def test_a_stop_delivers_what_is_buffered_and_a_start_goes_on(self):
        sent = []
        for life in range(3):
            with self.daemon(self.CONFIG % ("1h", "zstd", "out")) as d:
                more = [b"%d-%d" % (life, n) for n in range(100)]
                self.put(d, "events", more)
                sent += more
            self.assertEqual(sorted(self.delivered()), sorted(sent), "SIGTERM drains")

    def test_after_kills_each_record_is_delivered_exactly_once(self):
        sent, d = [], self.daemon(self.CONFIG % ("150ms", "zstd", "out"))
        for life in range(6):
            d.start()
            more = [b"%d-%d-%s" % (life, n, b"x" * 50) for n in range(5000)]
            self.put(d, "events", more)
            sent += more
            if life % 2:
                before = len(self.files())
                wait_until(lambda: len(self.files()) > before, 30, "it has begun to deliver")
            d.kill()
        with d:
            self.await_exactly(sent)
            wait_until(lambda: self.status(d, "a")["lag_records"] == 0, 20, "it has caught up")
        self.assertEqual(sorted(self.delivered()), sorted(sent))

    def test_settings_may_change_between_starts(self):
        sent = []
        recipient = self.age_key()
        for life, (interval, compression, out) in enumerate([("1h", "zstd", "out"), ("1h", "none", "out"), ("1h", "zstd", "elsewhere"),
                                                             ("1h", "zstd", "elsewhere")]):
            config = self.CONFIG % (interval, compression, out)
            if life == 2:
                config = config.replace("compression:", f"encryption: {{age: [{recipient}]}}, compression:")
            d = self.daemon(config).start()
            self.put(d, "events", [b"life %d" % life])
            sent.append(b"life %d" % life)
            if life == 0:
                d.kill() # what was buffered under the old settings is delivered under the new ones
            else:
                self.assertEqual(d.stop(), 0)
        got = self.delivered("out") + self.delivered("elsewhere")
        self.assertEqual(sorted(got), sent)
        names = {(os.path.relpath(f, self.folder).split("/")[0], *NAME.match(os.path.basename(f)).group("version", "extension"))
                 for f in self.files("out") + self.files("elsewhere")}
        self.assertEqual({n[1] for n in names}, {"2", "3", "4"})
        self.assertIn(("out", "2", None), names)
        self.assertIn(("elsewhere", "3", ".zst.age"), names)
        self.assertIn(("elsewhere", "4", ".zst"), names)

    def test_a_delivery_that_left_the_configuration_ends_and_its_files_stay(self):
        with self.daemon(self.CONFIG % ("100ms", "none", "out")) as d:
            self.put(d, "events", [b"x"])
            self.await_exactly([b"x"])
        with self.daemon("streams: [{name: events, shards: 2}]\n") as d:
            self.put(d, "events", [b"y"])
            self.assertEqual(self.delivered(), [b"x"])
            self.assertEqual(d.firehose().list_delivery_streams()["DeliveryStreamNames"], [])

    def test_a_sink_that_fails_for_a_while_is_tried_again(self):
        sent = [b"%d" % n for n in range(1000)]
        # root writes into any folder: a file in the folder's place stops it too
        with self.daemon(self.CONFIG % ("100ms", "none", "out")) as d:
            self.put(d, "events", [b"first"])
            self.await_exactly([b"first"])
            os.rename(self.folder + "/out", self.folder + "/kept")
            with open(self.folder + "/out", "w", encoding="utf-8"):
                pass
            self.put(d, "events", sent)
            status = wait_until(lambda: (lambda s: s if s["state"] == "retrying" and s["retries"] > 0 else None)(self.status(d, "a")), 30,
                                "the trouble is seen")
            self.assertTrue(status["last_error"])
            self.assertGreater(status["lag_records"], 0)
            self.assertEqual(self.metric(d, "state", "a"), 2)
            self.assertGreater(self.metric(d, "retries_total", "a"), 0)
            self.assertGreater(self.metric(d, "lag_records", "a"), 0)
            self.put(d, "events", [b"meanwhile"]) # puts go on
            os.unlink(self.folder + "/out")
            os.rename(self.folder + "/kept", self.folder + "/out")
            self.await_exactly([b"first", b"meanwhile", *sent], seconds=60)
            wait_until(lambda: self.metric(d, "state", "a") == 1, 20, "it is well again")
            self.assertEqual(self.metric(d, "lag_records", "a"), 0)

    def test_a_stop_while_the_sink_fails_loses_nothing(self):
        d = self.daemon(self.CONFIG % ("100ms", "none", "out/deeper"))
        with open(self.folder + "/out", "w", encoding="utf-8"):
            pass
        d.start()
        self.put(d, "events", [b"kept"])
        wait_until(lambda: self.status(d, "a")["retries"] > 0, 30, "the trouble is seen")
        d.kill()
        os.unlink(self.folder + "/out")
        with d:
            self.await_exactly([b"kept"])


class Direct(Deliveries):
    CONFIG = """
deliveries:
  - {name: inbox, source: direct, buffer: {size: 64KiB, interval: 200ms}, compression: zstd, sink: "file://@FOLDER@/out/"}
"""

    def test_put_record_and_batches_by_boto3(self):
        sent = []
        with self.daemon(self.CONFIG) as d:
            firehose = d.firehose()
            one = firehose.put_record(DeliveryStreamName="inbox", Record={"Data": b"single"})
            self.assertTrue(one["RecordId"])
            sent.append(b"single")
            ids = {one["RecordId"]}
            for n in range(10):
                records = [b"%d-%d" % (n, i) for i in range(500)]
                answer = firehose.put_record_batch(DeliveryStreamName="inbox", Records=[{"Data": r} for r in records])
                self.assertEqual(answer["FailedPutCount"], 0)
                ids |= {r["RecordId"] for r in answer["RequestResponses"]}
                sent += records
            self.assertEqual(len(ids), len(sent))
            self.await_exactly(sent)
            self.assertEqual(d.kinesis().list_streams()["StreamNames"], [], "the internal stream is not shown")

    def test_what_is_acknowledged_outlives_a_kill(self):
        sent, d = [], self.daemon(self.CONFIG.replace("200ms", "1h"))
        for life in range(4):
            d.start()
            firehose = d.firehose()
            for n in range(20):
                record = b"%d-%d" % (life, n)
                firehose.put_record(DeliveryStreamName="inbox", Record={"Data": record})
                sent.append(record)
            d.kill()
        with d:
            pass
        self.assertEqual(sorted(self.delivered()), sorted(sent), "SIGTERM drains")

    def test_puts_from_many_threads_under_a_stop(self):
        acknowledged, d = [], self.daemon(self.CONFIG).start()

        def put(t):
            firehose, n = d.firehose(), 0
            try:
                while True:
                    record = b"%d-%d" % (t, n)
                    firehose.put_record(DeliveryStreamName="inbox", Record={"Data": record})
                    acknowledged.append(record)
                    n += 1
            except Exception: # pylint: disable=broad-except
                pass
        threads = [threading.Thread(target=put, args=(t,)) for t in range(4)]
        for t in threads:
            t.start()
        wait_until(lambda: len(acknowledged) > 200, 30, "puts flow")
        self.assertEqual(d.stop(), 0)
        for t in threads:
            t.join(60 * SLOW)
        got = self.delivered()
        self.assertEqual(len(got), len(set(got)))
        self.assertEqual(set(acknowledged) - set(got), set())

    def test_refusals_by_aws_names(self):
        with self.daemon(self.CONFIG + """
  - {name: archive, source: events, sink: "file://@FOLDER@/archive/"}
streams: [{name: events}]
""") as d:
            firehose = d.firehose(parameter_validation=False)

            def refused(name, call, **arguments):
                with self.assertRaises(ClientError) as caught:
                    getattr(firehose, call)(**arguments)
                self.assertEqual(caught.exception.response["Error"]["Code"], name)
                return caught.exception.response["Error"]["Message"]
            record = {"Data": b"x"}
            refused("ResourceNotFoundException", "put_record", DeliveryStreamName="nobody", Record=record)
            refused("ResourceNotFoundException", "describe_delivery_stream", DeliveryStreamName="nobody")
            refused("InvalidArgumentException", "put_record", DeliveryStreamName="archive", Record=record)
            refused("ValidationException", "put_record_batch", DeliveryStreamName="inbox", Records=[])
            refused("ValidationException", "put_record_batch", DeliveryStreamName="inbox", Records=[record] * 501)
            refused("ValidationException", "put_record", DeliveryStreamName="bad name!", Record=record)
            refused("ValidationException", "put_record", DeliveryStreamName="inbox", Record={"Data": b"x" * (1024 * 1000 + 1)})
            refused("InvalidArgumentException", "put_record_batch", DeliveryStreamName="inbox", Records=[{"Data": b"x" * 1000000}] * 5)
            firehose.put_record(DeliveryStreamName="inbox", Record={"Data": b"y" * 1024000})
            self.await_exactly([b"y" * 1024000])

    def test_list_and_describe(self):
        recipient = self.age_key()
        with self.daemon(self.CONFIG + f"""
  - name: archive
    source: events
    buffer: {{size: 2MiB, interval: 90s}}
    encryption: {{age: [{recipient}]}}
    sink: "file://@FOLDER@/archive/!{{timestamp:yyyy}}/"
streams: [{{name: events}}]
""") as d:
            firehose = d.firehose()
            names = firehose.list_delivery_streams()
            self.assertEqual((names["DeliveryStreamNames"], names["HasMoreDeliveryStreams"]), (["archive", "inbox"], False))
            page = firehose.list_delivery_streams(Limit=1)
            self.assertEqual((page["DeliveryStreamNames"], page["HasMoreDeliveryStreams"]), (["archive"], True))
            page = firehose.list_delivery_streams(Limit=1, ExclusiveStartDeliveryStreamName="archive")
            self.assertEqual(page["DeliveryStreamNames"], ["inbox"])
            self.assertEqual(firehose.list_delivery_streams(DeliveryStreamType="DirectPut")["DeliveryStreamNames"], ["inbox"])
            archive = firehose.describe_delivery_stream(DeliveryStreamName="archive")["DeliveryStreamDescription"]
            self.assertEqual(archive["DeliveryStreamARN"], "arn:aws:firehose:us-east-1:000000000000:deliverystream/archive")
            self.assertEqual((archive["DeliveryStreamStatus"], archive["DeliveryStreamType"]), ("ACTIVE", "KinesisStreamAsSource"))
            self.assertEqual(archive["Source"]["KinesisStreamSourceDescription"]["KinesisStreamARN"],
                             "arn:aws:kinesis:us-east-1:000000000000:stream/events")
            s3 = archive["Destinations"][0]["ExtendedS3DestinationDescription"]
            self.assertEqual(s3["BufferingHints"], {"SizeInMBs": 2, "IntervalInSeconds": 90})
            self.assertEqual(s3["CompressionFormat"], "ZSTD")
            inbox = firehose.describe_delivery_stream(DeliveryStreamName="inbox")["DeliveryStreamDescription"]
            self.assertEqual(inbox["DeliveryStreamType"], "DirectPut")
            listed = json.loads(d.aws("firehose", "list-delivery-streams"))
            self.assertEqual(listed["DeliveryStreamNames"], ["archive", "inbox"])
            self.assertEqual(self.status(d, "nobody"), None)
            status = self.status(d, "inbox")
            self.assertEqual((status["name"], status["state"], status["lag_records"]), ("inbox", "running", 0))


class Refused(Deliveries):
    def test_settings_that_cannot_work_are_told_at_the_start(self):
        for settings, words in [('encryption: {age: [age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq]}', "encryption"),
                                ('sink: "file://relative/"', "sink"), ('sink: "s3://bucket/"', "sink"),
                                ('sink: "file:///tmp/!{timestamp:bbb}/"', "sink"), ('sink: "file:///tmp/!{nonsense}/"', "sink")]:
            if not settings.startswith("sink"):
                settings += ', sink: "file://@FOLDER@/out/"'
            d = self.daemon(f"streams: [{{name: events}}]\ndeliveries:\n  - {{name: a, source: events, {settings}}}\n")
            with self.subTest(settings=settings):
                open(d.log_file, "w", encoding="utf-8").close()
                self.assertEqual(d.start(expect_failure=True), 1)
                said = [x for x in d.log().splitlines() if x.startswith("sluiced: ")]
                self.assertEqual(len(said), 1, d.log())
                self.assertIn("sluice.yaml:3:", said[0])
                self.assertIn("deliveries[0]." + words, said[0])


if __name__ == "__main__":
    unittest.main()
