"""The unmodified AWS CLI, and curl against the REST ingestion."""
import base64
import json
import subprocess
import unittest

from daemon import Daemon

CONFIG = """
streams:
  - {name: events, shards: 2}
routes:
  - {path: /prod/logger, stream: events, stamp: at}
  - {path: /keyed, stream: events, auth: key, keys_file: @FOLDER@/keys}
"""


class Cli(unittest.TestCase):
    def test_the_aws_cli_creates_puts_and_gets(self):
        with Daemon() as d:
            d.aws("kinesis", "create-stream", "--stream-name", "cli", "--shard-count", "1")
            d.aws("kinesis", "wait", "stream-exists", "--stream-name", "cli")
            encoded = base64.b64encode(b"from the cli").decode()
            put = json.loads(d.aws("kinesis", "put-record", "--stream-name", "cli", "--partition-key", "k", "--data", encoded))
            it = json.loads(d.aws("kinesis", "get-shard-iterator", "--stream-name", "cli", "--shard-id", put["ShardId"],
                                  "--shard-iterator-type", "TRIM_HORIZON"))["ShardIterator"]
            got = json.loads(d.aws("kinesis", "get-records", "--shard-iterator", it))
            self.assertEqual([b"from the cli"], [base64.b64decode(r["Data"]) for r in got["Records"]])
            self.assertEqual(put["SequenceNumber"], got["Records"][0]["SequenceNumber"])
            self.assertEqual(["cli"], json.loads(d.aws("kinesis", "list-streams"))["StreamNames"])
            d.aws("kinesis", "delete-stream", "--stream-name", "cli")
            d.aws("kinesis", "wait", "stream-not-exists", "--stream-name", "cli")
            done = d.run("/usr/bin/aws", "--endpoint-url", d.url, "kinesis", "describe-stream", "--stream-name", "cli", check=False)
            self.assertNotEqual(0, done.returncode)
            self.assertIn("ResourceNotFoundException", done.stderr.decode())


class Rest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(config=CONFIG)
        with open(cls.daemon.folder + "/keys", "w", encoding="utf-8") as f:
            f.write("# keys\nsesame\n")
        cls.daemon.start()

    @classmethod
    def tearDownClass(cls):
        cls.daemon.__exit__(None, None, None)

    def curl(self, *arguments, stdin=b""):
        done = subprocess.run(["curl", "-sS", "-w", "\n%{http_code}", *arguments], input=stdin, stdout=subprocess.PIPE, check=True)
        body, _, status = done.stdout.decode().rpartition("\n")
        return int(status), json.loads(body) if body.strip() else None

    def stored(self):
        k = self.daemon.kinesis()
        records = []
        for shard in k.list_shards(StreamName="events")["Shards"]:
            at = k.get_shard_iterator(StreamName="events", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
            records += k.get_records(ShardIterator=at["ShardIterator"])["Records"]
        return records

    def test_curl_posts_one_record(self):
        status, body = self.curl("-d", "just text", self.daemon.url + "/streams/events/records?partition-key=me")
        self.assertEqual(200, status)
        record = next(r for r in self.stored() if r["SequenceNumber"] == body["sequenceNumber"])
        self.assertEqual((b"just text", "me"), (record["Data"], record["PartitionKey"]))

    def test_curl_posts_lines(self):
        status, body = self.curl("-H", "Content-Type: application/x-ndjson", "--data-binary", "@-",
                                 self.daemon.url + "/streams/events/records", stdin=b'{"a":1}\n\n{"a":2}\n')
        self.assertEqual((200, 0, 2), (status, body["failedRecordCount"], len(body["records"])))
        numbers = {r["sequenceNumber"] for r in body["records"]}
        self.assertEqual({b'{"a":1}', b'{"a":2}'}, {r["Data"] for r in self.stored() if r["SequenceNumber"] in numbers})

    def test_a_route_stamps_the_arrival_time(self):
        status, body = self.curl("-d", '{"event":"login"}', self.daemon.url + "/prod/logger")
        self.assertEqual(200, status)
        record = json.loads(next(r["Data"] for r in self.stored() if r["SequenceNumber"] == body["sequenceNumber"]))
        self.assertEqual("login", record["event"])
        self.assertRegex(record["at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        status, body = self.curl("-d", "[1]", self.daemon.url + "/prod/logger")
        self.assertEqual(400, status)
        self.assertIn("not a JSON object", body["message"])

    def test_refusals_are_json_that_says_what_to_do(self):
        for arguments, status, text in (
                (("-d", "x", "/streams/ghost/records"), 404, "sluice stream create ghost"),
                (("/streams/events/records",), 405, "POST"),
                (("-F", "file=x", "/streams/events/records"), 415, "--data-binary"),
                (("-d", "x", "/nowhere"), 404, "/streams/NAME/records"),
                (("-d", "x", "/keyed"), 403, "x-api-key")):
            got, body = self.curl(*arguments[:-1], self.daemon.url + arguments[-1])
            self.assertEqual(status, got, body)
            self.assertIn(text, body["message"])
        self.assertEqual(200, self.curl("-d", "x", "-H", "x-api-key: sesame", self.daemon.url + "/keyed")[0])

    def test_a_body_over_the_limit_is_413(self):
        status, _ = self.curl("--data-binary", "@-", self.daemon.url + "/streams/events/records", stdin=b"x" * (2 << 20))
        self.assertEqual(413, status)


class SignedRest(unittest.TestCase):
    def test_curl_signs_once_credentials_exist(self):
        config = "credentials: [{access_key_id: AKIDEXAMPLE, secret_access_key: secret}]\nstreams: [{name: events, shards: 1}]"
        with Daemon(config=config) as d:
            url = d.url + "/streams/events/records"
            plain = subprocess.run(["curl", "-sS", "-d", "x", url], stdout=subprocess.PIPE, check=True).stdout.decode()
            self.assertIn("MissingAuthenticationTokenException", plain)
            signed = subprocess.run(["curl", "-sS", "--aws-sigv4", "aws:amz:us-east-1:kinesis", "--user", "AKIDEXAMPLE:secret",
                                     "-d", "x", url], stdout=subprocess.PIPE, check=True).stdout.decode()
            self.assertIn("sequenceNumber", signed)


if __name__ == "__main__":
    unittest.main()
