#!/usr/bin/env python3
"""House rules that a machine can check. Prints each breach as file:line: text; exits 1 if there is any.

- the dependency law: what a folder may include
- file names are unique in the tree
- clocks and randomness are read in common/io's backends only
- banned functions
- a third-party header is included by one .c (or one pair)
- longer files open with a comment; nothing over 1,000 lines
- the repository speaks of itself alone
"""
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# folder -> folders whose headers it may include (besides its own)
LAW = {
    "common/base": [],
    "common/io": ["common/base"],
    "common/frame": ["common/base"],
    "common/wire": ["common/base"],
    "common/http": ["common/base", "common/io", "common/wire"],
    "broker/log": ["common/base", "common/io", "common/frame"],
    "broker/shard": ["common/base"],
    "broker/catalog": ["common/base", "broker/shard"],
    "broker/api": ["common/", "broker/log", "broker/shard", "broker/catalog", "broker/config.h"],
    "broker": ["common/", "broker/", "firehose", "firehose/api"],
    "firehose": ["common/base", "common/io", "common/frame", "common/wire", "common/http"],
    "firehose/api": ["common/base", "common/io", "common/frame", "common/wire", "common/http", "firehose"],
    "client": ["common/", "include/sluice", "sluice"],
    "include/sluice": ["include/sluice", "sluice"],
    "bench": ["common/", "broker/", "client", "sluice", "firehose"],
}
# The command's offline verifier reads the log's own files.
LAW_EXTRA = {"client/cmd_inspect.c": ["broker/log"]}

SEAM_ONLY = re.compile(
    r"(?<![\w>.])(clock_gettime|gettimeofday|time|getrandom|random|rand|srand|rand_r|arc4random|randombytes_buf|nanosleep|usleep|sleep)\s*\(")
SEAM_FILES = re.compile(r"^common/io/[a-z_]*\.c$")
BANNED = re.compile(
    r"\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|alloca|system|popen|tmpnam|mktemp|atoi|atol|atoll|strerror)\s*\(")
THIRD_PARTY = ["liburing.h", "uv.h", "zstd.h", "sodium.h", "openssl/", "sqlite3.h", "yaml.h", "curl/", "nghttp2/"]
SPEAKS = re.compile(r"/work/|/root/|\bClaude\b|\bAnthropic\b|\bOpenAI\b|\bLLM\b|AI[- ]generated|\bpypi\.org\b|registry\.npmjs", re.I)

breaches = []


def breach(path, line, text):
    breaches.append(f"{path}:{line}: {text}")


def files():
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=TOP, capture_output=True, text=True, check=True)
    return sorted(f for f in set(out.stdout.split("\n")) if f and os.path.isfile(os.path.join(TOP, f)))


def blank_comments(text):
    def blank(m):
        return m.group(0) if m.group(0)[0] == '"' else re.sub(r"[^\n]", " ", m.group(0))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.S)


def is_test(folder):
    return folder.startswith(("tests", "bench"))


def check_source(path, text, third):
    folder = os.path.dirname(path)
    count = text.count("\n")
    if count > 1000:
        breach(path, 1, f"{count} lines: a file holds one concept")
    if not text.startswith("/*") and not is_test(folder) and count > 60:
        breach(path, 1, "a file opens with a comment on what it owns and its invariants")
    for n, line in enumerate(blank_comments(text).split("\n"), 1):
        m = re.match(r'\s*#\s*include\s+[<"]([^>"]+)[>"]', line)
        if m:
            check_include(path, folder, n, m.group(1), third)
            continue
        if is_test(folder):
            continue
        bare = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', line)
        hit = SEAM_ONLY.search(bare)
        if hit and not SEAM_FILES.match(path):
            breach(path, n, f"{hit.group(1)}() belongs behind common/io/loop.h")
        hit = BANNED.search(bare)
        if hit:
            breach(path, n, f"{hit.group(1)}() is banned")


def check_include(path, folder, n, name, third):
    if not is_test(folder):
        for t in THIRD_PARTY:
            if name.startswith(t):
                third.setdefault(name, []).append(path)
    if folder not in LAW or not re.match(r"(common|broker|firehose|client|include|bench|tests|sluice)/", name):
        return
    target = os.path.dirname(name)
    for a in LAW[folder] + LAW_EXTRA.get(path, []):
        if target == a or name == a or (a.endswith("/") and name.startswith(a)):
            return
    if target != folder:
        breach(path, n, f"{folder} may not include {name} (the dependency law)")


def main():
    names, third = {}, {}
    for path in files():
        base = os.path.basename(path)
        if path.endswith((".c", ".h", ".py", ".sh")):
            names.setdefault(base, []).append(path)
        if path.startswith(("tests/fuzz/corpus", "tests/vectors")) or path == "tests/lib/style.py":
            continue
        try:
            with open(os.path.join(TOP, path), encoding="utf-8") as f:
                text = f.read()
        except UnicodeDecodeError:
            breach(path, 1, "not UTF-8")
            continue
        for n, line in enumerate(text.split("\n"), 1):
            hit = SPEAKS.search(line)
            if hit:
                breach(path, n, f"'{hit.group(0)}': the repository speaks of sluice alone")
        if path.endswith((".c", ".h")):
            check_source(path, text, third)
    for base, where in names.items():
        if len(where) > 1:
            breach(where[1], 1, f"the file name {base} is taken by {where[0]}")
    for header, where in sorted(third.items()):
        if len(where) > 3:
            breach(where[-1], 1, f"{header} is included by {len(where)} files: {', '.join(where)}")
    for b in breaches:
        print(b)
    print(f"style: {len(breaches)} breaches")
    return 1 if breaches else 0


sys.exit(main())
