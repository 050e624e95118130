"""A small client of the API's JSON, and what was stored and delivered as maps, for tests that count records.

Records are JSON objects with a unique member "id".
"""
import base64
import glob
import http.client
import json
import subprocess

from daemon import SLOW


class Refused(RuntimeError):
    """An answer other than 200."""

    def __init__(self, operation, status, body):
        super().__init__(f"{operation}: {status} {body[:300]!r}")
        self.status = status
        try:
            self.kind = json.loads(body).get("__type")
        except ValueError:
            self.kind = None


class Client:
    """One connection."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30 * SLOW)

    def post(self, path, body, headers=None):
        self.connection.request("POST", path, body, headers or {})
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def call(self, operation, **members):
        status, body = self.post("/", json.dumps(members), {"Content-Type": "application/x-amz-json-1.1",
                                                            "X-Amz-Target": "Kinesis_20131202." + operation})
        if status != 200:
            raise Refused(operation, status, body)
        return json.loads(body) if body else {}

    def put_records(self, stream, records):
        """`records`: (partition key, text). The answer's list."""
        return self.call("PutRecords", StreamName=stream, Records=[
            {"Data": base64.b64encode(text.encode()).decode(), "PartitionKey": key} for key, text in records])["Records"]

    def metric(self, name):
        """The sum over all labels."""
        self.connection.request("GET", "/metrics")
        text = self.connection.getresponse().read().decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name)

    def close(self):
        self.connection.close()


def read_stream(client, stream):
    """({id: (shard, sequence number)}, complaints) of all that the stream holds."""
    got, complaints = {}, []
    for shard in client.call("ListShards", StreamName=stream)["Shards"]:
        it = client.call("GetShardIterator", StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
        last = -1
        while True:
            answer = client.call("GetRecords", ShardIterator=it)
            for r in answer["Records"]:
                number, key = int(r["SequenceNumber"]), json.loads(base64.b64decode(r["Data"]))["id"]
                if number <= last:
                    complaints.append(f"{shard['ShardId']}: {number} after {last}")
                if key in got:
                    complaints.append(f"record {key} is stored twice")
                last = number
                got[key] = (shard["ShardId"], number)
            it = answer["NextShardIterator"]
            if not answer["Records"] and answer["MillisBehindLatest"] == 0:
                break
    return got, complaints


def delivered_files(folder):
    return glob.glob(folder + "/**/*.zst", recursive=True)


def delivered(folder):
    """{id: how often} over the delivered files, opened by the real zstd."""
    counts, files = {}, delivered_files(folder)
    if files:
        text = subprocess.run(["zstd", "-dcq", *files], stdout=subprocess.PIPE, check=True).stdout
        for line in text.splitlines():
            key = json.loads(line)["id"]
            counts[key] = counts.get(key, 0) + 1
    return counts
