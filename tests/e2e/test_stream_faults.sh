#!/bin/sh
# test_stream_faults.sh - what networks and servers do wrong: mended, the result is the very same; what
# cannot be mended is one error that names the object, soon; a dead network ends in a checkpoint.
. "$(dirname "$0")/lib"
. tests/e2e/gcs
. tests/e2e/stream

bucket speech
make_shards "$dir/tar" shards=6 records=8 seconds=0.4
put_all "$dir/tar" speech train/
config local "$dir/tar/*.tar"
run train local
check "from the disk" test $code -eq 0

# mended TEST RULE LEAST: a run under this rule (called f) is the same, and the rule struck.
mended() {
    faults "{\"rules\": [$2]}"
    rm -rf "$dir/runs/cloud"
    config cloud "gs://speech/train/*.tar"
    trains "$1: the same bytes" cloud local
    check "$1: it happened ($(counter fault:f) times)" test "$(counter fault:f)" -ge "$3"
}

# -- what is mended ---------------------------------------------------------------------------------
mended "429 with Retry-After" '{"name": "f", "kind": "media", "nth": 2, "action": "status", "status": 429, "retry_after": 1}' 1
mended "429 while listing" '{"name": "f", "kind": "list", "nth": 1, "action": "status", "status": 429}' 1
mended "500" '{"name": "f", "kind": "media", "nth": 3, "action": "status", "status": 500}' 1
mended "408" '{"name": "f", "kind": "media", "nth": 3, "action": "status", "status": 408}' 1
mended "503 with a body" '{"name": "f", "per_path": true, "kind": "media", "nth": 1, "action": "status", "status": 503, "body_size": 60000}' 6
mended "reset before the answer" '{"name": "f", "kind": "media", "nth": 2, "action": "reset", "at": -1}' 1
mended "reset in the middle" '{"name": "f", "per_path": true, "kind": "media", "nth": 1, "action": "reset", "at": 40000}' 6
mended "a body cut at a header" '{"name": "f", "per_path": true, "kind": "media", "nth": 1, "action": "close", "at": 1024}' 6
mended "a body cut inside a header" '{"name": "f", "per_path": true, "kind": "media", "nth": 1, "action": "close", "at": 612}' 6
mended "a body cut in a clip" '{"name": "f", "per_path": true, "kind": "media", "nth": 1, "action": "close", "at": 5000}' 6
mended "one bit of each shard" '{"name": "f", "per_path": true, "kind": "media", "nth": 1, "action": "flip"}' 6
mended "a wrong Content-Range" '{"name": "f", "per_path": true, "kind": "media", "nth": 1, "action": "content_range", "shift": 512}' 1
mended "200 for a Range" '{"name": "f", "kind": "media", "ranged": true, "nth": 1, "action": "whole"}' 1
mended "a stalled connection" '{"name": "f", "kind": "media", "nth": 4, "action": "stall", "at": 3000}' 1
mended "all of it, one in four" '{"name": "f", "kind": "media", "probability": 0.1, "action": "status", "status": 503},
    {"kind": "media", "probability": 0.1, "action": "reset", "at": 20000},
    {"kind": "media", "probability": 0.05, "action": "flip"}' 0

# -- credentials that expire -------------------------------------------------------------------------
with_token() {
    env -u STORAGE_EMULATOR_HOST GCE_METADATA_HOST="${proxy#http://}" \
        CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE="$proxy" "$@"
}
faults '{"require_token": true}'
rm -rf "$dir/runs/cloud"
run with_token "$attune" train "$dir/cloud.yaml" --runs "$dir/runs"
check "a token from the metadata server" test $code -eq 0
same "a token: the same bytes" cloud local
first=$(counter tokens)
faults '{"require_token": true, "rules": [{"name": "f", "kind": "media", "nth": 3, "action": "drop_token"}]}'
rm -rf "$dir/runs/cloud"
run with_token "$attune" train "$dir/cloud.yaml" --runs "$dir/runs"
check "a token that is refused in flight" test $code -eq 0
same "a refused token: the same bytes" cloud local
check "it was renewed" test "$(counter tokens)" -gt $((first + 1))
faults '{}'

# -- what is not mended ------------------------------------------------------------------------------
# fails_fast TEST CODE TEXT RULE: without going on for the time of retry_for.
fails_fast() {
    faults "{\"rules\": [$4]}"
    rm -rf "$dir/runs/cloud"
    start=$(date +%s)
    expect "$1" "$2" "$3" train cloud
    took=$(($(date +%s) - start))
    check "$1: at once (after $took of 120 s)" test $took -lt 60
    check "$1: no adapter" test ! -e "$dir/runs/cloud/adapter"
}
fails_fast "403 for a shard" 4 "gs://speech/train/part-000003.tar" \
    '{"kind": "media", "path": "000003", "action": "status", "status": 403, "body": "{\"error\":{\"code\":403,\"message\":\"no storage.objects.get\"}}"}'
check "403: the server's reason is told" grep -q 'storage.objects.get' "$dir/err"
fails_fast "403 for the list" 4 "gs://speech/train" '{"kind": "list", "action": "status", "status": 403}'
fails_fast "404 for a shard" 7 "gs://speech/train/part-000003.tar" \
    '{"kind": "media", "path": "000003", "action": "status", "status": 404}'
fails_fast "a bit that is always wrong" 7 "gs://speech/train/part-000002.tar" \
    '{"kind": "media", "path": "000002", "action": "flip", "at": 700}'
config none "gs://speech/train/part-{000000..000009}.tar"
expect "a shard that is not there" 3 "part-000006.tar" train none
config none "gs://nowhere/train/*.tar"
expect "a bucket that is not there" 3 "gs://nowhere" train none
config none "gs://speech/none/*.tar"
expect "a pattern that matches nothing" 3 "gs://speech/none/*.tar" train none
head -c 60000 "$dir/tar/part-000004.tar" >"$dir/cut.tar"
put "$dir/cut.tar" speech cut/part-000000.tar
config none "gs://speech/cut/*.tar"
expect "a shard without its end" 3 "gs://speech/cut/part-000000.tar" train none

# -- replaced objects --------------------------------------------------------------------------------
make_shards "$dir/other" shards=6 records=8 seconds=0.4 seed=9
bucket drift
put_all "$dir/tar" drift
config drift "gs://drift/*.tar"
cut_short drift 4 KILL 2>/dev/null
put "$dir/other/part-000003.tar" drift part-000003.tar
expect "replaced between two runs" 2 "gs://drift/part-000003.tar" train drift
rm -rf "$dir/runs/drift"
# The shards' list is read first; the bytes come two seconds later.
put "$dir/tar/part-000003.tar" drift part-000003.tar
faults '{"rules": [{"kind": "media", "action": "delay", "seconds": 2}]}'
(sleep 1; put "$dir/other/part-000003.tar" drift part-000003.tar) &
replacer=$!
expect "replaced while a run reads" 7 "gs://drift/part-000003.tar" train drift
wait $replacer

# -- a dead network ----------------------------------------------------------------------------------
faults '{"rules": [{"name": "f", "after_bytes": '$(($(counter bytes_down) + 300000))', "action": "reset", "at": -1}]}'
config dead "gs://speech/train/*.tar" "save_every: 1000" "retry_for: 2"
expect "the network goes away" 75 "gs://speech/train/part-" train dead
check "there is a checkpoint of the steps that were done" \
    test -n "$(find "$dir/runs/dead/ckpt" -name "*.safetensors" 2>/dev/null)"
check "and no adapter" test ! -e "$dir/runs/dead/adapter"
expect "still away" 75 "" train dead
faults '{"outage": true}'
expect "nothing answers" 75 "" train dead
faults '{}'
trains "the network is back: the same command goes on to the same bytes" dead local
finish
