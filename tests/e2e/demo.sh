#!/usr/bin/env bash
# sluice's main job, on real input: records in by plain curl, by `sluice put` and by the unmodified AWS CLI; read back by
# shard iterator; compressed and encrypted files out, opened by the real age and zstd; every record counted exactly once.
# Everything lives in one temporary folder, which --keep keeps.
set -euo pipefail
cd "$(dirname "$0")/../.."
top=$PWD
keep=no
[ "${1:-}" != --keep ] || keep=yes

work=$(mktemp -d "${TMPDIR:-/tmp}/sluice-demo.XXXXXX")
daemon=
begin=$(date +%s)

finish() {
    local status=$?
    [ -z "$daemon" ] || { kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null; } || true
    if [ $status != 0 ]; then
        echo "demo: failed; the daemon's log is $work/log" >&2
        tail -5 "$work/log" >&2 || true
    elif [ $keep = yes ]; then
        echo "kept: $work"
    else
        rm -rf "$work"
    fi
}
trap finish EXIT

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

say "1. An age key, a configuration, the daemon"
age-keygen -o "$work/key.txt" 2>"$work/public"
recipient=$(sed -n 's/^Public key: //p' "$work/public")
cat >"$work/sluice.yaml" <<YAML
data: $work/data
listen: 127.0.0.1:0
streams:
  - {name: events, shards: 4, retention: 24h}
routes:
  - {path: /prod/logger, stream: events}
deliveries:
  - name: events-archive
    source: events
    buffer: {size: 1MiB, interval: 5s}
    compression: zstd
    encryption: {age: [$recipient]}
    sink: file://$work/out/!{timestamp:yyyy/MM/dd/HH}/
YAML
mkfifo "$work/ready"
"$top/build/sluiced" --config "$work/sluice.yaml" >"$work/ready" 2>"$work/log" &
daemon=$!
read -r line <"$work/ready"
echo "$line"
url=$(grep -oE 'http://[0-9.]+:[0-9]+' <<<"$line")
export SLUICE_ENDPOINT=$url AWS_ACCESS_KEY_ID=demo AWS_SECRET_ACCESS_KEY=demo AWS_DEFAULT_REGION=us-east-1 AWS_PAGER=

say "2. 1,000 events by curl:  curl -d '{...}' $url/prod/logger"
python3 - "$work" "$url" <<'PY'
import json, sys
work, url = sys.argv[1:]
with open(work + "/curl.sent", "w") as sent, open(work + "/curl.config", "w") as config:
    for i in range(1000):
        line = json.dumps({"from": "curl", "n": i, "level": "info", "text": f"event number {i}"})
        sent.write(line + "\n")
        config.write(("next\n" if i else "") + f'url = "{url}/prod/logger"\ndata = {json.dumps(line)}\nsilent\nfail\n'
                     'output = "-"\nwrite-out = "\\n"\n')
PY
start=$(date +%s%N)
curl -K "$work/curl.config" >"$work/curl.answers"
printf 'acknowledged: %s in %d ms; the last answer: %s\n' "$(grep -c equenceNumber "$work/curl.answers")" \
    $((($(date +%s%N) - start) / 1000000)) "$(grep equenceNumber "$work/curl.answers" | tail -1)"

say "3. This machine's package index through 'sluice put events'"
apt-cache dumpavail | python3 -c '
import json, sys
n = 0
for stanza in sys.stdin.read().split("\n\n"):
    fields, key = {}, None
    for line in stanza.split("\n"):
        if line[:1] in (" ", "\t") and key:
            fields[key] += "\n" + line.strip()
        elif ": " in line or line.endswith(":"):
            key, _, value = line.partition(":")
            fields[key] = value.strip()
    if fields:
        print(json.dumps({"from": "apt", "n": n, **fields}))
        n += 1
' >"$work/apt.sent"
start=$(date +%s%N)
"$top/build/sluice" put events <"$work/apt.sent"
ms=$((($(date +%s%N) - start) / 1000000 + 1))
count=$(wc -l <"$work/apt.sent")
printf 'acknowledged: %d records, %d MB in %d ms: %d records/s\n' "$count" $(($(wc -c <"$work/apt.sent") / 1000000)) "$ms" \
    $((count * 1000 / ms))

say "4. 100 records through the AWS CLI, and back by its get-shard-iterator and get-records"
python3 - "$work" <<'PY'
import base64, json, sys
work = sys.argv[1]
records = []
with open(work + "/cli.sent", "w") as sent:
    for i in range(100):
        line = json.dumps({"from": "aws-cli", "n": i})
        sent.write(line + "\n")
        records.append({"Data": base64.b64encode(line.encode()).decode(), "PartitionKey": f"cli-{i}"})
json.dump({"StreamName": "events", "Records": records}, open(work + "/cli.json", "w"))
PY
aws="/usr/bin/aws --endpoint-url $url kinesis"
$aws put-records --cli-input-json "file://$work/cli.json" >"$work/cli.answer"
python3 -c 'import json,sys; a=json.load(open(sys.argv[1])); print("acknowledged:", sum("SequenceNumber" in r for r in a["Records"]), " failed:", a["FailedRecordCount"])' "$work/cli.answer"
# Each shard from its first record of this batch on.
python3 -c '
import json, sys
first = {}
for r in json.load(open(sys.argv[1]))["Records"]:
    first.setdefault(r["ShardId"], r["SequenceNumber"])
for shard, number in sorted(first.items()):
    print(shard, number)' "$work/cli.answer" >"$work/cli.first"
: >"$work/cli.read"
while read -r shard number; do
    it=$($aws get-shard-iterator --stream-name events --shard-id "$shard" --shard-iterator-type AT_SEQUENCE_NUMBER \
        --starting-sequence-number "$number" --query ShardIterator --output text)
    $aws get-records --shard-iterator "$it" --limit 1000 --query 'Records[].Data' --output text | tr '\t' '\n' >>"$work/cli.read"
done <"$work/cli.first"
python3 - "$work" <<'PY'
import base64, sys
work = sys.argv[1]
sent = open(work + "/cli.sent").read().split("\n")[:-1]
read = [base64.b64decode(x).decode() for x in open(work + "/cli.read").read().split()]
assert sorted(sent) == sorted(read), f"sent {len(sent)}, read back {len(read)}"
print(f"read back: {len(read)}, the same ones")
PY

say "5. The delivered files: age -d -i key.txt FILE | zstd -d"
total=$(cat "$work"/*.sent | wc -l)
python3 tests/e2e/demo_check.py "$work" "$total"

say "6. The daemon's own view"
"$top/build/sluice" delivery describe events-archive | sed -n "/\"status\"/,\$p"
curl -s "$url/metrics" | grep -E '^sluice_(put_records|delivery_(records|objects|bytes))' | head -8 || true

say "Done in $(($(date +%s) - begin)) s: $total records in, each exactly once in the files."
cat <<TXT
How to go on:
  build/sluiced                                      starts with no settings; listens on 127.0.0.1:4567
  build/sluice stream create events --shards 4
  seq 1000 | build/sluice put events;  build/sluice tail events
  aws --endpoint-url http://127.0.0.1:4567 kinesis list-streams
  README.md has the tour, docs/CONFIG.md every key.
TXT
