"""Requests that no SDK would send: wrong types, wrong JSON, wrong content types, new parameters, odd HTTP."""
import base64
import http.client
import json
import socket
import time
import unittest

from daemon import Daemon, wait_until

TARGET = "Kinesis_20131202."
JSON11 = "application/x-amz-json-1.1"


class Raw(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(config="streams: [{name: events, shards: 3}]").start()

    @classmethod
    def tearDownClass(cls):
        cls.daemon.__exit__(None, None, None)

    def send(self, operation, body, content_type=JSON11, method="POST", path="/", headers=None):
        c = http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=30)
        all_headers = dict(headers or {})
        if operation is not None:
            all_headers["X-Amz-Target"] = operation if "." in operation else TARGET + operation
        if content_type is not None:
            all_headers["Content-Type"] = content_type
        c.request(method, path, body if isinstance(body, (bytes, str)) else json.dumps(body), all_headers)
        answer = c.getresponse()
        text = answer.read()
        c.close()
        return answer, text

    def answer(self, operation, body, status=200):
        got, text = self.send(operation, body)
        self.assertEqual(status, got.status, text)
        return json.loads(text) if text else None

    def test_wrong_types_name_the_java_classes(self):
        number = "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to an String"
        cases = [
            ("PutRecord", {"StreamName": 23}, number),
            ("PutRecord", {"StreamName": True}, "class java.lang.Boolean can not be converted to an String"),
            ("PutRecord", {"StreamName": []}, "Start of list found where not expected"),
            ("PutRecord", {"StreamName": {}}, "Start of structure or map found where not expected."),
            ("PutRecord", {"Data": "23456"},
             "'23456' can not be converted to a Blob: Base64 encoded length is expected a multiple of 4 bytes but found: 5"),
            ("PutRecord", {"Data": 34.56},
             "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to a Blob"),
            ("PutRecords", {"Records": "23"}, "Expected list or null"),
            ("PutRecords", {"Records": [True]}, "Expected null"),
            ("PutRecords", {"Records": [{"PartitionKey": 1}]}, number),
            ("ListStreams", {"Limit": "23"}, "class java.lang.String can not be converted to an Integer"),
            ("GetRecords", {"ShardIterator": 1}, number),
        ]
        for operation, body, message in cases:
            got = self.answer(operation, body, 400)
            self.assertEqual({"__type": "SerializationException", "Message": message}, got, (operation, body))

    def test_validation_errors_are_aggregated(self):
        got = self.answer("GetShardIterator", {"StreamName": "", "ShardIteratorType": "", "ShardId": "", "StartingSequenceNumber": ""}, 400)
        self.assertEqual("ValidationException", got["__type"])
        self.assertTrue(got["message"].startswith("6 validation errors detected: Value '' at 'shardId' failed to satisfy "
                                                  "constraint: Member must satisfy regular expression pattern"), got)

    def test_broken_json_and_unknown_operations(self):
        self.assertEqual({"__type": "SerializationException"}, self.answer("PutRecord", "{", 400))
        self.assertEqual({"__type": "UnknownOperationException"}, self.answer("FlyToTheMoon", {}, 400))
        got, text = self.send(None, "{}")
        self.assertEqual(({"__type": "UnknownOperationException"}, 400), (json.loads(text), got.status))
        got, text = self.send("PutRecord", "{}", content_type="text/plain")
        self.assertEqual((404, b"<UnknownOperationException/>\n"), (got.status, text))

    def test_answers_carry_awss_headers(self):
        got, _ = self.send("ListStreams", {})
        self.assertRegex(got.getheader("x-amzn-RequestId"), r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
        self.assertTrue(64 <= len(base64.b64decode(got.getheader("x-amz-id-2"), validate=True)) <= 80)
        self.assertEqual(JSON11, got.getheader("Content-Type"))
        self.assertEqual("0", self.send("CreateStream", {"StreamName": "empty-body", "ShardCount": 1})[0].getheader("Content-Length"))

    def test_streams_may_be_named_by_arn(self):
        arn = "arn:aws:kinesis:us-east-1:000000000000:stream/events"
        put = self.answer("PutRecord", {"StreamARN": arn, "PartitionKey": "k", "Data": "aGk="})
        it = self.answer("GetShardIterator", {"StreamARN": arn, "ShardId": put["ShardId"], "ShardIteratorType": "AT_SEQUENCE_NUMBER",
                                              "StartingSequenceNumber": put["SequenceNumber"]})["ShardIterator"]
        got = self.answer("GetRecords", {"StreamARN": arn, "ShardIterator": it})
        self.assertEqual("aGk=", got["Records"][0]["Data"])
        self.assertEqual("events", self.answer("DescribeStreamSummary", {"StreamARN": arn})["StreamDescriptionSummary"]["StreamName"])
        self.assertEqual(3, len(self.answer("ListShards", {"StreamARN": arn})["Shards"]))
        got = self.answer("DescribeStream", {"StreamARN": arn.replace("events", "ghost")}, 400)
        self.assertEqual("Stream ghost under account 000000000000 not found.", got["message"])

    def test_an_iterator_looks_as_known_clients_check_it(self):
        text = self.answer("GetShardIterator", {"StreamName": "events", "ShardId": "shardId-0", "ShardIteratorType": "LATEST"})["ShardIterator"]
        raw = base64.b64decode(text, validate=True)
        self.assertLessEqual(len(text), 512)
        self.assertEqual("0000000000000001", raw[:8].hex())
        self.assertEqual(0, (len(raw) - 152) % 16)
        for at in (8, 40, len(raw) - 1):  # forged
            forged = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1:]
            got = self.answer("GetRecords", {"ShardIterator": base64.b64encode(forged).decode()}, 400)
            self.assertEqual({"__type": "InvalidArgumentException", "message": "Invalid ShardIterator."}, got)

    def test_at_timestamp_is_exact_to_the_millisecond(self):
        at = lambda t: self.answer("GetShardIterator", {"StreamName": "events", "ShardId": "shardId-0", "Timestamp": t,
                                                        "ShardIteratorType": "AT_TIMESTAMP"})["ShardIterator"]
        numbers = []
        for _ in range(4):
            numbers.append(self.answer("PutRecord", {"StreamName": "events", "PartitionKey": "k", "Data": "", "ExplicitHashKey": "0"})["SequenceNumber"])
            time.sleep(0.01)
        records = self.answer("GetRecords", {"ShardIterator": at(1)})["Records"]
        times = {r["SequenceNumber"]: r["ApproximateArrivalTimestamp"] for r in records}
        for i, number in enumerate(numbers):
            got = self.answer("GetRecords", {"ShardIterator": at(times[number])})["Records"]
            self.assertEqual(numbers[i:], [r["SequenceNumber"] for r in got][:4 - i])
            got = self.answer("GetRecords", {"ShardIterator": at(times[number] + 0.001)})["Records"]
            self.assertEqual(numbers[i + 1:], [r["SequenceNumber"] for r in got][:3 - i])

    def test_list_streams_pages_by_token_with_summaries(self):
        for name in ("aa", "bb"):
            self.answer("CreateStream", {"StreamName": name, "ShardCount": 1, "Tags": {"a": "b"}, "MaxRecordSizeInKiB": 2048})
        got = self.answer("ListStreams", {"Limit": 1})
        self.assertEqual(["aa"], got["StreamNames"])
        self.assertEqual("aa", got["StreamSummaries"][0]["StreamName"])
        got = self.answer("ListStreams", {"Limit": 1, "NextToken": got["NextToken"]})
        self.assertEqual(["bb"], got["StreamNames"])
        wait_until(lambda: self.answer("DescribeStreamSummary", {"StreamName": "aa"})["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE",
                   10, "ACTIVE")
        big = base64.b64encode(b"x" * (1 << 21 - 1)).decode()
        self.answer("PutRecord", {"StreamName": "aa", "PartitionKey": "k", "Data": big})
        self.answer("PutRecord", {"StreamName": "events", "PartitionKey": "k",
                                  "Data": base64.b64encode(b"x" * (1 << 21)).decode()}, 400)

    def test_pipelined_requests_are_answered_in_order(self):
        body = json.dumps({"StreamName": "events", "PartitionKey": "p", "Data": ""})
        head = (f"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {JSON11}\r\nX-Amz-Target: {TARGET}PutRecord\r\n"
                f"Content-Length: {len(body)}\r\n\r\n")
        listing = ("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: " + JSON11 + "\r\nX-Amz-Target: " + TARGET +
                   "ListStreams\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        with socket.create_connection(("127.0.0.1", self.daemon.port), 30) as s:
            s.sendall(((head + body) * 5 + listing).encode())
            got = b""
            while True:
                piece = s.recv(65536)
                if not piece:
                    break
                got += piece
        parts = got.split(b"HTTP/1.1 200 OK\r\n")[1:]
        self.assertEqual(6, len(parts))
        self.assertTrue(all(b"SequenceNumber" in p for p in parts[:5]))
        self.assertIn(b"StreamNames", parts[5])


if __name__ == "__main__":
    unittest.main()
