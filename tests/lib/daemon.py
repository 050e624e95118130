"""Starts the real daemon for a test: on loopback, on a free port, in a temporary folder; ends it by its own process id.

    class Some(unittest.TestCase):
        def test(self):
            with Daemon(config="streams: [{name: events, shards: 2}]") as d:
                d.kinesis().put_record(...)

The binaries come from $SLUICE_BUILD (default: build/ at the repository's top).
"""
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("SLUICE_BUILD", os.path.join(TOP, "build")))
# Under sanitizers everything is slower by about this factor.
SLOW = float(os.environ.get("SLUICE_TEST_SLOW", "1"))


class Daemon:
    """`config` None: no --config; `listen` None: no --listen; `data` None: no --data. "@FOLDER@" in config and args is the
    test's folder. `preexec` runs in the child before sluiced does."""

    def __init__(self, config="", args=(), env=None, folder=None, listen="127.0.0.1:0", data="data", preexec=None):
        self.own_folder = folder is None
        self.folder = folder or tempfile.mkdtemp(prefix="sluice-test-")
        self.data = data and os.path.join(self.folder, data)
        self.preexec = preexec
        self.config_file = os.path.join(self.folder, "sluice.yaml")
        self.log_file = os.path.join(self.folder, "log")
        self.config, self.args, self.env, self.listen = config, list(args), env or {}, listen
        self.process = None
        self.port = None
        self.clients = []

    # -- life --
    def start(self, expect_failure=False):
        command = [os.path.join(BUILD, "sluiced")]
        if self.config is not None:
            with open(self.config_file, "w", encoding="utf-8") as f:
                f.write(self.config.replace("@FOLDER@", self.folder))
            command += ["--config", self.config_file]
        if self.data:
            command += ["--data", self.data]
        if self.listen:
            command += ["--listen", self.listen]
        command += [a.replace("@FOLDER@", self.folder) for a in self.args]
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLUICE_", "AWS_"))}
        environment.update(self.env)
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment, cwd=self.folder,
                                            preexec_fn=self.preexec)
        self.first_line = line = self._first_line(30 * SLOW)
        found = re.search(r"https?://\S+:(\d+)", line)
        if not found:
            status = self.process.wait(10 * SLOW)
            self.process.stdout.close()
            self.process = None
            if expect_failure:
                return status
            raise RuntimeError(f"sluiced did not start (status {status}, said {line!r}):\n{self.log()}")
        if expect_failure:
            self.kill()
            raise AssertionError("sluiced started though it should not have")
        self.port = int(found.group(1))
        return self

    def _first_line(self, seconds):
        end = time.monotonic() + seconds
        text = b""
        while time.monotonic() < end and b"\n" not in text:
            ready, _, _ = select.select([self.process.stdout], [], [], 0.5)
            if ready:
                piece = os.read(self.process.stdout.fileno(), 4096)
                if not piece:
                    break
                text += piece
        return text.decode()

    def kill(self):
        """SIGKILL, as a crash."""
        self._clients_close()
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def stop(self):
        """SIGTERM; returns the exit status. What stood on stdout behind the first line is self.rest."""
        if not self.process:
            return None
        self.process.send_signal(signal.SIGTERM)
        self._clients_close()
        try:
            status = self.process.wait(60 * SLOW)
            self.rest = self.process.stdout.read()
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"sluiced did not end after SIGTERM:\n{self.log()}") from None
        self.process.stdout.close()
        self.process = None
        return status

    def restart(self):
        self.kill()
        return self.start()

    def log(self):
        try:
            with open(self.log_file, encoding="utf-8", errors="replace") as f:
                return f.read()[-20000:]
        except OSError:
            return ""

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        try:
            status = self.stop()
            if kind is None and status not in (0, None):
                raise AssertionError(f"sluiced ended with status {status}:\n{self.log()}")
        finally:
            if kind is not None:
                print(self.log())
            if self.own_folder:
                shutil.rmtree(self.folder, ignore_errors=True)

    # -- clients --
    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def client(self, service, access_key="AKIDEXAMPLE", secret_key="secret", **options):
        import boto3
        from botocore.config import Config
        config = Config(retries={"max_attempts": 0}, parameter_validation=options.pop("parameter_validation", True),
                        connect_timeout=10 * SLOW, read_timeout=60 * SLOW)
        made = boto3.client(service, endpoint_url=self.url, region_name="us-east-1", aws_access_key_id=access_key,
                            aws_secret_access_key=secret_key, config=config, **options)
        self.clients.append(made)
        return made

    def _clients_close(self):
        while self.clients:
            self.clients.pop().close()

    def kinesis(self, **options):
        return self.client("kinesis", **options)

    def firehose(self, **options):
        return self.client("firehose", **options)

    def run(self, *command, stdin=None, check=True, env=None):
        """Runs a command (the `sluice` tool by its bare name) against this daemon; returns its stdout as text."""
        command = list(command)
        if command[0] == "sluice":
            command[0] = os.path.join(BUILD, "sluice")
        environment = dict(os.environ, SLUICE_ENDPOINT=self.url, AWS_ACCESS_KEY_ID="AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY="secret",
                           AWS_REGION="us-east-1", AWS_DEFAULT_REGION="us-east-1", AWS_PAGER="")
        environment.update(env or {})
        done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, timeout=120 * SLOW)
        if check and done.returncode != 0:
            raise AssertionError(f"{command} ended with {done.returncode}: {done.stderr.decode()}\n{self.log()}")
        return done.stdout.decode() if check else done

    def aws(self, *command):
        """The real AWS CLI."""
        return self.run("/usr/bin/aws", "--endpoint-url", self.url, *command)


def wait_until(condition, seconds, what):
    """Polls until condition() is true; its value is returned."""
    end = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)
