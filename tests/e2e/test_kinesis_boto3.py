"""The unmodified boto3 against the daemon: streams, puts, all iterator types, pages, errors, restarts."""
import datetime
import os
import time
import unittest

from botocore.exceptions import ClientError

from daemon import Daemon, wait_until

ACCOUNT = "000000000000"


def create(kinesis, name, shards=1):
    kinesis.create_stream(StreamName=name, ShardCount=shards)
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


def shard_ids(kinesis, name):
    return [s["ShardId"] for s in kinesis.list_shards(StreamName=name)["Shards"]]


def iterator(kinesis, name, shard, kind="TRIM_HORIZON", **more):
    return kinesis.get_shard_iterator(StreamName=name, ShardId=shard, ShardIteratorType=kind, **more)["ShardIterator"]


def read_all(kinesis, name, shard, limit=None):
    """All records up to the tip, page by page."""
    at, records = iterator(kinesis, name, shard), []
    while True:
        more = {"Limit": limit} if limit else {}
        answer = kinesis.get_records(ShardIterator=at, **more)
        records += answer["Records"]
        at = answer["NextShardIterator"]
        if answer["MillisBehindLatest"] == 0 and not answer["Records"]:
            return records


class WithDaemon(unittest.TestCase):
    CONFIG = ""

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(config=cls.CONFIG).start()
        cls.kinesis = cls.daemon.kinesis()

    @classmethod
    def tearDownClass(cls):
        cls.daemon.__exit__(None, None, None)

    def refused(self, code, message, call, **parameters):
        with self.assertRaises(ClientError) as caught:
            call(**parameters)
        error = caught.exception.response["Error"]
        self.assertEqual(code, error["Code"], error["Message"])
        if message is not None:
            self.assertEqual(message, error["Message"])
        return caught.exception.response


class Streams(WithDaemon):
    def test_a_stream_is_created_described_and_deleted(self):
        k = self.kinesis
        create(k, "life", 3)
        d = k.describe_stream(StreamName="life")["StreamDescription"]
        self.assertEqual("ACTIVE", d["StreamStatus"])
        self.assertEqual(f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/life", d["StreamARN"])
        self.assertEqual(24, d["RetentionPeriodHours"])
        self.assertEqual("NONE", d["EncryptionType"])
        self.assertLess(abs(d["StreamCreationTimestamp"].timestamp() - time.time()), 60)
        self.assertEqual(["shardId-000000000000", "shardId-000000000001", "shardId-000000000002"],
                         [s["ShardId"] for s in d["Shards"]])
        self.assertEqual("340282366920938463463374607431768211455", d["Shards"][2]["HashKeyRange"]["EndingHashKey"])
        starts = [s["SequenceNumberRange"]["StartingSequenceNumber"] for s in d["Shards"]]
        self.assertEqual([56, 56, 56], [len(s) for s in starts])
        self.assertEqual(22300745198530623141535718272648361505980432, int(starts[1]) - int(starts[0]))
        s = k.describe_stream_summary(StreamName="life")["StreamDescriptionSummary"]
        self.assertEqual(3, s["OpenShardCount"])
        self.refused("ResourceInUseException", f"Stream life under account {ACCOUNT} already exists.",
                     k.create_stream, StreamName="life", ShardCount=1)
        k.delete_stream(StreamName="life")
        k.get_waiter("stream_not_exists").wait(StreamName="life", WaiterConfig={"Delay": 1, "MaxAttempts": 30})
        self.refused("ResourceNotFoundException", f"Stream life under account {ACCOUNT} not found.",
                     k.describe_stream, StreamName="life")

    def test_lists_are_paged(self):
        k = self.kinesis
        names = [f"page-{i:02}" for i in range(7)]
        for name in names:
            create(k, name)
        seen, start = [], {}
        while True:
            answer = k.list_streams(Limit=3, **start)
            seen += answer["StreamNames"]
            if not answer["HasMoreStreams"]:
                break
            start = {"ExclusiveStartStreamName": answer["StreamNames"][-1]}
        self.assertEqual(names, [n for n in seen if n.startswith("page-")])
        self.assertEqual(sorted(seen), seen)
        self.assertEqual(seen, [n for page in k.get_paginator("list_streams").paginate() for n in page["StreamNames"]])

    def test_shards_are_paged_by_all_three_ways(self):
        k = self.kinesis
        create(k, "wide", 25)
        expected = [f"shardId-{i:012}" for i in range(25)]
        seen, answer = [], k.list_shards(StreamName="wide", MaxResults=10)
        seen += answer["Shards"]
        while "NextToken" in answer:
            answer = k.list_shards(NextToken=answer["NextToken"], MaxResults=10)
            seen += answer["Shards"]
        self.assertEqual(expected, [s["ShardId"] for s in seen])
        pages = k.get_paginator("describe_stream").paginate(StreamName="wide", PaginationConfig={"PageSize": 7})
        self.assertEqual(expected, [s["ShardId"] for p in pages for s in p["StreamDescription"]["Shards"]])
        after = k.list_shards(StreamName="wide", ExclusiveStartShardId="shardId-000000000022")["Shards"]
        self.assertEqual(expected[23:], [s["ShardId"] for s in after])
        for kind in ("AT_TRIM_HORIZON", "FROM_TRIM_HORIZON", "AT_LATEST"):
            self.assertEqual(25, len(k.list_shards(StreamName="wide", ShardFilter={"Type": kind})["Shards"]))
        now = datetime.datetime.now(datetime.timezone.utc)
        for kind in ("AT_TIMESTAMP", "FROM_TIMESTAMP"):
            self.assertEqual(25, len(k.list_shards(StreamName="wide", ShardFilter={"Type": kind, "Timestamp": now})["Shards"]))
        after = k.list_shards(StreamName="wide", ShardFilter={"Type": "AFTER_SHARD_ID", "ShardId": "shardId-000000000022"})
        self.assertEqual(expected[23:], [s["ShardId"] for s in after["Shards"]])

    def test_an_on_demand_stream_has_four_shards(self):
        k = self.kinesis
        k.create_stream(StreamName="auto", StreamModeDetails={"StreamMode": "ON_DEMAND"})
        wait_until(lambda: k.describe_stream_summary(StreamName="auto")["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE",
                   10, "ACTIVE")
        s = k.describe_stream_summary(StreamName="auto")["StreamDescriptionSummary"]
        self.assertEqual((4, "ON_DEMAND"), (s["OpenShardCount"], s["StreamModeDetails"]["StreamMode"]))


class Records(WithDaemon):
    def test_a_record_comes_back_as_it_went_in(self):
        k = self.kinesis
        create(k, "one")
        for data, key in ((b"", "k"), (b"hello", "a"), (bytes(range(256)), "\u00fc\u4e16\U0001f600 \"\\\n\t"), (b"x", "z" * 256)):
            put = k.put_record(StreamName="one", Data=data, PartitionKey=key)
            at = iterator(k, "one", put["ShardId"], "AT_SEQUENCE_NUMBER", StartingSequenceNumber=put["SequenceNumber"])
            (record,) = k.get_records(ShardIterator=at)["Records"]
            self.assertEqual((data, key, put["SequenceNumber"]),
                             (record["Data"], record["PartitionKey"], record["SequenceNumber"]))
            self.assertLess(abs(record["ApproximateArrivalTimestamp"].timestamp() - time.time()), 30)
            self.assertNotIn("EncryptionType", record)

    def test_a_batch_of_500_over_many_shards(self):
        k = self.kinesis
        create(k, "batch", 7)
        records = [{"Data": f"record {i}".encode(), "PartitionKey": f"key {i % 90}"} for i in range(500)]
        answer = k.put_records(StreamName="batch", Records=records)
        self.assertEqual(0, answer["FailedRecordCount"])
        self.assertEqual(500, len(answer["Records"]))
        expected = {}
        for r, a in zip(records, answer["Records"]):
            expected.setdefault(a["ShardId"], []).append((a["SequenceNumber"], r["Data"], r["PartitionKey"]))
        self.assertEqual(7, len(expected))
        for shard, wanted in expected.items():
            self.assertEqual(wanted, sorted(wanted, key=lambda w: int(w[0])))
            got = [(r["SequenceNumber"], r["Data"], r["PartitionKey"]) for r in read_all(k, "batch", shard)]
            self.assertEqual(wanted, got)

    def test_a_record_of_one_mebibyte(self):
        k = self.kinesis
        create(k, "large")
        data = os.urandom((1 << 20) - 3)
        k.put_record(StreamName="large", Data=data, PartitionKey="key")
        (record,) = read_all(k, "large", "shardId-000000000000")
        self.assertEqual(data, record["Data"])
        text = ("1 validation error detected: Value at 'data' failed to satisfy constraint: Member must have length less "
                "than or equal to 1048576")
        self.refused("ValidationException", text, k.put_record, StreamName="large", Data=data + b"!", PartitionKey="key")
        text = text.replace("'data'", "'records.2.member.data'")
        self.refused("ValidationException", text, k.put_records, StreamName="large",
                     Records=[{"Data": b"1", "PartitionKey": "key"}, {"Data": data + b"!", "PartitionKey": "key"}])
        nine = [{"Data": data, "PartitionKey": "key"}] * 10
        self.assertEqual(0, k.put_records(StreamName="large", Records=nine)["FailedRecordCount"])
        self.refused("InvalidArgumentException", "Records size exceeds 10 MB limit", k.put_records, StreamName="large",
                     Records=nine + [{"Data": b"x" * 100, "PartitionKey": "key"}])
        self.assertEqual(11, len(read_all(k, "large", "shardId-000000000000")))

    def test_explicit_hash_keys_decide_the_shard(self):
        k = self.kinesis
        create(k, "hashed", 3)
        third = 2 ** 128 // 3
        for key, shard in ((0, 0), (third - 1, 0), (third, 1), (2 * third - 1, 1), (2 * third, 2), (2 ** 128 - 1, 2)):
            put = k.put_record(StreamName="hashed", Data=b"", PartitionKey="a", ExplicitHashKey=str(key))
            self.assertEqual(f"shardId-{shard:012}", put["ShardId"])
        text = f"Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was {2 ** 128}"
        self.refused("InvalidArgumentException", text, k.put_record, StreamName="hashed", Data=b"", PartitionKey="a",
                     ExplicitHashKey=str(2 ** 128))

    def test_numbers_rise_and_may_order_puts(self):
        k = self.kinesis
        create(k, "ordered")
        numbers, more = [], {}
        for _ in range(20):
            numbers.append(k.put_record(StreamName="ordered", Data=b"x", PartitionKey="k", **more)["SequenceNumber"])
            more = {"SequenceNumberForOrdering": numbers[-1]}
        self.assertEqual(sorted(numbers, key=int), numbers)
        self.assertEqual(20, len(set(numbers)))

    def test_the_five_iterator_types(self):
        k = self.kinesis
        create(k, "five")
        shard, puts = "shardId-000000000000", []
        for i in range(6):
            if i == 3:  # boto3 sends timestamps in whole seconds
                time.sleep(1.1)
            puts.append(k.put_record(StreamName="five", Data=str(i).encode(), PartitionKey="k"))
        records = read_all(k, "five", shard)

        def data(kind, **more):
            answer = k.get_records(ShardIterator=iterator(k, "five", shard, kind, **more))
            return b"".join(r["Data"] for r in answer["Records"])
        self.assertEqual(b"012345", data("TRIM_HORIZON"))
        self.assertEqual(b"", data("LATEST"))
        self.assertEqual(b"2345", data("AT_SEQUENCE_NUMBER", StartingSequenceNumber=puts[2]["SequenceNumber"]))
        self.assertEqual(b"345", data("AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=puts[2]["SequenceNumber"]))
        fourth = records[3]["ApproximateArrivalTimestamp"]
        self.assertEqual(b"345", data("AT_TIMESTAMP", Timestamp=fourth - datetime.timedelta(milliseconds=50)))
        self.assertEqual(b"012345", data("AT_TIMESTAMP", Timestamp=fourth - datetime.timedelta(hours=1)))
        time.sleep(1.1)
        self.assertEqual(b"", data("AT_TIMESTAMP", Timestamp=datetime.datetime.now(datetime.timezone.utc)))
        latest = iterator(k, "five", shard, "LATEST")
        k.put_record(StreamName="five", Data=b"new", PartitionKey="k")
        self.assertEqual([b"new"], [r["Data"] for r in k.get_records(ShardIterator=latest)["Records"]])

    def test_records_are_paged_by_limit(self):
        k = self.kinesis
        create(k, "paged")
        for i in range(5):
            k.put_records(StreamName="paged", Records=[{"Data": f"{i}-{j}".encode(), "PartitionKey": "k"} for j in range(100)])
        wanted = [f"{i}-{j}".encode() for i in range(5) for j in range(100)]
        for limit in (7, 100, 333, 10000):
            self.assertEqual(wanted, [r["Data"] for r in read_all(k, "paged", "shardId-000000000000", limit)])
        at = iterator(k, "paged", "shardId-000000000000")
        time.sleep(0.05)
        answer = k.get_records(ShardIterator=at, Limit=10)
        self.assertGreater(answer["MillisBehindLatest"], 0)

    def test_ten_mebibytes_end_an_answer(self):
        k = self.kinesis
        create(k, "tens")
        data = b"x" * 1000000
        for _ in range(15):
            k.put_record(StreamName="tens", Data=data, PartitionKey="key")
        answer = k.get_records(ShardIterator=iterator(k, "tens", "shardId-000000000000"))
        self.assertEqual(10, len(answer["Records"]))
        self.assertEqual(5, len(k.get_records(ShardIterator=answer["NextShardIterator"])["Records"]))

    def test_wrong_names_and_arguments(self):
        k = self.kinesis
        create(k, "known")
        missing = f"Stream ghost under account {ACCOUNT} not found."
        self.refused("ResourceNotFoundException", missing, k.put_record, StreamName="ghost", Data=b"", PartitionKey="k")
        self.refused("ResourceNotFoundException", missing, k.put_records, StreamName="ghost",
                     Records=[{"Data": b"", "PartitionKey": "k"}])
        self.refused("ResourceNotFoundException", missing, k.delete_stream, StreamName="ghost")
        self.refused("ResourceNotFoundException", missing, k.list_shards, StreamName="ghost")
        self.refused("ResourceNotFoundException", f"Shard shardId-000000000009 in stream known under account {ACCOUNT} does not exist",
                     k.get_shard_iterator, StreamName="known", ShardId="shardId-000000000009", ShardIteratorType="LATEST")
        self.refused("ResourceNotFoundException", f"Could not find shard nonsense in stream known under account {ACCOUNT}.",
                     k.get_shard_iterator, StreamName="known", ShardId="nonsense", ShardIteratorType="LATEST")
        self.refused("InvalidArgumentException", "Invalid ShardIterator.", k.get_records, ShardIterator="AAAA")
        self.refused("ValidationException",
                     "1 validation error detected: Value 'bad name' at 'streamName' failed to satisfy constraint: Member must "
                     "satisfy regular expression pattern: [a-zA-Z0-9_.-]+", k.describe_stream, StreamName="bad name")
        response = self.refused("ValidationException", None, k.get_shard_iterator, StreamName="known", ShardId="shardId-0",
                                ShardIteratorType="SIDEWAYS")
        self.assertEqual(400, response["ResponseMetadata"]["HTTPStatusCode"])
        self.assertRegex(response["ResponseMetadata"]["RequestId"], r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
        future = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
        self.refused("InvalidArgumentException", None, k.get_shard_iterator, StreamName="known", ShardId="shardId-0",
                     ShardIteratorType="AT_TIMESTAMP", Timestamp=future)


class Restarts(unittest.TestCase):
    def test_records_and_iterators_outlive_kill_and_restart(self):
        with Daemon(config="streams: [{name: kept, shards: 2}]") as d:
            k = d.kinesis()
            numbers = {}
            for i in range(50):
                put = k.put_record(StreamName="kept", Data=str(i).encode(), PartitionKey=str(i))
                numbers[str(i).encode()] = (put["ShardId"], put["SequenceNumber"])
            shard = "shardId-000000000000"
            first = k.get_records(ShardIterator=iterator(k, "kept", shard), Limit=3)
            old = first["NextShardIterator"]
            d.restart()
            k = d.kinesis()
            rest = k.get_records(ShardIterator=old)["Records"]
            got = first["Records"] + rest + read_all(k, "kept", "shardId-000000000001")
            self.assertEqual(50, len(got))
            for r in got:
                self.assertEqual(numbers[r["Data"]][1], r["SequenceNumber"])
            put = k.put_record(StreamName="kept", Data=b"after", PartitionKey="0", ExplicitHashKey="0")
            self.assertGreater(int(put["SequenceNumber"]), max(int(n) for s, n in numbers.values() if s == put["ShardId"]))
            d.stop()
            d.start()
            self.assertIn(b"after", [r["Data"] for r in read_all(d.kinesis(), "kept", put["ShardId"])])

    def test_records_survive_kills_with_another_number_of_loops_each_time(self):
        with Daemon(config="streams: [{name: loops, shards: 5}]", args=["--loops", "3"]) as d:
            wanted = {}
            for loops in ("1", "4", "2"):
                records = [{"Data": f"{loops} {i}".encode(), "PartitionKey": str(i)} for i in range(200)]
                answer = d.kinesis().put_records(StreamName="loops", Records=records)
                wanted.update({r["Data"]: a["SequenceNumber"] for r, a in zip(records, answer["Records"])})
                d.args = ["--loops", loops]
                d.restart()
                k = d.kinesis()
                got = [r for s in shard_ids(k, "loops") for r in read_all(k, "loops", s)]
                self.assertEqual(len(wanted), len(got))
                self.assertEqual(wanted, {r["Data"]: r["SequenceNumber"] for r in got})

    def test_created_and_deleted_streams_are_so_after_a_kill(self):
        with Daemon() as d:
            k = d.kinesis()
            create(k, "stays", 2)
            create(k, "goes", 2)
            k.put_record(StreamName="goes", Data=b"x", PartitionKey="k")
            k.delete_stream(StreamName="goes")
            d.restart()
            k = d.kinesis()
            wait_until(lambda: k.list_streams()["StreamNames"] == ["stays"], 10, "only 'stays' is there")
            create(k, "goes", 1)
            self.assertEqual([], read_all(k, "goes", "shardId-000000000000"))


class Iterators(unittest.TestCase):
    def test_an_iterator_expires(self):
        with Daemon(config="iterator_life: 1s\nstreams: [{name: brief, shards: 1}]") as d:
            k = d.kinesis()
            at = iterator(k, "brief", "shardId-000000000000")
            k.get_records(ShardIterator=at)
            time.sleep(1.2)
            with self.assertRaises(ClientError) as caught:
                k.get_records(ShardIterator=at)
            error = caught.exception.response["Error"]
            self.assertEqual("ExpiredIteratorException", error["Code"])
            stamp = r"\w{3} \w{3} \d{2} \d{2}:\d{2}:\d{2} UTC \d{4}"
            self.assertRegex(error["Message"], rf"^Iterator expired\. The iterator was created at time {stamp} while right now it "
                             rf"is {stamp} which is further in the future than the tolerated delay of 1000 milliseconds\.$")


class Credentials(unittest.TestCase):
    CONFIG = "credentials: [{access_key_id: AKIDEXAMPLE, secret_access_key: secret}]\nstreams: [{name: events, shards: 1}]"

    def test_signatures_are_verified(self):
        with Daemon(config=self.CONFIG) as d:
            d.kinesis().put_record(StreamName="events", Data=b"signed", PartitionKey="k")
            for more, code in (({"secret_key": "wrong"}, "InvalidSignatureException"),
                               ({"access_key": "AKIDNOBODY"}, "UnrecognizedClientException")):
                with self.assertRaises(ClientError) as caught:
                    d.kinesis(**more).list_streams()
                self.assertEqual(code, caught.exception.response["Error"]["Code"])


class Limits(unittest.TestCase):
    def test_awss_limits_throttle_when_asked_for(self):
        with Daemon(config="limits: aws\nstreams: [{name: tight, shards: 1}]") as d:
            k = d.kinesis()
            records = [{"Data": b"x", "PartitionKey": "k"}] * 500
            answers = [k.put_records(StreamName="tight", Records=records) for _ in range(4)]
            failed = [r for a in answers for r in a["Records"] if "ErrorCode" in r]
            self.assertEqual(len(failed), sum(a["FailedRecordCount"] for a in answers))
            self.assertGreater(len(failed), 0)
            self.assertEqual({"ErrorCode": "ProvisionedThroughputExceededException",
                              "ErrorMessage": f"Rate exceeded for shard shardId-000000000000 in stream tight under account {ACCOUNT}."},
                             failed[0])


if __name__ == "__main__":
    unittest.main()
