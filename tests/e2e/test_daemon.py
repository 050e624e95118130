"""The daemon as its operator meets it: starting, stopping, refusing to start, who may talk to it, what it bears."""
import base64
import ctypes
import errno
import hashlib
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from daemon import BUILD, SLOW, Daemon, wait_until

SLUICED = os.path.join(BUILD, "sluiced")


def request(daemon, method="GET", path="/", body=None, headers=None, port=None):
    """(status, headers, body) of one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port or daemon.port, timeout=30 * SLOW)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def metrics(daemon):
    """{name with labels: value}"""
    status, _, text = request(daemon, path="/metrics")
    assert status == 200, text
    return {k: float(v) for k, v in (line.rsplit(" ", 1) for line in text.decode().splitlines() if line and line[0] != "#")}


def talk(daemon, data, wait=True):
    """Sends bytes as they are, returns all that comes until the daemon closes (or, without `wait`, the first piece)."""
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=30 * SLOW) as s:
        s.sendall(data)
        got = b""
        while True:
            try:
                piece = s.recv(65536)
            except ConnectionResetError:
                return got
            got += piece
            if not piece or not wait:
                return got


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="sluice-test-")

    def tearDown(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def daemon(self, config=None, **options):
        return Daemon(config=config, folder=self.folder, **options)

    def refused(self, daemon, *words, status=1):
        """It does not start, and says why in one line."""
        open(daemon.log_file, "w", encoding="utf-8").close()
        self.assertEqual(daemon.start(expect_failure=True), status)
        said = [x for x in daemon.log().splitlines() if x.startswith("sluiced: ")]
        self.assertEqual(len(said), 1, daemon.log())
        for w in words:
            self.assertIn(w, said[0])
        return said[0]


class Starting(Folder):
    def test_without_configuration_on_an_empty_folder_it_serves_and_says_so_in_one_line(self):
        d = self.daemon(data="new/and/deep")
        with d:
            self.assertRegex(d.first_line, r"^sluiced \d\S* listening on http://127\.0\.0\.1:\d+ \(data \S+/new/and/deep, sync batch, ")
            self.assertEqual(d.first_line.count("\n"), 1)
            d.kinesis().create_stream(StreamName="s", ShardCount=1)
            self.assertEqual(request(d, path="/healthz")[::2], (200, b"ok\n"))
        self.assertEqual(d.rest, b"", "nothing else on stdout")
        self.assertEqual(os.stat(os.path.join(self.folder, "new/and/deep")).st_mode & 0o077, 0, "nobody else reads the records")

    def test_the_default_folder_is_xdg_or_var_lib(self):
        shown = subprocess.run([SLUICED, "--print-config"], stdout=subprocess.PIPE, check=True,
                               env={"XDG_STATE_HOME": self.folder, "HOME": self.folder}).stdout.decode()
        self.assertIn("data: " + ("/var/lib/sluice" if os.geteuid() == 0 else self.folder + "/sluice"), shown)

    def test_streams_and_records_are_there_after_a_restart(self):
        with self.daemon(config="streams: [{name: by-file, shards: 2}]") as d:
            kinesis = d.kinesis()
            kinesis.create_stream(StreamName="by-api", ShardCount=3)
            kinesis.get_waiter("stream_exists").wait(StreamName="by-api", WaiterConfig={"Delay": 1})
            sent = {}
            for n in range(50):
                data = b"record %d" % n
                put = kinesis.put_record(StreamName="by-api" if n % 2 else "by-file", Data=data, PartitionKey=str(n))
                sent[data] = put["ShardId"], put["SequenceNumber"]
            it = kinesis.get_shard_iterator(StreamName="by-api", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON")
        for how in ("stop", "kill"):
            d.start()
            kinesis = d.kinesis()
            self.assertEqual(kinesis.list_streams()["StreamNames"], ["by-api", "by-file"])
            got = {}
            for stream, shards in (("by-api", 3), ("by-file", 2)):
                for s in range(shards):
                    shard = f"shardId-{s:012}"
                    i = kinesis.get_shard_iterator(StreamName=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
                    for r in kinesis.get_records(ShardIterator=i["ShardIterator"])["Records"]:
                        got[r["Data"]] = shard, r["SequenceNumber"]
            self.assertEqual(got, sent)
            kinesis.get_records(ShardIterator=it["ShardIterator"]) # outlives the restart
            put = kinesis.put_record(StreamName="by-file", Data=how.encode(), PartitionKey="0")
            sent[how.encode()] = put["ShardId"], put["SequenceNumber"]
            self.assertEqual(put["ShardId"], sent[b"record 0"][0])
            self.assertGreater(int(put["SequenceNumber"]), int(sent[b"record 0"][1]))
            getattr(d, how)()

    def test_a_second_one_on_the_same_folder_is_refused_with_the_holders_pid(self):
        with self.daemon() as d:
            said = self.refused(self.daemon(), d.data, str(d.process.pid))
            self.assertIn("in use", said)
            self.assertEqual(request(d, path="/healthz")[0], 200)
        with self.daemon():
            pass # free again

    def test_after_a_crash_the_folder_is_free(self):
        d = self.daemon().start()
        d.kill()
        with d:
            pass

    def test_a_port_in_use_is_refused(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            port = s.getsockname()[1]
            self.refused(self.daemon(listen=f"127.0.0.1:{port}"), f"127.0.0.1 port {port}", "Address already in use")

    def test_another_sluiced_on_the_port_is_refused_too(self):
        with self.daemon(data="one", args=["--loops", "2"]) as first:
            for loops in ("1", "2"):
                other = self.daemon(data="two", listen=f"127.0.0.1:{first.port}", args=["--loops", loops])
                self.refused(other, f"port {first.port}", "Address already in use")
            self.assertEqual(request(first, path="/healthz")[0], 200)
        with self.daemon(data="two", listen=f"127.0.0.1:{first.port}"):
            pass # a port just left is taken at once

    def test_a_data_folder_that_cannot_be_made_is_refused(self):
        with open(os.path.join(self.folder, "file"), "w", encoding="utf-8"):
            pass
        self.refused(self.daemon(data="file/data"), "file/data", "Not a directory")

    def test_ipv6(self):
        try:
            with socket.socket(socket.AF_INET6) as s:
                s.bind(("::1", 0))
        except OSError:
            self.skipTest("no IPv6 here")
        with self.daemon(listen="[::1]:0") as d:
            self.assertIn("http://[::1]:", d.first_line)
            connection = http.client.HTTPConnection("::1", d.port, timeout=30 * SLOW)
            connection.request("GET", "/healthz")
            self.assertEqual(connection.getresponse().read(), b"ok\n")
            connection.close()


class Settings(Folder):
    def test_each_mistake_is_told_with_file_line_and_key(self):
        file = os.path.join(self.folder, "sluice.yaml")
        for text, line, words in [
            ("lisen: 127.0.0.1:1\n", 1, ["'lisen'", "did you mean 'listen'"]),
            ("sync: batch\nsync: never\n", 2, ["'sync'"]),
            ("sync: sometimes\n", 1, ["'sync'", "'sometimes'", "batch, interval:<ms> or never"]),
            ("streams:\n  - {name: a}\n  - {name: b, shards: none}\n", 3, ["streams[1].shards", "'none'"]),
            ("streams: [{shards: 1}]\n", 1, ["streams[0].name"]),
            ("deliveries:\n  - name: a\n    source: nobody\n    sink: file:///tmp/x/\n", 3, ["deliveries[0].source", "'nobody'"]),
            ("streams: [{name: events}]\ndeliveries:\n  - name: a\n    source: events\n    buffer: {size: 12 parsecs}\n    sink: file:///tmp/x/\n",
             5, ["deliveries[0].buffer.size", "12 parsecs", "1MiB"]),
            ("streams: [{name: events}]\nroutes:\n  - {path: /x, stream: event}\n", 3, ["routes[0].stream", "'event'", "'events'"]),
            ("a: [1\n", None, []),
            ("loops: -1\n", 1, ["'loops'"]),
            ("credentials: [{access_key_id: A}]\n", 1, ["credentials[0]"]),
        ]:
            with self.subTest(text=text):
                said = self.refused(self.daemon(config=text), "sluice.yaml" + (f":{line}:" if line else ":"), *words)
                self.assertIn(file if line is None else f"{file}:{line}", said)

    def test_a_file_that_is_not_there_is_told(self):
        self.refused(self.daemon(args=["--config", "@FOLDER@/none.yaml"]), "none.yaml", "No such file")

    def test_the_wrong_command_line_ends_with_2(self):
        for args in (["--colour"], ["surplus"], ["--config"], ["--check=1"]):
            done = subprocess.run([SLUICED, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30 * SLOW)
            self.assertEqual((done.returncode, done.stdout), (2, b""), args)
            self.assertIn(b"command line", done.stderr)
            self.assertEqual(done.stderr.count(b"\n"), 1)

    def test_environment_variables_set_keys_and_the_command_line_wins(self):
        with self.daemon(config="sync: never\n", listen=None, data=None,
                         env={"SLUICE_LISTEN": "127.0.0.1:0", "SLUICE_SYNC": "interval:50", "SLUICE_LOG_LEVEL": "warn",
                              "SLUICE_DATA": os.path.join(self.folder, "by-env"), "SLUICE_CACHE_SIZE": "32MiB"}) as d:
            self.assertIn("/by-env, sync interval", d.first_line)
            self.assertEqual(metrics(d)['sluice_sync_mode{mode="interval"}'], 1)
            self.assertNotIn(" info ", d.log())
        with self.daemon(env={"SLUICE_DATA": os.path.join(self.folder, "by-env")}) as d:
            self.assertTrue(os.path.isdir(os.path.join(self.folder, "data")))
        self.refused(self.daemon(env={"SLUICE_SYNC": "foo"}), "environment", "SLUICE_SYNC", "'foo'")
        file = os.path.join(self.folder, "other.yaml")
        with open(file, "w", encoding="utf-8") as f:
            f.write("streams: [{name: by-variable}]\n")
        with self.daemon(env={"SLUICE_CONFIG": file}) as d:
            self.assertEqual(d.kinesis().list_streams()["StreamNames"], ["by-variable"])

    def test_check_print_version_help(self):
        def run(*args, status=0):
            done = subprocess.run([SLUICED, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.folder, timeout=30 * SLOW)
            self.assertEqual(done.returncode, status, done.stderr)
            return done.stdout.decode(), done.stderr.decode()
        good, bad = os.path.join(self.folder, "good.yaml"), os.path.join(self.folder, "bad.yaml")
        with open(good, "w", encoding="utf-8") as f:
            f.write("data: here\nsync: interval:100\ncredentials: [{access_key_id: A, secret_access_key: hidden}]\n")
        with open(bad, "w", encoding="utf-8") as f:
            f.write("sync: maybe\n")
        run("--check", "--config", good)
        self.assertIn("'maybe'", run("--check", "--config", bad, status=1)[1])
        self.assertEqual(sorted(os.listdir(self.folder)), ["bad.yaml", "good.yaml"], "nothing was started")
        shown = run("--print-config", "--config", good)[0]
        self.assertIn("interval:100", shown)
        self.assertNotIn("hidden", shown)
        again = os.path.join(self.folder, "again.yaml")
        with open(again, "w", encoding="utf-8") as f:
            f.write(run("--print-config")[0])
        run("--check", "--config", again)
        self.assertRegex(run("--version")[0], r"^sluiced \d+\.\d+\.\d+\n$")
        helped = run("--help")[0]
        for word in ("--config", "--data", "--listen", "--allow-unsigned", "--check", "--print-config"):
            self.assertIn(word, helped)

    def test_each_sync_mode_serves_and_shows(self):
        for mode, name in (("batch", "batch"), ("interval:20", "interval"), ("never", "never")):
            with self.daemon(config=f"sync: {mode}\nstreams: [{{name: s}}]\n", data=name) as d:
                d.kinesis().put_record(StreamName="s", Data=b"x", PartitionKey="k")
                now = metrics(d)
                self.assertEqual(now[f'sluice_sync_mode{{mode="{name}"}}'], 1)
                self.assertEqual(now["sluice_log_append_records_total"], 1)
                self.assertIn(f"sync {name}", d.first_line)
                if mode == "batch":
                    self.assertGreater(now["sluice_log_syncs_total"], 0)
                d.restart() # a kill of the process loses nothing in any mode: the kernel has it
                self.assertEqual(d.run("sluice", "tail", "s", "--from", "start", "--until-now"), "x\n")


class Stopping(Folder):
    def stops_within(self, daemon, seconds):
        begin = time.monotonic()
        self.assertEqual(daemon.stop(), 0, daemon.log())
        self.assertLess(time.monotonic() - begin, seconds * SLOW)

    def test_sigterm_ends_it_at_once_although_connections_are_open(self):
        d = self.daemon().start()
        idle = [socket.create_connection(("127.0.0.1", d.port)) for _ in range(20)]
        used = http.client.HTTPConnection("127.0.0.1", d.port)
        used.request("GET", "/healthz")
        used.getresponse().read()
        self.stops_within(d, 3)
        for s in idle:
            self.assertEqual(s.recv(10), b"")
            s.close()
        used.close()

    def test_a_request_that_never_ends_does_not_hold_it_up_for_long(self):
        d = self.daemon().start()
        with socket.create_connection(("127.0.0.1", d.port)) as s:
            s.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
            wait_until(lambda: metrics(d)["sluice_http_connections"] >= 2, 10, "it is connected")
            self.stops_within(d, 8)

    def test_sigint_is_the_same(self):
        d = self.daemon().start()
        d.process.send_signal(signal.SIGINT)
        self.assertEqual(d.process.wait(20 * SLOW), 0)
        d.process.stdout.close()

    def test_puts_under_way_are_answered_or_not_stored(self):
        d = self.daemon(config="streams: [{name: s}]\n").start()
        acknowledged, stopping = [], threading.Event()

        def put(n):
            kinesis, i = d.kinesis(), 0
            while not stopping.is_set():
                try:
                    data = f"{n}-{i}"
                    kinesis.put_record(StreamName="s", Data=data.encode(), PartitionKey=data)
                    acknowledged.append(data)
                    i += 1
                except Exception: # pylint: disable=broad-except
                    return
        threads = [threading.Thread(target=put, args=(n,)) for n in range(4)]
        for t in threads:
            t.start()
        wait_until(lambda: len(acknowledged) > 100, 30, "puts flow")
        self.assertEqual(d.stop(), 0)
        stopping.set()
        for t in threads:
            t.join()
        d.start()
        there = d.run("sluice", "tail", "s", "--from", "start", "--until-now").split()
        self.assertEqual(set(acknowledged) - set(there), set())
        self.assertEqual(len(there), len(set(there)))
        d.stop()


class WhoMayTalk(Folder):
    def test_without_credentials_only_loopback(self):
        self.refused(self.daemon(listen="0.0.0.0:0"), "0.0.0.0", "--allow-unsigned")
        self.refused(self.daemon(config="listen: 0.0.0.0:0\n", listen=None), "sluice.yaml:1", "0.0.0.0", "credentials")
        with self.daemon(listen="0.0.0.0:0", args=["--allow-unsigned"]) as d:
            self.assertEqual(request(d, path="/healthz", headers={"Host": "elsewhere.example"})[0], 200)
            self.assertEqual(request(d, path="/healthz", headers={"Origin": "https://evil.example"})[0], 403)
        with self.daemon(config="credentials: [{access_key_id: A, secret_access_key: B}]\n", listen="0.0.0.0:0") as d:
            self.assertEqual(request(d, path="/healthz", headers={"Host": "elsewhere.example"})[0], 200)

    def test_host_and_origin(self):
        with self.daemon(config="origins: [https://console.example.com]\nstreams: [{name: s}]\n") as d:
            path = "/streams/s/records"
            for host in ("localhost", f"127.0.0.1:{d.port}", "localhost:1", "[::1]:80", "127.9.9.9"):
                self.assertEqual(request(d, "POST", path, b"x", {"Host": host})[0], 200, host)
            for host in ("rebound.example", f"rebound.example:{d.port}", "127.0.0.1.example", "10.0.0.1", "[::2]", "user@localhost"):
                status, _, body = request(d, "POST", path, b"x", {"Host": host})
                self.assertIn(status, (400, 403), host)
                self.assertIn(b"message", body)
            for origin, status in (("https://evil.example", 403), ("null", 403), ("https://console.example.com", 200),
                                   (f"http://127.0.0.1:{d.port}", 200), ("http://127.0.0.1:1", 403), ("http://localhost", 403)):
                self.assertEqual(request(d, "POST", path, b"x", {"Origin": origin})[0], status, origin)
            self.assertEqual(metrics(d)["sluice_log_append_records_total"], 7)

    CONFIG = "credentials: [{access_key_id: AKIDEXAMPLE, secret_access_key: secret}]\nstreams: [{name: s}]\n"

    def signed(self, daemon, body=b"{}", key="AKIDEXAMPLE", secret="secret", region="us-east-1", alter=None, service="kinesis", date=None):
        rq = AWSRequest("POST", daemon.url + "/", data=body, headers={
            "Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Kinesis_20131202.ListStreams", "Host": f"127.0.0.1:{daemon.port}"})
        auth = SigV4Auth(Credentials(key, secret), service, region)
        auth.add_auth(rq)
        headers = dict(rq.headers)
        if date:
            # Signed correctly, for another time.
            rq.context["timestamp"] = date
            del rq.headers["Authorization"]
            rq.headers.replace_header("X-Amz-Date", date)
            canonical = auth.canonical_request(rq)
            rq.headers["Authorization"] = ""
            scope = f"{date[:8]}/{region}/{service}/aws4_request"
            to_sign = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
            signature = auth.signature(to_sign, rq)
            headers = dict(rq.headers)
            headers["X-Amz-Date"] = date
            headers["Authorization"] = (f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders=content-type;host;x-amz-date;x-amz-target, "
                                        f"Signature={signature}")
        if alter:
            body = alter(headers, body) or body
        status, _, answer = request(daemon, "POST", "/", body, headers)
        return status, json.loads(answer).get("__type"), answer

    def test_signatures_are_verified_and_aws_names_what_is_wrong(self):
        with self.daemon(config=self.CONFIG) as d:
            self.assertEqual(self.signed(d)[0], 200)
            stale = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - 3600))
            fresh = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - 120))

            def drop(header):
                return lambda headers, body: headers.pop(header) and None
            for name, want, answer in [
                ("two minutes old", None, self.signed(d, date=fresh)),
                ("wrong secret", "InvalidSignatureException", self.signed(d, secret="other")),
                ("unknown key", "UnrecognizedClientException", self.signed(d, key="NOBODY")),
                ("altered body", "InvalidSignatureException", self.signed(d, alter=lambda h, b: b'{"Limit":1}')),
                ("stale date", "InvalidSignatureException", self.signed(d, date=stale)),
                ("other region", "InvalidSignatureException", self.signed(d, region="eu-west-1")),
                ("no signature", "MissingAuthenticationTokenException", self.signed(d, alter=drop("Authorization"))),
                ("no date", "IncompleteSignatureException", self.signed(d, alter=drop("X-Amz-Date"))),
            ]:
                with self.subTest(name):
                    self.assertEqual(answer[0], 400 if want else 200, answer)
                    self.assertEqual(answer[1], want, answer)
            self.assertIn(b"xpired", self.signed(d, date=stale)[2])
            # and by the SDK
            self.assertEqual(d.kinesis().list_streams()["StreamNames"], ["s"])
            with self.assertRaises(ClientError) as caught:
                d.kinesis(secret_key="wrong").list_streams()
            self.assertEqual(caught.exception.response["Error"]["Code"], "InvalidSignatureException")

    def test_a_secret_can_come_from_a_file(self):
        with open(os.path.join(self.folder, "secret"), "w", encoding="utf-8") as f:
            f.write("from-a-file\n")
        with self.daemon(config="credentials: [{access_key_id: K, secret_access_key_file: secret}]\n") as d:
            d.kinesis(access_key="K", secret_key="from-a-file").list_streams()
            with self.assertRaises(ClientError):
                d.kinesis(access_key="K", secret_key="from-a-file\n").list_streams()


# -- blocking io_uring for a child, as Docker's default profile does --
class SockFilter(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint)]


class SockFprog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.POINTER(SockFilter))]


def block_io_uring():
    """seccomp: io_uring_setup (425 on every architecture) gives EPERM."""
    code = (SockFilter * 4)(SockFilter(0x20, 0, 0, 0), SockFilter(0x15, 0, 1, 425), SockFilter(0x06, 0, 0, 0x00050000 | errno.EPERM),
                            SockFilter(0x06, 0, 0, 0x7FFF0000))
    program = SockFprog(4, code)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, ctypes.byref(program), 0, 0) != 0:
        os._exit(99)


class Backends(Folder):
    CONFIG = """
streams: [{name: events, shards: 5}]
deliveries:
  - {name: archive, source: events, buffer: {size: 64KiB, interval: 1s}, compression: none, sink: "file://@FOLDER@/out-@NAME@/"}
"""

    def serves(self, name, backend, config="", args=(), **options):
        with self.daemon(config=self.CONFIG.replace("@NAME@", name) + config, data=name, args=args, **options) as d:
            self.assertIn(backend, d.first_line)
            lines = [f"{name} {i}" for i in range(20000)]
            d.run("sluice", "put", "events", stdin="\n".join(lines).encode() + b"\n")
            self.assertEqual(sorted(d.run("sluice", "tail", "events", "--from", "start", "--until-now").splitlines()), sorted(lines))
            kinesis = d.kinesis()
            for n in range(20): # on connections of their own: any loop may get one
                other = d.kinesis()
                put = other.put_record(StreamName="events", Data=b"single %d" % n, PartitionKey=str(n))
                it = kinesis.get_shard_iterator(StreamName="events", ShardId=put["ShardId"], ShardIteratorType="AT_SEQUENCE_NUMBER",
                                                StartingSequenceNumber=put["SequenceNumber"])
                self.assertEqual(other.get_records(ShardIterator=it["ShardIterator"])["Records"][0]["Data"], b"single %d" % n)
                lines.append(f"single {n}")

            def delivered():
                got = []
                for folder, _, files in os.walk(os.path.join(self.folder, "out-" + name)):
                    for file in files:
                        if not file.startswith("."):
                            with open(os.path.join(folder, file), encoding="utf-8") as f:
                                got += f.read().splitlines()
                return got
            wait_until(lambda: len(delivered()) >= len(lines), 30, "everything is delivered")
            self.assertEqual(sorted(delivered()), sorted(lines))
            now = metrics(d)
            self.assertEqual(now["sluice_log_append_records_total"], len(lines))
            return now

    def test_io_uring(self):
        now = self.serves("uring", "io_uring", config="io: io_uring\n")
        self.assertEqual(now["sluice_io_fallback"], 0)

    def test_libuv_by_configuration(self):
        now = self.serves("libuv", "libuv", config="io: libuv\n")
        self.assertEqual(now["sluice_io_fallback"], 0)
        self.assertNotIn("io_uring_unavailable", self.daemon().log())

    def test_libuv_where_io_uring_is_blocked(self):
        now = self.serves("blocked", "libuv", preexec=block_io_uring)
        self.assertEqual(now["sluice_io_fallback"], 1)
        self.assertEqual(self.daemon().log().count("io_uring_unavailable"), 1, "one warning")
        self.refused(self.daemon(config="io: io_uring\n", preexec=block_io_uring), "Operation not permitted")

    def test_two_and_three_loops(self):
        for loops in ("2", "3"):
            now = self.serves("loops" + loops, loops + " loops", args=["--loops", loops])
            self.assertTrue([k for k in now if f'loops="{loops}"' in k])


class Bears(Folder):
    """What clients that are slow, many or malicious can do."""

    def test_two_thousand_idle_connections_hurt_nobody(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < 6000:
            self.skipTest("ulimit -n is below 6000")
        resource.setrlimit(resource.RLIMIT_NOFILE, (6000, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        idle = []
        with self.daemon(config="streams: [{name: s}]\n") as d:
            try:
                for _ in range(2000):
                    idle.append(socket.create_connection(("127.0.0.1", d.port), timeout=30 * SLOW))
                idle[0].sendall(b"GET /heal") # and some half-open ones
                idle[1].sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx")
                wait_until(lambda: metrics(d)["sluice_http_connections"] >= 2000, 30, "all are accepted")
                kinesis = d.kinesis()
                begin = time.monotonic()
                for n in range(100):
                    kinesis.put_record(StreamName="s", Data=b"%d" % n, PartitionKey="k")
                self.assertLess(time.monotonic() - begin, 10 * SLOW)
                idle[0].sendall(b"thz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                self.assertTrue(idle[0].recv(1000).startswith(b"HTTP/1.1 200"))
            finally:
                for s in idle:
                    s.close()
            wait_until(lambda: metrics(d)["sluice_http_connections"] < 10, 30, "they are gone")

    def test_over_the_limit_of_connections_new_ones_are_closed(self):
        with self.daemon(config="http: {connections: 5}\n") as d:
            held = [http.client.HTTPConnection("127.0.0.1", d.port, timeout=30 * SLOW) for _ in range(5)]
            for c in held:
                c.request("GET", "/healthz")
                c.getresponse().read()
            with self.assertRaises((ConnectionError, http.client.BadStatusLine)):
                request(d, path="/healthz")
            for c in held:
                c.request("GET", "/healthz")
                self.assertEqual(c.getresponse().read(), b"ok\n")
                c.close()
            wait_until(lambda: self.serves(d), 20, "there is room again")

    @staticmethod
    def serves(d):
        try:
            return request(d, path="/healthz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def test_malformed_oversized_and_smuggled_requests_get_4xx_and_the_daemon_serves_on(self):
        head = b"POST /streams/s/records HTTP/1.1\r\nHost: localhost\r\n"
        cases = [
            ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200, {400}),
            ("garbage", b"hello there\r\n\r\n", {400}),
            ("no version", b"GET /healthz\r\n\r\n", {400, 505}),
            ("HTTP/3", b"GET /healthz HTTP/3.0\r\nHost: localhost\r\n\r\n", {400, 505}),
            ("no host", b"GET /healthz HTTP/1.1\r\n\r\n", {400}),
            ("two hosts", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", {400}),
            ("space before colon", head + b"Content-Length : 3\r\n\r\nabc", {400}),
            ("folded header", head + b"A: b\r\n c\r\nContent-Length: 3\r\n\r\nabc", {400}),
            ("bare CR", head + b"A: b\rc\r\nContent-Length: 3\r\n\r\nabc", {400}),
            ("NUL in a header", head + b"A: b\0c\r\nContent-Length: 3\r\n\r\nabc", {400}),
            ("two lengths", head + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", {400}),
            ("a list of lengths", head + b"Content-Length: 3, 4\r\n\r\nabcd", {400}),
            ("a negative length", head + b"Content-Length: -3\r\n\r\nabc", {400}),
            ("a length with a sign", head + b"Content-Length: +3\r\n\r\nabc", {400}),
            ("a huge length", head + b"Content-Length: 99999999999999999999999\r\n\r\n", {400, 413}),
            ("length and chunked", head + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
            ("chunked twice", head + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", {400, 501}),
            ("chunked in disguise", head + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", {400, 501}),
            ("gzip", head + b"Transfer-Encoding: gzip\r\n\r\nabc", {400, 501}),
            ("a bad chunk size", head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", {400}),
            ("a chunk without end", head + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", {400}),
            ("a huge chunk", head + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", {400, 413}),
            ("too large a body", head + b"Content-Length: 200000\r\n\r\n" + b"x" * 1000, {413}),
            ("too large a chunked body", head + b"Transfer-Encoding: chunked\r\n\r\n30000\r\n" + b"x" * 0x20000, {413}),
            ("too long a target", b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", {414, 431}),
            ("too large a head", b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: " + b"b" * 100000 + b"\r\n\r\n", {431}),
            ("too many headers", b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 1000 + b"\r\n", {431}),
            ("an unknown expectation", head + b"Expect: wonders\r\nContent-Length: 3\r\n\r\nabc", {417}),
            ("a method of symbols", b"G@T / HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
            ("a space in the target", b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
        ]
        smuggled = b"POST /streams/smuggled/records HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx"
        with self.daemon(config="http: {body: 64KiB}\nstreams: [{name: s}, {name: smuggled}]\n") as d:
            for name, data, statuses in cases:
                with self.subTest(name):
                    got = talk(d, data + smuggled)
                    found = re.match(rb"HTTP/1\.[01] (\d+) ", got)
                    self.assertTrue(found, got[:200])
                    self.assertIn(int(found.group(1)), statuses, got[:300])
                    self.assertEqual(len(re.findall(rb"HTTP/1\.1 \d", got)), 1, "one answer, then the connection ends")
                    self.assertTrue(self.serves(d))
            now = metrics(d)
            self.assertGreaterEqual(now["sluice_http_bad_requests_total"], len(cases) - 1)
            self.assertEqual(now["sluice_log_append_records_total"], 0, "nothing was smuggled in")
            # what is unusual and right is served
            for name, data in [("chunked", head + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n"),
                               ("100-continue", head + b"Expect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"),
                               ("HTTP/1.0", b"POST /streams/s/records HTTP/1.0\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"),
                               ("absolute", b"POST http://localhost/streams/s/records HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc")]:
                with self.subTest(name):
                    self.assertIn(b" 200 OK\r\n", talk(d, data))

    def test_pipelined_requests_are_answered_in_order(self):
        with self.daemon(config="streams: [{name: s}]\n") as d:
            one = b"POST /streams/s/records?partition-key=k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
            got = talk(d, b"".join(one + b"\r\n%04d" % i for i in range(200)) + one + b"Connection: close\r\n\r\nlast")
            numbers = [int(n) for n in re.findall(rb'"sequenceNumber":"(\d+)"', got)]
            self.assertEqual(len(numbers), 201)
            self.assertEqual(numbers, sorted(set(numbers)))
            lines = d.run("sluice", "tail", "s", "--from", "start", "--until-now").split()
            self.assertEqual(lines, ["%04d" % i for i in range(200)] + ["last"])

    def test_a_request_that_comes_too_slowly_gets_408(self):
        with self.daemon(config="http: {request: 1s, idle: 1s}\n") as d:
            self.assertTrue(talk(d, b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf").startswith(b"HTTP/1.1 408 "))
            self.assertTrue(talk(d, b"GET /hea").startswith(b"HTTP/1.1 408 "))
            self.assertEqual(talk(d, b""), b"", "an idle connection is closed without a word")

    def test_clients_that_vanish_leave_nothing_behind(self):
        with self.daemon(config="streams: [{name: s}]\n") as d:
            body = json.dumps({"StreamName": "s", "Records": [{"Data": base64.b64encode(b"x" * 1000).decode(), "PartitionKey": "k"}] * 100}).encode()
            head = (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Target: Kinesis_20131202.PutRecords\r\n"
                    b"Content-Length: %d\r\n\r\n" % len(body))
            for n in range(50):
                with socket.create_connection(("127.0.0.1", d.port)) as s:
                    s.sendall((head + body)[:len(head) + len(body) * (n % 5) // 4])
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0") # a reset
            wait_until(lambda: metrics(d)["sluice_http_connections"] <= 1, 20, "their connections are gone")
            self.assertLess(metrics(d)["sluice_http_memory_bytes"], 1 << 20)
            self.assertTrue(self.serves(d))


if __name__ == "__main__":
    unittest.main()
