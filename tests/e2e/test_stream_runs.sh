#!/bin/sh
# test_stream_runs.sh - a run that lies in a bucket itself: a machine may go away, another one goes on.
. "$(dirname "$0")/lib"
. tests/e2e/gcs
. tests/e2e/stream

bucket speech
bucket results
make_shards "$dir/tar" shards=6 records=8 seconds=0.4
put_all "$dir/tar" speech
config local "$dir/tar/*.tar"
run train local
check "from the disk" test $code -eq 0

names() { curl -s "$origin/storage/v1/b/results/o?prefix=$1" | grep -o '"name":"[^"]*"' | cut -d '"' -f 4; }
fetch() { curl -s -f -o "$2" "$origin/storage/v1/b/results/o/$(url_encode "$1")?alt=media"; }
cloud_train() { (cd "$dir" && exec "$attune" train "$1.yaml" --runs gs://results/runs); }

# -- a run ----------------------------------------------------------------------------------------
config cloud "gs://speech/*.tar"
run cloud_train cloud
check "a run on gs://" test $code -eq 0
fetch runs/cloud/adapter/adapter_model.safetensors "$dir/got"
check "its adapter is in the bucket: the same bytes" cmp -s "$dir/got" "$(adapter local)"
for file in config.yaml attune.lock metrics.jsonl result.json adapter/adapter_config.json; do
    check "so is $file" sh -c "echo \"$(names runs/cloud)\" | grep -q '^runs/cloud/$file\$'"
done
run cloud_train cloud
check "the same command again: finished already" test $code -eq 0

# -- the machine goes away ----------------------------------------------------------------------------
config lost "gs://speech/*.tar" "save_every: 4"
# start, wait until a checkpoint is in the bucket, kill, remove all that is here.
lose() {
    (cd "$dir" && exec "$attune" train lost.yaml --runs gs://results/runs) >"$dir/out" 2>"$dir/err" </dev/null &
    pid=$!
    tries=0
    while [ "$(names runs/lost/ckpt | grep -c "$1")" -eq 0 ] && [ $tries -lt 300 ] && kill -0 $pid 2>/dev/null; do
        sleep 0.05
        tries=$((tries + 1))
    done
    kill -KILL $pid 2>/dev/null
    wait $pid 2>/dev/null
    rm -rf "$dir/cache" "$dir/home"
    mkdir -p "$dir/home"
}
lose .
expect "another machine, while the first may still be alive" 75 "written by another machine" cloud_train lost
check "it says what to remove" grep -q 'gs://results/runs/lost/owner.json' "$dir/err"
curl -s -f -X DELETE "$origin/storage/v1/b/results/o/runs%2Flost%2Fowner.json" >"$dir/out"
run cloud_train lost
check "the first one is gone: another machine goes on" test $code -eq 0
check "from a checkpoint" grep -qi 'resum\|going on\|goes on\|from step\|after step' "$dir/out" "$dir/err"
fetch runs/lost/adapter/adapter_model.safetensors "$dir/got"
check "to the same bytes" cmp -s "$dir/got" "$(adapter local)"

# -- faults while writing ------------------------------------------------------------------------------
faults '{"rules": [{"name": "f", "kind": "upload", "every": 3, "action": "status", "status": 503},
                   {"name": "g", "kind": "upload", "every": 7, "action": "reset", "at": -1}]}'
config shaky "gs://speech/*.tar" "steps: 12"
config calm "$dir/tar/*.tar" "steps: 12"
run train calm
run cloud_train shaky
check "503 and resets while writing" test $code -eq 0
check "they happened" test "$(counter fault:f)" -ge 1
fetch runs/shaky/adapter/adapter_model.safetensors "$dir/got"
check "the same bytes" cmp -s "$dir/got" "$(adapter calm)"
faults '{"rules": [{"kind": "upload", "action": "status", "status": 403}]}'
config denied "gs://speech/*.tar" "steps: 12"
expect "no permission to write" 4 "gs://results/runs" cloud_train denied
faults '{}'
finish
