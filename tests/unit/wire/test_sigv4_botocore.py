#!/usr/bin/python3
"""botocore's signer against our verifier: a few hundred requests of random shape, each signed by botocore, must verify, and
each with one bit of its body changed must not. argv[1] is sigv4_check. Skipped (77) without botocore."""
import datetime
import random
import subprocess
import sys

try:
    import botocore.auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    from urllib.parse import quote
except ImportError:
    sys.exit(77)

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SEED = 20251122


def word(rng, alphabet="abcXYZ019-_.~ /%+&=:ü€*'()", most=12):
    return "".join(rng.choice(alphabet) for _ in range(rng.randrange(1, most)))


def request(rng):
    path = "/" + "/".join(quote(word(rng), safe="-_.~") for _ in range(rng.randrange(3)))
    if path.endswith(("/.", "/..")):  # botocore drops the slash that RFC 3986 keeps
        path += "/x"
    names = {word(rng) for _ in range(rng.randrange(5))}
    query = "&".join(quote(n, safe="-_.~") + "=" + quote(word(rng), safe="-_.~") for n in sorted(names))
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Kinesis_20131202.PutRecord"}
    for _ in range(rng.randrange(4)):
        headers["X-" + word(rng, "abcdefgh-", 8) + "x"] = word(rng, "abc  \t,;\"", 20).strip() or "v"
    body = bytes(rng.randrange(256) for _ in range(rng.randrange(300)))
    url = "http://localhost:4567" + path + ("?" + query if query else "")
    return path, query, AWSRequest(method=rng.choice(["POST", "GET", "PUT"]), url=url, headers=headers, data=body)


def wire(path, query, req, body):
    lines = [f"{req.method} {path} {query}", "Host: localhost:4567"]
    lines += [f"{name}: {value}" for name, value in req.headers.items()]
    return "\n".join(lines).encode() + b"\n\n" + str(len(body)).encode() + b"\n" + body


def main():
    rng = random.Random(SEED)
    now = datetime.datetime(2025, 11, 22, 21, 3, 4)
    real = botocore.auth.datetime

    class Frozen(datetime.datetime):
        @classmethod
        def utcnow(cls):
            return now

        @classmethod
        def now(cls, tz=None):
            return now.replace(tzinfo=tz)

    class Module:
        timezone = datetime.timezone
        timedelta = datetime.timedelta
        datetime = Frozen  # the last: from here on the name means this one

    # old releases do `import datetime`, newer ones call a helper
    if hasattr(real, "datetime"):
        botocore.auth.datetime = Module
    if hasattr(botocore.auth, "get_current_datetime"):
        botocore.auth.get_current_datetime = lambda remove_tzinfo=True: now
    data, wants = b"", []
    for i in range(400):
        credentials = Credentials(KEY, SECRET, "TOKEN/+=" if i % 3 == 0 else None)
        region = rng.choice(["us-east-1", "eu-central-1"])
        path, query, req = request(rng)
        botocore.auth.SigV4Auth(credentials, "kinesis", region).add_auth(req)
        data += wire(path, query, req, req.data or b"")
        wants.append(True)
        if req.data:
            spoilt = bytearray(req.data)
            spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
            data += wire(path, query, req, bytes(spoilt))
            wants.append(False)
    out = subprocess.run([sys.argv[1], KEY, SECRET, now.strftime("%Y%m%dT%H%M%SZ")], input=data, capture_output=True,
                         check=True).stdout.decode(errors="replace").splitlines()
    assert len(out) == len(wants), (len(out), len(wants))
    for i, (got, want) in enumerate(zip(out, wants)):
        if (got == "ok") != want:
            sys.exit(f"request {i} of seed {SEED}: wanted {'a good' if want else 'a bad'} signature, got: {got}")
    print(f"{len(wants)} requests checked")


main()
