"""The `sluice` command and the examples of libsluice against the real daemon, and against a server that misbehaves."""
import glob
import http.server
import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from daemon import BUILD, SLOW, TOP, Daemon, wait_until

SLUICE = os.path.join(BUILD, "sluice")


class OneDaemon(unittest.TestCase):
    """One daemon for all tests of a class; each test takes streams of its own."""
    config = ""

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(config=cls.config).start()

    @classmethod
    def tearDownClass(cls):
        cls.daemon.__exit__(None, None, None)

    def sluice(self, *command, stdin=b"", status=0, env=None):
        """Runs the command; returns (stdout, stderr) as bytes."""
        done = self.daemon.run("sluice", *command, stdin=stdin, check=False, env=env)
        self.assertEqual(done.returncode, status, f"{command}: {done.stdout!r} {done.stderr.decode()}")
        return done.stdout, done.stderr

    def stream(self, shards=1):
        name = self.id().rsplit(".", 1)[1][:100]
        self.sluice("stream", "create", name, "--shards", str(shards))
        return name

    def tail(self, stream, *options):
        return self.sluice("tail", stream, "--from", "start", "--until-now", *options)[0]

    def tail_json(self, stream, *options):
        return [json.loads(line) for line in self.tail(stream, "--json", *options).splitlines()]


class Streams(OneDaemon):
    def test_a_stream_is_created_listed_described_and_deleted(self):
        out, _ = self.sluice("stream", "create", "orders", "--shards", "3")
        self.assertEqual(out, b"stream orders is active, 3 shards\n")
        self.assertIn(b"orders\n", self.sluice("stream", "list")[0])
        out, _ = self.sluice("stream", "describe", "orders")
        self.assertIn(b"arn:aws:kinesis:us-east-1:000000000000:stream/orders", out)
        self.assertEqual(out.count(b"open\n"), 4, "a line for the count and one for each shard")
        described = json.loads(self.sluice("stream", "describe", "--json", "orders")[0])
        self.assertEqual(described["status"], "ACTIVE")
        self.assertEqual(described["open_shards"], 3)
        self.assertEqual([s["id"] for s in described["shards"]], [f"shardId-{i:012}" for i in range(3)])
        self.assertEqual(described["shards"][2]["last_hash"], str(2**128 - 1))
        self.assertEqual(self.sluice("stream", "delete", "orders")[0], b"stream orders is gone\n")
        self.assertNotIn(b"orders", self.sluice("stream", "list")[0])

    def test_json_of_each_verb_parses(self):
        made = json.loads(self.sluice("--json", "stream", "create", "as-json")[0])
        self.assertEqual(made, {"stream": "as-json", "shards": 1})
        listed = [json.loads(x) for x in self.sluice("stream", "list", "--json")[0].splitlines()]
        self.assertIn({"stream": "as-json"}, listed)
        self.assertEqual(json.loads(self.sluice("stream", "delete", "as-json", "--json")[0]),
                         {"stream": "as-json", "deleted": True})

    def test_all_pages_of_streams_are_listed(self):
        names = [f"page-{n:03}" for n in range(130)]
        kinesis = self.daemon.kinesis()
        for n in names:
            kinesis.create_stream(StreamName=n, ShardCount=1)
        listed = self.sluice("stream", "list")[0].decode().split()
        self.assertEqual([n for n in listed if n.startswith("page-")], names)

    def test_what_the_server_refuses_ends_with_1_and_its_words(self):
        name = self.stream()
        _, err = self.sluice("stream", "create", name, status=1)
        self.assertIn(b"already exists", err)
        _, err = self.sluice("stream", "describe", "nobody", status=1)
        self.assertIn(b"nobody", err)
        self.assertIn(b"not found", err)
        self.sluice("stream", "delete", "nobody", status=1)
        _, err = self.sluice("stream", "create", "bad name!", status=1)
        self.assertIn(b"[a-zA-Z0-9_.-]+", err)

    def test_a_wrong_command_line_ends_with_2_and_says_why(self):
        for command, words in [
            ((), b"sluice stream create"),
            (("paint",), b"no command 'paint'"),
            (("stream",), b"create, list, describe or delete?"),
            (("stream", "paint"), b"no 'stream paint'"),
            (("stream", "create"), b"takes one name"),
            (("stream", "create", "a", "b"), b"takes one name"),
            (("stream", "create", "a", "--shards", "many"), b"'many' is not a number"),
            (("stream", "create", "a", "--shards", "-1"), b"'-1' is not a number"),
            (("stream", "create", "a", "--shards"), b"--shards needs a value"),
            (("stream", "list", "x"), b"not 'x'"),
            (("stream", "delete"), b"takes one name"),
            (("put",), b"which stream?"),
            (("put", "events", "--loud"), b"no option '--loud'"),
            (("tail",), b"takes one stream"),
            (("tail", "events", "--from", "yesterday"), b"'yesterday'"),
            (("tail", "events", "--from", "2026-13-01T00:00:00Z"), b"2026-13-01"),
            (("delivery",), b"list or describe?"),
            (("--loud",), b"no option '--loud'"),
        ]:
            with self.subTest(command=command):
                out, err = self.sluice(*command, status=2)
                self.assertEqual(out, b"")
                self.assertIn(words, err)

    def test_help_and_version_go_to_stdout(self):
        for command in [("--help",), ("-h",), ("help",), ("put", "--help"), ("tail", "--help"), ("stream", "--help"),
                        ("stream", "create", "-h"), ("delivery", "--help"), ("delivery", "list", "--help")]:
            out, err = self.sluice(*command)
            self.assertIn(b"sluice ", out)
            self.assertEqual(err, b"")
        self.assertRegex(self.sluice("--version")[0], rb"^sluice \d+\.\d+\.\d+\n$")

    def test_an_endpoint_that_is_none_is_refused_at_once(self):
        for endpoint, words in [("ftp://x", b"http://"), ("https://127.0.0.1:1", b"http:// only"),
                                ("http://127.0.0.1:99999", b"HOST:PORT"), ("http://a b", b"HOST:PORT")]:
            _, err = self.sluice("stream", "list", "--endpoint", endpoint, status=1)
            self.assertIn(words, err)

    def test_without_a_daemon_it_says_what_to_do(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0)) # bound, not listening: refused
            nowhere = f"http://127.0.0.1:{s.getsockname()[1]}"
            for command in [("stream", "list"), ("put", "events"), ("tail", "events"), ("delivery", "list")]:
                begin = time.monotonic()
                _, err = self.sluice(*command, "--endpoint", nowhere, status=1)
                self.assertIn(b"refused", err)
                self.assertIn(b"is sluiced running?", err)
                self.assertLess(time.monotonic() - begin, 3 * SLOW)

    def test_a_full_disk_on_stdout_is_a_failure(self):
        name = self.stream()
        self.sluice("put", name, stdin=b"x\n" * 1000)
        with open("/dev/full", "wb") as full:
            for command in [("stream", "list"), ("tail", name, "--from", "start", "--until-now")]:
                done = subprocess.run([SLUICE, "--endpoint", self.daemon.url, *command], stdout=full, stderr=subprocess.PIPE,
                                      timeout=60 * SLOW)
                self.assertEqual(done.returncode, 1)
                self.assertIn(b"standard output", done.stderr)


class PutAndTail(OneDaemon):
    def test_lines_of_stdin_come_back(self):
        name = self.stream(shards=4)
        lines = [f"line {i} äöü €" for i in range(1234)]
        _, err = self.sluice("put", name, stdin="\n".join(lines).encode() + b"\n")
        self.assertIn(b"1234 records stored", err)
        self.assertEqual(sorted(self.tail(name).decode().splitlines()), sorted(lines))
        used = {r["shard"] for r in self.tail_json(name)}
        self.assertEqual(len(used), 4, "random keys spread over the shards")

    def test_one_key_keeps_order_in_one_shard(self):
        name = self.stream(shards=4)
        lines = b"".join(b"%d\n" % i for i in range(20000))
        self.sluice("put", name, "--key", "älter", stdin=lines)
        self.assertEqual(self.tail(name), lines)
        records = self.tail_json(name)
        self.assertEqual({r["partition_key"] for r in records}, {"älter"})
        self.assertEqual(len({r["shard"] for r in records}), 1)
        numbers = [int(r["sequence_number"]) for r in records]
        self.assertEqual(numbers, sorted(set(numbers)))

    def test_empty_lines_and_a_last_line_without_newline_are_records(self):
        name = self.stream()
        self.sluice("put", name, "--key", "k", stdin=b"\n\na\n\nb")
        self.assertEqual(self.tail(name), b"\n\na\n\nb\n")

    def test_empty_input_stores_nothing(self):
        name = self.stream()
        out, _ = self.sluice("put", name, "--json", stdin=b"")
        self.assertEqual(json.loads(out)["stored"], 0)
        self.assertEqual(self.tail(name), b"")

    def test_binary_bytes_come_back_and_json_stays_json(self):
        name = self.stream()
        rng = random.Random(7)
        lines = [bytes(rng.choice([b for b in range(256) if b != 10]) for _ in range(n)) for n in (1, 2, 3, 100, 5000)]
        lines += [b"\x00\x01\x02", "\u2028 \"quoted\" \\ \t".encode(), b"\xff\xfe", b"\xed\xa0\x80"]
        self.sluice("put", name, "--key", "k", stdin=b"\n".join(lines) + b"\n")
        self.assertEqual(self.tail(name), b"\n".join(lines) + b"\n")
        import base64
        got = [r["data"].encode() if "data" in r else base64.b64decode(r["data_base64"]) for r in self.tail_json(name)]
        self.assertEqual(got, lines)

    def test_files_are_read_line_by_line_or_whole(self):
        name, folder = self.stream(), self.daemon.folder
        paths = []
        for n, data in enumerate([b"a\nb\n", b"c\nd", b"", b"e\n"]):
            paths.append(os.path.join(folder, f"file-{n}"))
            with open(paths[-1], "wb") as f:
                f.write(data)
        self.sluice("put", name, "--key", "k", *paths)
        self.assertEqual(self.tail(name), b"a\nb\nc\nd\ne\n")
        out, _ = self.sluice("put", name, "--whole", "--key", "k", "--json", *paths)
        self.assertEqual(json.loads(out)["stored"], 4)
        self.assertEqual([r["data"] for r in self.tail_json(name)][5:], ["a\nb\n", "c\nd", "", "e\n"])
        self.sluice("put", name, "--key", "k", "-", stdin=b"by dash\n")
        self.assertTrue(self.tail(name).endswith(b"by dash\n"))

    def test_a_file_that_cannot_be_read_ends_with_1(self):
        name = self.stream()
        _, err = self.sluice("put", name, "/does/not/exist", status=1)
        self.assertIn(b"/does/not/exist", err)
        _, err = self.sluice("put", name, self.daemon.folder, status=1)
        self.assertIn(b"directory", err)

    def test_a_long_line_is_one_record(self):
        name = self.stream()
        lines = [b"x" * (1 << 20 >> 1), b"short", b"y" * ((1 << 20) - 1), b"z" * 70000]
        self.sluice("put", name, "--key", "k", stdin=b"\n".join(lines) + b"\n")
        self.assertEqual(self.tail(name).split(b"\n")[:-1], lines)

    def test_a_line_over_the_limit_is_refused_not_cut(self):
        name = self.stream()
        _, err = self.sluice("put", name, "--key", "k", stdin=b"before\n" + b"x" * (11 << 20) + b"\nafter\n", status=1)
        self.assertIn(b"limit", err)
        self.assertEqual(self.tail(name), b"before\n")
        _, err = self.sluice("put", name, stdin=b"x" * (20 << 20), status=1)
        self.assertIn(b"longer than", err)
        _, err = self.sluice("put", name, "--key", "k" * 257, stdin=b"x\n", status=1)
        self.assertIn(b"1 to 256", err)
        _, err = self.sluice("put", name, "--key", b"\xff".decode("latin1").encode("latin1"), stdin=b"x\n", status=1)
        self.assertIn(b"UTF-8", err)

    def test_a_line_over_the_streams_own_limit_tells_the_servers_words(self):
        name = self.stream()
        out, err = self.sluice("put", name, "--json", stdin=b"x" * (2 << 20) + b"\n", status=1)
        self.assertEqual(json.loads(out)["failed"], 1)
        self.assertIn(b"1048576", err)

    def test_200_000_lines(self):
        name = self.stream(shards=2)
        lines = b"".join(b'{"n":%d,"text":"some words to make it a bit longer"}\n' % i for i in range(200000))
        out, _ = self.sluice("put", name, "--json", stdin=lines)
        result = json.loads(out)
        self.assertEqual((result["stored"], result["failed"]), (200000, 0))
        got = self.tail(name)
        self.assertEqual(sorted(got.splitlines()), sorted(lines.splitlines()))

    def test_put_into_a_stream_that_is_not_there_does_not_read_its_input(self):
        done = subprocess.Popen([SLUICE, "--endpoint", self.daemon.url, "put", "nobody"], stdin=subprocess.PIPE,
                                stderr=subprocess.PIPE)
        # The input stays open: only the server's word can end it.
        self.assertEqual(done.wait(30 * SLOW), 1)
        err = done.stderr.read()
        self.assertIn(b"sluice stream create nobody", err)
        done.stdin.close()
        done.stderr.close()

    def test_records_of_a_slow_input_are_sent_without_its_end(self):
        name = self.stream()
        put = subprocess.Popen([SLUICE, "--endpoint", self.daemon.url, "put", name], stdin=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
        put.stdin.write(b"one\n")
        put.stdin.flush()
        wait_until(lambda: self.tail(name) == b"one\n", 20, "a line is sent while the input is open")
        put.stdin.close()
        self.assertEqual(put.wait(30 * SLOW), 0)

    def test_tail_from_times_and_durations(self):
        name = self.stream()
        self.sluice("put", name, "--key", "k", stdin=b"old\n")
        arrival = self.tail_json(name)[0]["arrival"]
        wait_until(lambda: time.time() > arrival + 1.1, 10, "a second has passed")
        self.sluice("put", name, "--key", "k", stdin=b"new\n")
        self.assertEqual(self.sluice("tail", name, "--from", "10m", "--until-now")[0], b"old\nnew\n")
        self.assertEqual(self.sluice("tail", name, "--from=2d", "--until-now")[0], b"old\nnew\n")
        second = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(arrival) + 1))
        self.assertEqual(self.sluice("tail", name, "--from", second, "--until-now")[0], b"new\n")
        self.assertEqual(self.sluice("tail", name, "--until-now")[0], b"")
        self.assertEqual(self.sluice("tail", name, "--from", "0s", "--until-now")[0], b"")

    def test_tail_follows_and_ends_with_its_reader(self):
        name = self.stream(shards=2)
        self.sluice("put", name, stdin=b"before\n")
        tail = subprocess.Popen([SLUICE, "--endpoint", self.daemon.url, "tail", name, "--from", "latest"],
                                stdout=subprocess.PIPE)
        os.set_blocking(tail.stdout.fileno(), False)
        got, sent = b"", 0

        def followed():
            nonlocal got, sent
            # It may not have begun yet: put until something comes.
            self.sluice("put", name, stdin=b"after %d\n" % sent)
            sent += 1
            got += tail.stdout.read() or b""
            return b"after" in got
        wait_until(followed, 30, "tail prints what comes")
        self.assertNotIn(b"before", got)
        tail.stdout.close()

        def ended():
            self.sluice("put", name, stdin=b"more\n")
            return tail.poll() is not None
        wait_until(ended, 30, "tail ends once nobody reads it")


class Deliveries(OneDaemon):
    config = """
streams: [{name: events, shards: 1}]
deliveries:
  - {name: archive, source: events, buffer: {size: 1MiB, interval: 1s}, compression: zstd, sink: "file://@FOLDER@/out/"}
  - {name: inbox, source: direct, compression: none, sink: "file://@FOLDER@/inbox/"}
"""

    def test_deliveries_are_listed(self):
        self.assertEqual(self.sluice("delivery", "list")[0], b"archive\ninbox\n")
        listed = [json.loads(x) for x in self.sluice("delivery", "list", "--json")[0].splitlines()]
        self.assertEqual(listed, [{"delivery": "archive"}, {"delivery": "inbox"}])

    def test_a_description_has_settings_and_status(self):
        for name in ("archive", "inbox"):
            both = json.loads(self.sluice("delivery", "describe", name, "--json")[0])
            self.assertEqual(set(both), {"description", "status"})
            self.assertEqual(both["description"]["DeliveryStreamName"], name)
            self.assertIsInstance(both["status"], dict)
            pretty = self.sluice("delivery", "describe", name)[0]
            self.assertGreater(pretty.count(b"\n"), 10)
            self.assertEqual(json.loads(pretty)["description"], both["description"])

    def test_an_unknown_delivery_ends_with_1(self):
        _, err = self.sluice("delivery", "describe", "nobody", status=1)
        self.assertIn(b"nobody", err)
        self.sluice("delivery", "describe", "no such/name?", status=1)


class Signed(OneDaemon):
    config = """
credentials:
  - {access_key_id: AKIDEXAMPLE, secret_access_key: secret}
  - {access_key_id: OTHER, secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
deliveries: [{name: inbox, source: direct, compression: none, sink: "file://@FOLDER@/inbox/"}]
"""

    def test_signed_requests_pass_and_others_are_refused(self):
        name = self.stream()
        self.sluice("put", name, "--key", "k", stdin=b"signed\n")
        other = {"AWS_ACCESS_KEY_ID": "OTHER", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
        self.sluice("put", name, "--key", "k", stdin=b"by another\n", env=other)
        self.assertEqual(self.tail(name), b"signed\nby another\n")
        self.assertEqual(self.sluice("delivery", "list")[0], b"inbox\n")
        described = json.loads(self.sluice("delivery", "describe", "inbox", "--json")[0])
        self.assertEqual(described["description"]["DeliveryStreamName"], "inbox")
        for env, words in [({"AWS_SECRET_ACCESS_KEY": "wrong"}, b"signature"),
                           ({"AWS_ACCESS_KEY_ID": "NOBODY"}, b"token"),
                           ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, b"oken")]:
            _, err = self.sluice("stream", "list", status=1, env=env)
            self.assertIn(words, err)
            self.assertIn(b"AWS_ACCESS_KEY_ID", err)
            self.sluice("put", name, stdin=b"x\n", status=1, env=env)
        _, err = self.sluice("stream", "list", status=1, env={"AWS_SECRET_ACCESS_KEY": ""})
        self.assertIn(b"without its secret access key", err)
        self.assertEqual(self.tail(name), b"signed\nby another\n")


class Inspect(unittest.TestCase):
    """`sluice inspect` on the folder that a daemon has left."""

    def setUp(self):
        self.daemon = Daemon(config="streams: [{name: events, shards: 2}]\n")
        self.addCleanup(shutil.rmtree, self.daemon.folder, True)
        self.daemon.start()
        self.daemon.run("sluice", "put", "events", stdin=b"".join(b'{"n":%d,"pad":"%s"}\n' % (n, b"x" * 200) for n in range(20000)))

    def inspect(self, *options, status=0):
        done = subprocess.run([SLUICE, "inspect", self.daemon.data, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=60 * SLOW)
        self.assertEqual(done.returncode, status, (done.stdout[-2000:], done.stderr))
        return done.stdout, done.stderr

    def test_a_running_daemon_is_named(self):
        out, err = self.inspect(status=1)
        self.assertEqual(out, b"")
        self.assertIn(b"process %d" % self.daemon.process.pid, err)
        self.assertEqual(self.daemon.stop(), 0)

    def test_a_sound_folder_passes_after_a_stop_and_after_a_kill(self):
        self.assertEqual(self.daemon.stop(), 0)
        before = {p: os.stat(p).st_mtime_ns for p in glob.glob(self.daemon.data + "/**", recursive=True)}
        for after in ("stop", "kill"):
            lines = [json.loads(x) for x in self.inspect("--json")[0].splitlines()]
            summary = lines[-1]["summary"]
            self.assertEqual((summary["damages"], summary["records"], summary["shards"]), (0, 20000, 2), after)
            self.assertEqual(sum(x["shard"]["records"] for x in lines if "shard" in x), 20000)
            self.assertIn(b"0 damages", self.inspect()[0])
            if after == "stop":
                self.assertEqual(before, {p: os.stat(p).st_mtime_ns for p in before}, "it changes nothing")
                self.daemon.start()
                self.daemon.kill()

    def test_a_flipped_byte_is_found_and_told_with_its_file(self):
        self.assertEqual(self.daemon.stop(), 0)
        files = [p for p in glob.glob(self.daemon.data + "/**", recursive=True) if os.path.isfile(p) and "catalog" not in p]
        found = []
        for path in files:
            with open(path, "rb") as f:
                data = f.read()
            at = data.find(b'"pad":"xxx')
            if at >= 0:
                with open(path, "r+b") as f:
                    f.seek(at + 20)
                    f.write(b"y")
                found.append(path)
                break
        self.assertTrue(found, "a file with records")
        lines = [json.loads(x) for x in self.inspect("--json", status=1)[0].splitlines()]
        damages = [x["finding"] for x in lines if "finding" in x and x["finding"]["severity"] == "damage"]
        self.assertIn(found[0], [d["file"] for d in damages])
        self.assertGreater(lines[-1]["summary"]["damages"], 0)
        self.assertIn(b"damage", self.inspect(status=1)[0])

    def test_what_is_no_data_folder_is_told(self):
        self.daemon.stop()
        done = subprocess.run([SLUICE, "inspect", "/does/not/exist"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60 * SLOW)
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertIn(b"/does/not/exist", done.stderr)
        self.assertEqual(subprocess.run([SLUICE, "inspect"], stderr=subprocess.DEVNULL, timeout=60 * SLOW).returncode, 2)


class Script(http.server.BaseHTTPRequestHandler):
    """Answers each request with the next of the server's answers: (status, body) or a function of the handler."""
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.headers["X-Amz-Target"].split(".")[1], body))
        answer = self.server.answer(self.headers["X-Amz-Target"].split(".")[1], body)
        if answer is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, text = answer
        text = text if isinstance(text, bytes) else json.dumps(text).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):
        pass


class BadServer(unittest.TestCase):
    """What the command makes of a server that throttles, breaks off and talks nonsense."""

    def setUp(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Script)
        self.server.daemon_threads = False # closing waits for them
        self.server.seen = []
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def tearDown(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def sluice(self, *command, stdin=b""):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SLUICE_"))}
        return subprocess.run([SLUICE, "--endpoint", f"http://127.0.0.1:{self.server.server_port}", *command], input=stdin,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, timeout=60 * SLOW)

    SUMMARY = (200, {"StreamDescriptionSummary": {"StreamName": "s", "StreamARN": "arn", "StreamStatus": "ACTIVE",
                                                  "OpenShardCount": 1, "RetentionPeriodHours": 24,
                                                  "StreamCreationTimestamp": 1.5}})

    def script(self, *answers):
        """The operation's answers in turn, the last one for ever; DescribeStreamSummary finds the stream."""
        rest = list(answers)
        lock = threading.Lock()

        def answer(operation, body):
            if operation == "DescribeStreamSummary" and self.stream_known:
                return self.SUMMARY
            with lock:
                now = rest[0] if len(rest) == 1 else rest.pop(0)
            return now(body) if callable(now) else now
        self.stream_known = True
        self.server.answer = answer

    @staticmethod
    def stored(body):
        return 200, {"FailedRecordCount": 0, "Records": [{"SequenceNumber": "1", "ShardId": "shardId-0"} for _ in body["Records"]]}

    def puts(self):
        return [b["Records"] for o, b in self.server.seen if o == "PutRecords"]

    def test_throttling_5xx_and_lost_connections_are_tried_again(self):
        throttled = 400, {"__type": "ProvisionedThroughputExceededException", "message": "slow down"}
        self.script(throttled, (500, b"oops"), (503, b""), None, self.stored)
        done = self.sluice("put", "s", "--json", stdin=b"a\nb\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        result = json.loads(done.stdout)
        self.assertEqual((result["stored"], result["retries"]), (2, 4))
        self.assertTrue(all(p == self.puts()[0] for p in self.puts()), "the same records each time")

    def test_only_records_that_failed_alone_are_sent_again(self):
        def second_fails(body):
            records = [{"SequenceNumber": "1", "ShardId": "shardId-0"} for _ in body["Records"]]
            records[1] = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow"}
            return 200, {"FailedRecordCount": 1, "Records": records}
        self.script(second_fails, self.stored)
        done = self.sluice("put", "s", "--json", stdin=b"a\nb\nc\n")
        self.assertEqual(json.loads(done.stdout)["stored"], 3)
        first, again = self.puts()
        self.assertEqual(again, [first[1]])

    def test_a_record_that_fails_for_good_is_told_and_ends_with_1(self):
        def fails(body):
            records = [{"SequenceNumber": "1", "ShardId": "shardId-0"} for _ in body["Records"]]
            records[0] = {"ErrorCode": "AccessDeniedException", "ErrorMessage": "not yours"}
            return 200, {"FailedRecordCount": 1, "Records": records}
        self.script(fails)
        done = self.sluice("put", "s", "--json", stdin=b"a\nb\nc\n")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"not yours", done.stderr)
        self.assertIn(b"1 of 3 records were not stored", done.stderr)
        self.assertEqual((json.loads(done.stdout)["stored"], json.loads(done.stdout)["failed"]), (2, 1))

    def test_an_endless_input_ends_when_records_are_refused(self):
        self.script((400, {"__type": "ValidationException", "message": "no"}))
        put = subprocess.Popen([SLUICE, "--endpoint", f"http://127.0.0.1:{self.server.server_port}", "put", "s"],
                               stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        with self.assertRaises(BrokenPipeError):
            for _ in range(1000000):
                put.stdin.write(b"line\n" * 1000)
                put.stdin.flush()
        self.assertEqual(put.wait(30 * SLOW), 1)
        self.assertIn(b"no", put.stderr.read())
        put.stderr.close()
        try:
            put.stdin.close()
        except BrokenPipeError:
            pass

    def test_an_answer_that_is_not_the_protocols_is_an_error(self):
        for nonsense in [b"", b"<html>", b"{}", b"[]", b'{"Records":', b'{"Records":[]}', b'{"Records":[{}]}',
                         b'{"Records":[{"SequenceNumber":"1"},{"SequenceNumber":"2"}]}', b'{"Records":{"a":1}}', b"\xff\xfe",
                         b'{"Records":["x"]}', b'{"Records":[{"SequenceNumber":1,"ShardId":2}]}', b"[" * 5000]:
            with self.subTest(nonsense=nonsense):
                self.script((200, nonsense))
                done = self.sluice("put", "s", "--json", stdin=b"a\n")
                self.assertEqual(done.returncode, 1)
                self.assertIn(b"not what the protocol says", done.stderr)
                self.assertEqual(json.loads(done.stdout)["stored"], 0)

    def test_nonsense_in_every_other_answer_is_an_error_too(self):
        for nonsense in [b"", b"{", b"7", b'{"StreamNames":7}', b'{"StreamNames":[7],"HasMoreStreams":true}',
                         b'{"StreamNames":[],"HasMoreStreams":true}', b'{"StreamDescriptionSummary":{}}']:
            self.script((200, nonsense))
            self.stream_known = False
            for command in [("stream", "list"), ("stream", "describe", "s"), ("tail", "s"), ("delivery", "describe", "s")]:
                if command == ("stream", "list") and nonsense in (b'{"StreamDescriptionSummary":{}}', b'{"StreamNames":7}'):
                    continue # an object without names is an empty list
                with self.subTest(nonsense=nonsense, command=command):
                    done = self.sluice(*command)
                    self.assertEqual(done.returncode, 1, done.stdout)
                    self.assertIn(b"not what the protocol says", done.stderr)

    def test_error_bodies_of_any_kind_end_with_words(self):
        for status, body, words in [
            (400, {"__type": "com.amazonaws#ResourceNotFoundException", "message": "Stream x"}, b"Stream x"),
            (400, {"__type": "ResourceInUseException", "Message": "capital"}, b"capital"),
            (400, {"__type": "Strange", "message": None}, b"Strange"),
            (403, b"<AccessDenied/>", b"HTTP status 403"),
            (404, b"", b"HTTP status 404"),
            (413, b"{", b"HTTP status 413"),
            (302, b"", b"HTTP status 302"),
            (400, {"message": "ü" * 1000}, "üüü".encode()),
        ]:
            with self.subTest(status=status, body=body):
                self.script((status, body))
                self.stream_known = False
                done = self.sluice("stream", "list")
                self.assertEqual(done.returncode, 1)
                self.assertIn(words, done.stderr)
                done.stderr.decode()

    def test_tail_reads_a_split_shard_before_its_children(self):
        data = {"p": ["cDE=", "cDI="], "a": ["YTE="], "b": ["YjE="], "other": ["bzE="]}
        shards = [{"ShardId": "p", "HashKeyRange": {}, "SequenceNumberRange": {"StartingSequenceNumber": "1", "EndingSequenceNumber": "9"}}]
        shards += [{"ShardId": s, "ParentShardId": "p", "SequenceNumberRange": {"StartingSequenceNumber": "1"}} for s in "ab"]
        shards += [{"ShardId": "other", "SequenceNumberRange": {"StartingSequenceNumber": "1"}}]

        def answer(operation, body):
            if operation == "DescribeStreamSummary":
                return self.SUMMARY
            if operation == "ListShards" and "NextToken" in body:
                return 200, {"Shards": shards[2:]}
            if operation == "ListShards":
                return 200, {"Shards": shards[:2], "NextToken": "more"}
            if operation == "GetShardIterator":
                self.assertEqual(body["ShardIteratorType"], "TRIM_HORIZON")
                return 200, {"ShardIterator": body["ShardId"] + "/0"}
            shard, at = body["ShardIterator"].split("/")
            records = [{"Data": d, "PartitionKey": "k", "SequenceNumber": "5"} for d in data[shard][int(at):int(at) + 1]]
            over = int(at) + 1 >= len(data[shard])
            result = {"Records": records, "MillisBehindLatest": 0 if over else 1}
            if shard != "p" or not over:
                result["NextShardIterator"] = f"{shard}/{int(at) + 1}"
            return 200, result
        self.server.answer = answer
        done = self.sluice("tail", "s", "--from", "start", "--until-now")
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.split()
        self.assertEqual(sorted(lines), [b"a1", b"b1", b"o1", b"p1", b"p2"])
        self.assertLess(lines.index(b"p2"), min(lines.index(b"a1"), lines.index(b"b1")))

    def test_tail_goes_on_after_an_expired_iterator(self):
        state = {"expired": False}

        def answer(operation, body):
            if operation == "DescribeStreamSummary":
                return self.SUMMARY
            if operation == "ListShards":
                return 200, {"Shards": [{"ShardId": "a", "SequenceNumberRange": {"StartingSequenceNumber": "1"}}]}
            if operation == "GetShardIterator":
                return 200, {"ShardIterator": body.get("StartingSequenceNumber", "first")}
            if body["ShardIterator"] == "first":
                return 200, {"Records": [{"Data": "MQ==", "PartitionKey": "k", "SequenceNumber": "77"}],
                             "NextShardIterator": "old", "MillisBehindLatest": 5}
            if body["ShardIterator"] == "old":
                state["expired"] = True
                return 400, {"__type": "ExpiredIteratorException", "message": "too old"}
            self.assertEqual(body["ShardIterator"], "77")
            return 200, {"Records": [{"Data": "Mg==", "PartitionKey": "k", "SequenceNumber": "78"}], "NextShardIterator": "77",
                         "MillisBehindLatest": 0}
        self.server.answer = answer
        done = self.sluice("tail", "s", "--from", "start", "--until-now")
        self.assertEqual((done.returncode, done.stdout), (0, b"1\n2\n"))
        self.assertTrue(state["expired"])


class Examples(OneDaemon):
    """The examples, compiled as a user would: from an installed tree, with pkg-config."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.tree = tempfile.mkdtemp(prefix="sluice-install-")
        build = BUILD
        subprocess.run(["meson", "install", "-C", build, "--destdir", cls.tree, "--no-rebuild"], check=True,
                       stdout=subprocess.DEVNULL)
        found = glob.glob(cls.tree + "/**/sluice.pc", recursive=True)
        assert len(found) == 1, found
        cls.pkg_config = os.path.dirname(found[0])

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.tree)
        super().tearDownClass()

    def flags(self, *what):
        env = dict(os.environ, PKG_CONFIG_PATH=self.pkg_config, PKG_CONFIG_SYSROOT_DIR=self.tree)
        return subprocess.run(["pkg-config", *what, "sluice"], check=True, stdout=subprocess.PIPE, env=env).stdout.decode().split()

    def compile(self, source, *more):
        target = os.path.join(self.tree, os.path.basename(source) + ".out")
        libs = self.flags("--libs")
        folder = [x[2:] for x in libs if x.startswith("-L")] or [os.path.dirname(self.pkg_config)]
        sanitize = ["-fsanitize=address,undefined"] if b"asan" in subprocess.run(
            ["ldd", SLUICE], stdout=subprocess.PIPE, check=True).stdout else []
        subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", *more, *sanitize, source, "-o", target, *self.flags("--cflags"), *libs,
                        "-Wl,-rpath," + folder[0]], check=True)
        return target

    def example(self, name):
        return self.compile(os.path.join(TOP, "client", "examples", name))

    def run_example(self, program, *args, stdin=b"", status=0):
        done = self.daemon.run(program, *args, stdin=stdin, check=False)
        self.assertEqual(done.returncode, status, done.stderr.decode())
        return done.stdout, done.stderr

    def test_the_examples_put_and_read(self):
        put, read = self.example("example_put.c"), self.example("example_read.c")
        name = self.stream(shards=2)
        lines = [b"line %d" % i for i in range(3000)] + [b"", b"x" * 100000]
        out, _ = self.run_example(put, name, stdin=b"\n".join(lines) + b"\n")
        self.assertEqual(out, b"3002 stored, 0 failed\n")
        out, _ = self.run_example(read, name)
        got = [line.split(b" ", 2)[2] for line in out.splitlines()]
        self.assertEqual(sorted(got), sorted(lines))
        _, err = self.run_example(read, "nobody", status=1)
        self.assertIn(b"nobody", err)
        self.run_example(put, "nobody", stdin=b"x\n", status=1)
        self.run_example(put, status=2)

    def test_the_header_is_fine_for_old_c_and_the_library_shows_nothing_else(self):
        source = os.path.join(self.tree, "plain.c")
        with open(source, "w", encoding="utf-8") as f:
            f.write('#include <sluice/sluice.h>\n#include <stdio.h>\nint main(void) { puts(sluice_version()); return 0; }\n')
        program = self.compile(source, "-std=c99", "-pedantic")
        version = self.run_example(program)[0].strip()
        self.assertEqual(version.decode(), self.flags("--modversion")[0])
        library = glob.glob(self.tree + "/**/libsluice.so", recursive=True)[0]
        symbols = subprocess.run(["nm", "-D", "--defined-only", library], check=True, stdout=subprocess.PIPE).stdout.decode().split("\n")
        others = [s for s in symbols if s and not s.split()[-1].startswith("sluice_")]
        self.assertEqual(others, [])


if __name__ == "__main__":
    unittest.main()
