"""REST ingestion, for people with nothing but curl: item by item what docs/CONFIG.md promises of routes."""
import calendar
import http.client
import json
import os
import re
import subprocess
import time
import unittest

from daemon import SLOW, Daemon

CONFIG = """
streams:
  - {name: events, shards: 4}
  - {name: big, shards: 1, record_size: 10MiB}
routes:
  - {path: /prod/logger, stream: events}
  - {path: /stamped, stream: events, stamp: received}
  - {path: /lines, stream: events, content: lines}
  - {path: /whole, stream: events, content: record}
  - {path: /named, stream: events, key_header: x-user, key_query: user}
  - {path: /locked, stream: events, auth: key, keys_file: "@FOLDER@/keys"}
"""


class Rest(unittest.TestCase):
    config = CONFIG

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(config=cls.config)
        with open(os.path.join(cls.daemon.folder, "keys"), "w", encoding="utf-8") as f:
            f.write("# who may\nfirst-key\n\n  second-key\n")
        cls.daemon.start()
        cls.kinesis = cls.daemon.kinesis()

    @classmethod
    def tearDownClass(cls):
        cls.daemon.__exit__(None, None, None)

    def send(self, path, body=b"x", headers=None, method="POST", status=200):
        """One request; its answer, JSON where there is a body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=30 * SLOW)
        self.addCleanup(connection.close)
        connection.request(method, path, body, headers or {})
        self.answer = connection.getresponse()
        text = self.answer.read()
        self.assertEqual(self.answer.status, status, text)
        if not text or method == "HEAD":
            return None
        self.assertEqual(self.answer.getheader("Content-Type"), "application/json")
        said = json.loads(text)
        if status != 200:
            self.assertEqual(set(said), {"error", "message"})
        return said

    def curl(self, *args, stdin=None):
        """(status, body) by the real curl."""
        done = subprocess.run(["curl", "-sS", "-w", "\n%{http_code}", *args], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=60 * SLOW)
        self.assertEqual(done.returncode, 0, done.stderr)
        body, status = done.stdout.rsplit(b"\n", 1)
        return int(status), body

    def stored(self, said, stream="events"):
        """The record that the answer names."""
        it = self.kinesis.get_shard_iterator(StreamName=stream, ShardId=said["shardId"], ShardIteratorType="AT_SEQUENCE_NUMBER",
                                             StartingSequenceNumber=said["sequenceNumber"])
        record = self.kinesis.get_records(ShardIterator=it["ShardIterator"], Limit=1)["Records"][0]
        self.assertEqual(record["SequenceNumber"], said["sequenceNumber"])
        return record


class Records(Rest):
    def test_the_body_is_one_record_and_the_answer_says_where_it_is(self):
        for body in (b"hello", b'{"user": 7}\n', b"two\nlines\n", b"\x00\xff binary", b"\r\n", "ü€".encode()):
            said = self.send("/streams/events/records", body)
            self.assertEqual(set(said), {"shardId", "sequenceNumber"})
            self.assertRegex(said["shardId"], r"^shardId-\d{12}$")
            self.assertRegex(said["sequenceNumber"], r"^\d{56}$")
            self.assertEqual(self.stored(said)["Data"], body)

    def test_plain_curl(self):
        url = self.daemon.url + "/streams/events/records"
        status, body = self.curl("-d", '{"user": 7, "did": "login"}', url)
        self.assertEqual(status, 200)
        self.assertEqual(self.stored(json.loads(body))["Data"], b'{"user": 7, "did": "login"}')
        status, body = self.curl("--data-binary", "@-", url, stdin=b"a\nb\n")
        self.assertEqual(self.stored(json.loads(body))["Data"], b"a\nb\n")
        status, body = self.curl("-d", "by route", self.daemon.url + "/prod/logger")
        self.assertEqual(self.stored(json.loads(body))["Data"], b"by route")
        status, body = self.curl("-H", "Transfer-Encoding: chunked", "--data-binary", "@-", url, stdin=b"chunk " * 50000)
        self.assertEqual(self.stored(json.loads(body))["Data"], b"chunk " * 50000)
        self.assertEqual(self.curl("-F", "file=@/dev/null", url)[0], 415)

    def test_ndjson_is_a_record_a_line(self):
        for kind in ("application/x-ndjson", "Application/X-NDJSON; charset=utf-8"):
            said = self.send("/streams/events/records", b'{"n":0}\r\n{"n":1}\n\n  \n{"n":2}', {"Content-Type": kind})
            self.assertEqual(said["failedRecordCount"], 0)
            self.assertEqual([self.stored(r)["Data"] for r in said["records"]], [b'{"n":0}', b'{"n":1}', b'{"n":2}'])
        said = self.send("/lines", b"a\nb\n")
        self.assertEqual([self.stored(r)["Data"] for r in said["records"]], [b"a", b"b"])
        said = self.send("/whole", b"a\nb\n", {"Content-Type": "application/x-ndjson"})
        self.assertEqual(self.stored(said)["Data"], b"a\nb\n")

    def test_many_lines_in_one_request_keep_their_order_under_one_key(self):
        lines = [json.dumps({"n": n}).encode() for n in range(10000)]
        said = self.send("/streams/events/records?partition-key=one", b"\n".join(lines), {"Content-Type": "application/x-ndjson"})
        self.assertEqual((said["failedRecordCount"], len(said["records"])), (0, 10000))
        self.assertEqual(len({r["shardId"] for r in said["records"]}), 1)
        numbers = [int(r["sequenceNumber"]) for r in said["records"]]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertEqual(self.stored(said["records"][6789])["Data"], lines[6789])
        said = self.send("/lines", b"x\n" * 10001, status=413)
        self.assertIn("more than 10000 records", said["message"])

    def test_the_partition_key_comes_from_header_query_or_chance(self):
        path = "/streams/events/records"
        self.assertEqual(self.stored(self.send(path, headers={"X-Partition-Key": "user-7"}))["PartitionKey"], "user-7")
        self.assertEqual(self.stored(self.send(path + "?a=b&partition-key=%C3%BC+1%262"))["PartitionKey"], "ü 1&2")
        both = self.send(path + "?partition-key=query", headers={"x-partition-key": "header"})
        self.assertEqual(self.stored(both)["PartitionKey"], "header")
        chance = [self.stored(self.send(path))["PartitionKey"] for _ in range(20)]
        self.assertEqual(len(set(chance)), 20)
        said = self.send(path, b"a\nb\nc\nd\n" * 20, {"Content-Type": "application/x-ndjson"})
        self.assertGreater(len({r["shardId"] for r in said["records"]}), 1, "each line has a key of its own")
        self.assertEqual(self.stored(self.send("/named", headers={"X-User": "u"}))["PartitionKey"], "u")
        self.assertEqual(self.stored(self.send("/named?user=v"))["PartitionKey"], "v")
        self.assertNotEqual(self.stored(self.send("/named?partition-key=v"))["PartitionKey"], "v")
        # the same key as by the AWS protocol goes to the same shard
        for key in ("a", "b", "c", "ü"):
            by_aws = self.kinesis.put_record(StreamName="events", Data=b"x", PartitionKey=key)["ShardId"]
            self.assertEqual(self.send(path + "?partition-key=" + ("%C3%BC" if key == "ü" else key))["shardId"], by_aws)
        self.assertEqual(self.send(path, headers={"X-Explicit-Hash-Key": str(2**128 - 1)})["shardId"], "shardId-000000000003")

    def test_a_wrong_key_is_400(self):
        path = "/streams/events/records"
        for headers, query in [({"X-Partition-Key": ""}, ""), ({"X-Partition-Key": "k" * 257}, ""), ({}, "?partition-key="),
                               ({}, "?partition-key=%ff"), ({}, "?partition-key=%zz"), ({"X-Explicit-Hash-Key": "-1"}, ""),
                               ({"X-Explicit-Hash-Key": str(2**128)}, "")]:
            said = self.send(path + query, headers=headers, status=400)
            self.assertEqual(said["error"], "bad_request")
        self.send(path + "?partition-key=" + "%C3%BC" * 256) # characters, not bytes

    def test_stamp_adds_the_arrival_time(self):
        before = time.time()
        record = json.loads(self.stored(self.send("/stamped", b' {"a": [1, {"received": "inner"}], "b": "\xc3\xbc\\n"} '))["Data"])
        at = record.pop("received")
        self.assertEqual(record, {"a": [1, {"received": "inner"}], "b": "ü\n"})
        self.assertRegex(at, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        seconds = calendar.timegm(time.strptime(at[:19], "%Y-%m-%dT%H:%M:%S")) + float(at[19:23])
        self.assertGreater(seconds, before - 1)
        self.assertLess(seconds, time.time() + 1)
        again = self.stored(self.send("/stamped", b'{"received": "forged", "x": 1, "received": 2}'))["Data"]
        self.assertEqual(again.count(b"received"), 1, again)
        self.assertEqual(json.loads(again)["x"], 1)
        self.assertEqual(set(json.loads(self.stored(self.send("/stamped", b"{}"))["Data"])), {"received"})
        lines = self.send("/stamped", b'{"n":1}\n{"n":2}\n', {"Content-Type": "application/x-ndjson"})
        self.assertEqual([json.loads(self.stored(r)["Data"])["n"] for r in lines["records"]], [1, 2])
        for body in (b"text", b"[1]", b"{", b'{"a":1} x', b'{"a":01}', b'{"a":"\xff"}', b"7"):
            self.assertIn("JSON object", self.send("/stamped", body, status=400)["message"])
        said = self.send("/stamped", b'{"n":1}\nnot\n', {"Content-Type": "application/x-ndjson"}, status=400)
        self.assertIn("Record 2", said["message"])

    def test_json_of_many_shapes_survives_the_stamp(self):
        for value in [{"deep": [[[[{"x": None}]]]]}, {"": ""}, {"n": [0, -1, 1.5e300, 10**30]}, {"u": "\u2028\U0001f600\x00"}, {"t": True}]:
            got = json.loads(self.stored(self.send("/stamped", json.dumps(value).encode()))["Data"])
            got.pop("received")
            self.assertEqual(got, value)


class Refusals(Rest):
    def test_paths_and_methods(self):
        self.send("/nothing/here", status=404)
        self.send("/prod/logger/", status=404)
        self.send("/streams/events", status=404)
        self.send("/streams/a/b/records", status=404)
        said = self.send("/streams/nobody/records", status=404)
        self.assertIn("'nobody' does not exist", said["message"])
        self.send("/streams/%00%ff\"/records", status=404)
        for method in ("GET", "PUT", "DELETE", "PATCH"):
            self.send("/prod/logger", method=method, status=405)
            self.assertIn("POST", self.answer.getheader("Allow"))
        self.send("/prod/logger", body=None, method="OPTIONS", status=204)
        self.send("/prod/logger", body=None, method="HEAD", status=405)

    def test_bodies(self):
        self.assertEqual(self.send("/streams/events/records", b"", status=400)["error"], "bad_request")
        self.send("/streams/events/records", b"\n \n", {"Content-Type": "application/x-ndjson"}, status=400)
        self.assertEqual(self.send("/streams/events/records", b"x" * (1 << 20), status=413)["error"], "too_large")
        self.send("/streams/events/records?partition-key=k", b"x" * ((1 << 20) - 1))
        self.send("/streams/big/records?partition-key=k", b"x" * ((10 << 20) - 1))
        self.send("/streams/big/records?partition-key=k", b"x" * (10 << 20), status=413)
        said = self.send("/streams/events/records", b"small\n" + b"x" * (2 << 20) + b"\n", {"Content-Type": "application/x-ndjson"}, status=413)
        self.assertIn("Record 2", said["message"])
        self.send("/streams/events/records", headers={"Content-Encoding": "gzip"}, status=415)
        self.send("/streams/events/records", headers={"Content-Type": "multipart/form-data; boundary=x"}, status=415)
        self.send("/streams/events/records", headers={"Content-Encoding": "identity", "Content-Type": "whatever/else"})

    def test_over_the_body_limit_the_server_answers_before_it_has_read_all(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=30 * SLOW)
        connection.putrequest("POST", "/streams/events/records")
        connection.putheader("Content-Length", str(1 << 40))
        connection.endheaders()
        answer = connection.getresponse()
        self.assertEqual(answer.status, 413)
        self.assertIn("message", json.loads(answer.read()))
        connection.close()

    def test_api_keys(self):
        for key in ("first-key", "second-key"):
            self.send("/locked", headers={"X-Api-Key": key})
        for headers in ({}, {"X-Api-Key": ""}, {"X-Api-Key": "first"}, {"X-Api-Key": "first-key2"}, {"X-Api-Key": "# who may"},
                        {"X-Api-Key": "FIRST-KEY"}):
            self.assertEqual(self.send("/locked", headers=headers, status=403)["error"], "forbidden")
        status, _ = self.curl("-H", "x-api-key: second-key", "-d", "x", self.daemon.url + "/locked")
        self.assertEqual(status, 200)

    def test_a_deleted_stream_takes_nothing(self):
        self.daemon.run("sluice", "stream", "create", "short-lived")
        self.send("/streams/short-lived/records")
        self.kinesis.delete_stream(StreamName="short-lived")
        self.send("/streams/short-lived/records", status=404)

    def test_answers_are_counted(self):
        def value(pattern):
            connection = http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=30 * SLOW)
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
            connection.close()
            return sum(float(v) for v in re.findall(r"^sluice_requests_total\{[^}]*" + pattern + r"[^}]*\} (\S+)$", text, re.M))
        before, ok = value('service="rest"'), value('service="rest"[^}]*result="ok"')
        self.send("/prod/logger")
        self.send("/streams/nobody/records", status=404)
        self.assertEqual(value('service="rest"') - before, 2)
        self.assertEqual(value('service="rest"[^}]*result="ok"') - ok, 1)


class Throttling(Rest):
    config = """
limits: aws
streams: [{name: events, shards: 1}]
"""

    def test_over_the_limit_of_a_shard_it_is_429_with_retry_after(self):
        lines = b"\n".join(b"%d" % n for n in range(3000))
        said = self.send("/streams/events/records", lines, {"Content-Type": "application/x-ndjson"})
        self.assertGreater(said["failedRecordCount"], 0)
        self.assertGreaterEqual(3000 - said["failedRecordCount"], 1000)
        failed = [r for r in said["records"] if "error" in r]
        self.assertEqual(len(failed), said["failedRecordCount"])
        self.assertEqual({r["error"] for r in failed}, {"throttled"})
        connection = http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=30 * SLOW)
        for _ in range(20000): # the bucket fills while we ask: ask faster than 1,000 a second, 500 at a time
            connection.request("POST", "/streams/events/records", lines[:2000], {"Content-Type": "application/x-ndjson"})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status == 429:
                break
        connection.close()
        self.assertEqual(answer.status, 429, "never throttled")
        self.assertGreaterEqual(int(answer.getheader("Retry-After")), 1)
        self.assertTrue(all(r["error"] == "throttled" for r in json.loads(body)["records"]))


class WithCredentials(Rest):
    config = """
credentials: [{access_key_id: AKIDEXAMPLE, secret_access_key: secret}]
streams: [{name: events, shards: 1}]
routes:
  - {path: /signed, stream: events}
  - {path: /open, stream: events, auth: none}
  - {path: /locked, stream: events, auth: key, keys_file: "@FOLDER@/keys"}
"""

    def test_once_there_are_credentials_plain_requests_are_refused(self):
        for path in ("/signed", "/streams/events/records"):
            said = self.send(path, status=403)
            self.assertEqual(said["error"], "MissingAuthenticationTokenException")
            self.assertIn("--aws-sigv4", said["message"])
        self.send("/open")
        self.send("/locked", headers={"X-Api-Key": "first-key"})
        self.send("/locked", status=403)

    def test_curl_signs_by_itself(self):
        def curl(path, *more, user="AKIDEXAMPLE:secret", provider="aws:amz:us-east-1:kinesis"):
            return self.curl("--aws-sigv4", provider, "--user", user, *more, self.daemon.url + path)
        for path, more in [("/signed", ("-d", "signed by curl")), ("/streams/events/records", ("-d", '{"a": "ü"}')),
                           ("/signed?partition-key=k", ("-d", "with a query")), ("/open", ("-d", "signed though it need not be")),
                           ("/signed", ("-H", "Content-Type: application/x-ndjson", "--data-binary", "a\nb\n"))]:
            with self.subTest(path=path, more=more):
                status, body = curl(path, *more)
                self.assertEqual(status, 200, body)
        status, body = curl("/signed", "-d", "x", user="AKIDEXAMPLE:wrong")
        self.assertEqual((status, json.loads(body)["error"]), (403, "InvalidSignatureException"))
        status, body = curl("/signed", "-d", "x", user="NOBODY:secret")
        self.assertEqual((status, json.loads(body)["error"]), (403, "UnrecognizedClientException"))
        status, body = curl("/signed", "-d", "x", provider="aws:amz:eu-west-1:kinesis")
        self.assertEqual(status, 403)


if __name__ == "__main__":
    unittest.main()
