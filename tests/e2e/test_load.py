"""What 10,000 idle connections, with slow and half-open ones among them, cost those who use the daemon: the p99 of good
clients at most doubles, an idle daemon stays idle, a connection that waits costs next to no memory, and oversized
requests get a clear 4xx in the midst of it.

Two daemons alike, one of them with the crowd: the good clients' latencies are measured on both in turn, so that what the
machine does meanwhile meets both. SLUICE_LOAD_CONNECTIONS sets the size of the crowd (default 10,000; less where the
limit of open files is lower, and then it says so).
"""
import json
import multiprocessing
import os
import resource
import socket
import statistics
import threading
import time
import unittest

from daemon import SLOW, Daemon, wait_until

CROWD = int(os.environ.get("SLUICE_LOAD_CONNECTIONS", "10000" if SLOW == 1 else "1000"))
SLOW_CLIENTS = 100  # of each kind
GOOD_CLIENTS = 3
ROUNDS = 7  # measurements of each daemon; the median counts
REQUESTS = 200  # of a good client in a measurement

FORK = multiprocessing.get_context("fork")

CONFIG = "streams: [{name: events, shards: 2}]\nhttp: {idle: 10m, request: 10m}\n"


def put_request(n):
    body = json.dumps({"StreamName": "events", "PartitionKey": f"key-{n}", "Data": "eHh4" * 60}).encode()
    return (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-amz-json-1.1\r\n"
            b"X-Amz-Target: Kinesis_20131202.PutRecord\r\nContent-Length: %d\r\n\r\n" % len(body)) + body


def read_answer(s):
    """The status of one answer with a Content-Length."""
    got = b""
    while b"\r\n\r\n" not in got:
        piece = s.recv(65536)
        if not piece:
            raise ConnectionError(f"closed after {got[:100]!r}")
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    left = next(int(h.split(b":")[1]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length")) - len(body)
    while left > 0:
        piece = s.recv(65536)
        if not piece:
            raise ConnectionError("closed within an answer")
        left -= len(piece)
    return int(head.split(b" ")[1])


def p99(latencies):
    return sorted(latencies)[len(latencies) * 99 // 100]


def measure(port):
    """p99 in milliseconds of GOOD_CLIENTS that put one record after the other."""
    latencies, problems = [], []

    def client(number):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=30 * SLOW) as s:
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for n in range(REQUESTS):
                    begin = time.perf_counter()
                    s.sendall(put_request(number * REQUESTS + n))
                    if read_answer(s) != 200:
                        raise AssertionError("a good client was refused")
                    latencies.append((time.perf_counter() - begin) * 1000)
        except Exception as e:  # seen by the test's own thread
            problems.append(e)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(GOOD_CLIENTS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if problems:
        raise problems[0]
    return p99(latencies)


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def connections(daemon):
    """As the daemon counts them, the asking one included."""
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=30 * SLOW) as s:
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        text = b""
        while piece := s.recv(1 << 16):
            text += piece
    return next(int(line.split()[-1]) for line in text.splitlines() if line.startswith(b"sluice_http_connections "))


class Crowd:
    """Idle, half-open and slow connections of one daemon. While `awake` is set, the slow ones send a byte 20 times a second
    each, from a process of their own, so that the good clients here do not wait for Python's lock."""

    def __init__(self, port, idle):
        self.port, self.sockets, self.slow = port, [], []
        self.process, self.awake = None, FORK.Event()
        for _ in range(idle):
            self.connect()

    def send_in_the_slow(self):
        half = self.connect()  # the request's second half never comes
        half.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx")
        half.shutdown(socket.SHUT_WR)
        for n in range(SLOW_CLIENTS):
            self.connect().sendall(b"POST / HTTP/1.1\r\nHost: loc")  # silent in the head
            self.connect().sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n{")  # in the body
            # slow in the head, slow in the body
            self.slow.append((self.connect(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: "), b"a"))
            self.slow.append((self.connect(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"), b" "))
        for n in range(10):  # asks a lot and takes nothing
            deaf = self.connect(receive=4096)
            deaf.setblocking(False)
            try:
                deaf.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200)
            except BlockingIOError:
                pass
        self.process = FORK.Process(target=self._trickle, daemon=True)
        self.process.start()

    def connect(self, first=b"", receive=None):
        s = socket.socket()
        if receive:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        s.settimeout(30 * SLOW)
        s.connect(("127.0.0.1", self.port))
        self.sockets.append(s)
        if first:
            s.sendall(first)
        return s

    def _trickle(self):
        while True:
            for n, (s, byte) in enumerate(self.slow):
                self.awake.wait()
                try:
                    s.send(byte)
                except OSError:  # the daemon ends some: its right
                    pass
                if n % 20 == 0:
                    time.sleep(0.05 * 20 / len(self.slow))

    def end(self):
        if self.process:
            self.process.kill()
            self.process.join()
        for s in self.sockets:
            s.close()


class Load(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (cls.limit[1], cls.limit[1]))
        spare = 1000 + 5 * SLOW_CLIENTS
        cls.idle = CROWD if cls.limit[1] == resource.RLIM_INFINITY else min(CROWD, cls.limit[1] - spare)
        if cls.idle < CROWD:
            print(f"only {cls.idle} idle connections: the limit of open files here is {cls.limit[1]}")
        cls.quiet, cls.crowded, cls.crowd = Daemon(config=CONFIG), Daemon(config=CONFIG), None
        try:
            cls.quiet.start()
            cls.crowded.start()
            measure(cls.crowded.port)  # both are warm before anything is measured
            measure(cls.quiet.port)
            cls.kib_before = resident_kib(cls.crowded.process.pid)
            begin = time.monotonic()
            cls.crowd = Crowd(cls.crowded.port, cls.idle)
            wait_until(lambda: connections(cls.crowded) >= len(cls.crowd.sockets), 60, "the idle ones are in")
            cls.idle_kib = (resident_kib(cls.crowded.process.pid) - cls.kib_before) / cls.idle
            cls.crowd.send_in_the_slow()
            wait_until(lambda: connections(cls.crowded) >= len(cls.crowd.sockets) - 10, 60, "the slow ones are in")
            print(f"{len(cls.crowd.sockets)} connections made in {time.monotonic() - begin:.1f} s")
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def tearDownClass(cls):
        if cls.crowd:
            cls.crowd.end()
        resource.setrlimit(resource.RLIMIT_NOFILE, cls.limit)
        for d in (cls.quiet, cls.crowded):
            d.__exit__(None, None, None)

    def test_the_p99_of_good_clients_at_most_doubles(self):
        for attempt in range(3):
            quiet, crowded = [], []
            for _ in range(ROUNDS):
                quiet.append(measure(self.quiet.port))
                self.crowd.awake.set()
                crowded.append(measure(self.crowded.port))
                self.crowd.awake.clear()
            ratio = statistics.median(crowded) / statistics.median(quiet)
            print(f"p99 of a put: {statistics.median(quiet):.2f} ms alone, {statistics.median(crowded):.2f} ms beside "
                  f"{len(self.crowd.sockets)} connections ({ratio:.2f} times)")
            if ratio <= 2:
                return
        self.fail("the p99 of good clients more than doubled, three times over")

    def test_an_idle_daemon_is_idle(self):
        self.crowd.awake.clear()
        pid = self.crowded.process.pid
        shares = []

        def idle():
            begin, at = cpu_seconds(pid), time.monotonic()
            time.sleep(1)  # what is measured: this second
            shares.append((cpu_seconds(pid) - begin) / (time.monotonic() - at))
            return shares[-1] <= 0.01
        wait_until(idle, 10, "a second in which the daemon takes at most 1% of a CPU")
        print(f"CPU beside {len(self.crowd.sockets)} silent connections: {shares[-1] * 100:.1f}%")

    def test_a_waiting_connection_costs_little_memory(self):
        print(f"{self.idle_kib:.2f} KiB resident for each of {self.idle} idle connections")
        if SLOW == 1:  # sanitizers keep what is freed
            self.assertLess(self.idle_kib, 4)

    def test_oversized_requests_get_a_clear_4xx(self):
        for status, request in ((413, b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n"),
                                (431, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * (70 << 10) + b"\r\n\r\n"),
                                (431, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 200 + b"\r\n"),
                                (414, b"GET /" + b"x" * (9 << 10) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")):
            with socket.create_connection(("127.0.0.1", self.crowded.port), timeout=30 * SLOW) as s:
                s.sendall(request)
                self.assertEqual(read_answer(s), status, request[:40])
        measure(self.crowded.port)  # and all goes on


if __name__ == "__main__":
    unittest.main()
