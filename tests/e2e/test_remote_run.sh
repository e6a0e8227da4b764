#!/bin/sh
# test_remote_run.sh - a run that lives in a bucket: on one machine, on another one, on a lost disk.
. "$(dirname "$0")/lib"
. "$(dirname "$0")/gcs"

bucket runs
cat >"$dir/speech.yaml" <<END
model: $data/model
train: $data/records.jsonl
lora: {rank: 4, dropout: 0.1}
steps: 12
batch: 2
learning_rate: 1e-2
save_every: 3
log_every: 4
retry_for: 20
END
train() { (cd "$dir" && exec "$attune" train speech.yaml --quiet "$@"); }
# Names of the bucket's objects that begin with $1.
objects() {
    curl -s "$origin/storage/v1/b/runs/o?prefix=$1" | grep -o '"name":"[^"]*"' | cut -d '"' -f 4
}
fetch() { curl -s -f -o "$2" "$origin/storage/v1/b/runs/o/$(url_encode "$1")?alt=media"; }
seen() { objects "$1" | grep -q "$2"; }
result() { echo "$dir/$1/runs/runs/a/speech/adapter/adapter_model.safetensors"; }

# -- the same as on a disk ------------------------------------------------------------------------
run train --runs "$dir/local"
check "on the disk" test $code -eq 0
want="$dir/local/speech/adapter/adapter_model.safetensors"
run train --runs gs://runs/a --cache-dir "$dir/one"
check "in the bucket" test $code -eq 0
check "the same bytes" cmp -s "$(result one)" "$want"
fetch a/speech/adapter/adapter_model.safetensors "$dir/fetched"
check "the bucket has them" cmp -s "$dir/fetched" "$want"
for name in config.yaml metrics.jsonl attune.lock data.jsonl result.json log.txt \
    ckpt/000012/manifest.json ckpt/000009/weights.safetensors; do
    check "the bucket has $name" seen a/speech/ "^a/speech/$name\$"
done
check "two checkpoints, as on the disk" \
    test "$(objects a/speech/ckpt/ | grep -c manifest.json)" -eq 2
check "nothing of this machine's" test -z "$(objects a/speech/ | grep -E '/(lock|machine)$')"
run train --runs gs://runs/a --cache-dir "$dir/one"
check "again: finished" test $code -eq 0

# -- another machine, and one without its disk -----------------------------------------------------
run "$attune" train "$dir/speech.yaml" --runs gs://runs/a --cache-dir "$dir/two" --json
check "another machine finds it finished" grep -q '"was_finished":true' "$dir/out"
check "... and has the result" cmp -s "$(result two)" "$want"
check "... and was not asked to train" test "$(grep -c grad_norm "$dir/two/runs/runs/a/speech/metrics.jsonl")" -eq 12

cut_short() {
    (cd "$dir" && exec "$attune" train speech.yaml --runs gs://runs/b --cache-dir "$dir/$1") \
        >"$dir/out" 2>"$dir/err" </dev/null &
    pid=$!
    tries=0
    until seen b/speech/ "$2" || [ $tries -gt 600 ] || ! kill -0 $pid 2>/dev/null; do
        sleep 0.02
        tries=$((tries + 1))
    done
    kill "-$3" $pid 2>/dev/null
    wait $pid
    code=$?
}
cut_short three 'ckpt/0000.*manifest.json' TERM
if [ $code -eq 143 ]; then
    check "stopped: says where" grep -q 'progress is saved in gs://runs/b/speech' "$dir/err"
fi
rm -rf "$dir/three"
run train --runs gs://runs/b --cache-dir "$dir/four"
check "another disk goes on" test $code -eq 0
fetch b/speech/adapter/adapter_model.safetensors "$dir/fetched"
check "... to the same bytes" cmp -s "$dir/fetched" "$want"

# -- two at once ----------------------------------------------------------------------------------
now=$(date +%s)
printf '{"machine":"other","host":"studio","running":true,"seen_s":%s}' "$now" >"$dir/owner"
put "$dir/owner" runs c/speech/owner.json
expect "another machine writes it" 75 'is being written by another machine, studio' \
    "$attune" train "$dir/speech.yaml" --runs gs://runs/c --cache-dir "$dir/five"
check "... and how to take over" grep -q 'hint: .*gs://runs/c/speech/owner.json' "$dir/err"
printf '{"machine":"other","host":"studio","running":false,"seen_s":%s}' "$now" >"$dir/owner"
put "$dir/owner" runs c/speech/owner.json
run train --runs gs://runs/c --cache-dir "$dir/five" --steps 3 --warmup-steps 0
check "it ended there: we go on" test $code -eq 0

# -- a bucket that cannot be written ----------------------------------------------------------------
expect "no such bucket" 3 'runs: gs://nowhere/x/speech' \
    "$attune" train "$dir/speech.yaml" --runs gs://nowhere/x --cache-dir "$dir/six"
expect "no store for runs" 2 'runs: s3://b/x cannot be written to' \
    "$attune" train "$dir/speech.yaml" --runs s3://b/x
expect "no name for runs" 2 'runs: gs://b/../x is no gs://bucket/prefix' \
    "$attune" train "$dir/speech.yaml" --runs gs://b/../x

# -- predictions and blacklist ---------------------------------------------------------------------
run "$attune" eval --model "$data/model" --data "$data/records.jsonl" --max-new-tokens 3 --quiet \
    --predictions gs://runs/out/predictions.jsonl --blacklist gs://runs/out/list.csv
check "eval writes to a bucket" test $code -eq 0
fetch out/predictions.jsonl "$dir/fetched"
check "predictions are there" grep -q '"hypothesis"' "$dir/fetched"
fetch out/list.csv "$dir/fetched"
check "the blacklist is there" grep -q '^id,text,predicted' "$dir/fetched"

# -- clips by URI ----------------------------------------------------------------------------------
bucket speech
put_all "$data" speech
run "$attune" transcribe --model "$data/model" --max-new-tokens 4 "$data/a.wav"
cp "$dir/out" "$dir/here"
run "$attune" transcribe --model "$data/model" --max-new-tokens 4 gs://speech/a.wav
check "transcribe: the same text by URI" cmp -s "$dir/out" "$dir/here"
run "$attune" generate --model "$data/model" --max-new-tokens 4 --audio "$data/a.wav" what
cp "$dir/out" "$dir/here"
run "$attune" generate --model "$data/model" --max-new-tokens 4 --audio gs://speech/a.wav what
check "generate: the same text by URI" cmp -s "$dir/out" "$dir/here"
expect "transcribe: a missing clip" 3 '1 of 1 files could not be used' \
    "$attune" transcribe --model "$data/model" gs://speech/none.wav
check "... is named" grep -q 'gs://speech/none.wav' "$dir/err"

# -- waiting for data, and being stopped meanwhile --------------------------------------------------
run train --runs "$dir/runs" --name far --train gs://speech/records.jsonl
check "a table in a bucket" test $code -eq 0
far="$dir/runs/far/adapter/adapter_model.safetensors"
check "metrics tell what was fetched" grep -q '"fetched_bytes":' "$dir/runs/far/metrics.jsonl"
faults '{"rules": [{"name": "away", "path": "wav", "kind": "media", "action": "status", "status": 503}]}'
(cd "$dir" && exec "$attune" train speech.yaml --runs "$dir/runs" --name waits --retry-for 600 \
    --train gs://speech/records.jsonl) >"$dir/out" 2>"$dir/err" </dev/null &
pid=$!
wait_for 60 grep -q 'waiting for data 1[0-9] s: 503 x ' "$dir/err"
check "says what it waits for" grep -q 'waiting for data 1[0-9] s: 503 x ' "$dir/err"
kill -TERM $pid
wait $pid
code=$?
check "stopped while it waits: exit code 143" test $code -eq 143
check "... and one line about it" \
    test "$(grep -c '^attune: stopped \(before the first step\|after step\)' "$dir/err")" -eq 1
faults '{"rules": [{"name": "later", "path": "wav", "kind": "media", "skip": 9, "action": "status", "status": 503}]}'
expect "away in the middle" 75 'progress is saved after step' \
    "$attune" train "$dir/speech.yaml" --runs "$dir/runs" --name middle --retry-for 1 --prefetch 1 \
    --save-every 1000 --train gs://speech/records.jsonl
faults '{}'
run train --runs "$dir/runs" --name middle --save-every 1000 --train gs://speech/records.jsonl
check "... and then goes on" test $code -eq 0
check "... to the same bytes" cmp -s "$dir/runs/middle/adapter/adapter_model.safetensors" "$far"

finish
