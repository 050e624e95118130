#!/usr/bin/env bash
# The figures that the project quotes, each beside its limit or peer in the same run: alternating runs, medians, ratios.
# Usage: bench/run.sh [log|shards|put|all]   (through ./dev bench)
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-all}
runs=${RUNS:-5}
seconds=${SECONDS_EACH:-4}
bench=build/sluice-bench
folder=$(mktemp -d "${BENCH_DIR:-${TMPDIR:-/tmp}}/sluice-run.XXXXXX")
trap 'rm -rf "$folder"' EXIT

median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
field() { python3 -c 'import json,sys; print(json.loads(sys.stdin.read())[sys.argv[1]])' "$1"; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN {printf "%.2f", a / b}'; }

fio_once() {
    fio --minimal --name=a --filename="$folder/fio" --size=512m --bs=1m --rw=write --direct=1 --fdatasync=1 --ioengine=psync \
        --overwrite=1 --time_based --runtime="$seconds" | awk -F';' '{print $48 * 1024 / 1000000}'
}

bench_log() {
    echo "log: 1 KiB records in 1 MiB batches, acknowledged after the sync, beside fio (zeroed file, O_DIRECT, 1 MiB, fdatasync each)"
    dd if=/dev/zero of="$folder/fio" bs=1M count=512 oflag=direct status=none
    : >"$folder/log"
    : >"$folder/fio.mb"
    local n
    for n in $(seq "$runs"); do
        fio_once >>"$folder/fio.mb"
        "$bench" log --dir "$folder" --seconds "$seconds" --json | tee -a "$folder/log.json" | field mb_per_s >>"$folder/log"
        echo "  run $n: fio $(tail -1 "$folder/fio.mb") MB/s, log $(tail -1 "$folder/log") MB/s"
    done
    local f l
    f=$(median <"$folder/fio.mb")
    l=$(median <"$folder/log")
    echo "  medians: fio $f MB/s, log $l MB/s, ratio $(ratio "$l" "$f")"
    rm -f "$folder/fio"
}

bench_shards() {
    echo "shards: 64 shards, 4 KiB commits, beside a file and a sync a shard (4 threads)"
    : >"$folder/a"
    : >"$folder/b"
    local n
    for n in $(seq "$runs"); do
        "$bench" files --shards 64 --batch 4096 --dir "$folder" --seconds "$seconds" --json | field operations_per_s >>"$folder/a"
        "$bench" log --shards 64 --batch 4096 --in-flight 1 --dir "$folder" --seconds "$seconds" --json | field operations_per_s >>"$folder/b"
        echo "  run $n: files $(tail -1 "$folder/a") commits/s, log $(tail -1 "$folder/b") commits/s"
    done
    local a b
    a=$(median <"$folder/a")
    b=$(median <"$folder/b")
    echo "  medians: files $a commits/s, log $b commits/s, ratio $(ratio "$b" "$a")"
}

bench_put() {
    echo "put: PutRecords of 500 x 200 B JSON over HTTP, SigV4 on"
    "$bench" put --dir "$folder" --seconds "$seconds"
    "$bench" get --dir "$folder" --seconds "$seconds"
}

grep -m1 'model name' /proc/cpuinfo | sed 's/.*: //'
echo "$(nproc) CPUs, kernel $(uname -r), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $runs runs of $seconds s"
case $what in
log) bench_log ;;
shards) bench_shards ;;
put) bench_put ;;
all)
    bench_log
    bench_shards
    bench_put
    ;;
*)
    echo "bench: there is no '$what': log, shards, put or all" >&2
    exit 2
    ;;
esac
