#!/bin/sh
# test_export.sh - a model and its adapter as one folder: it computes the same, and every tool finds
# the files it reads.
. "$(dirname "$0")/lib"

whisper=$PWD/tests/data/whisper
out=$dir/merged

# The losses of the records in $1, one a line.
losses() { sed 's/.*"loss"://; s/,.*//' "$1"; }
# same A B: do their losses agree within 1e-5?
same() {
    losses "$1" >"$dir/a"; losses "$2" >"$dir/b"
    paste "$dir/a" "$dir/b" | awk '{ d = $1 - $2; if (d > 1e-5 || d < -1e-5) bad = 1 }
        END { exit bad || !NR }'
}
# value FILE KEY: a top-level text of a JSON file that has a key a line.
value() { sed -n "s/^ *\"$2\": *\"\([^\"]*\)\".*/\1/p" "$1" | head -n 1; }

# -- gemma ----------------------------------------------------------------------------------------
run "$attune" score --model "$data/model" --adapter "$data/adapter" --data "$data/records.jsonl"
cp "$dir/out" "$dir/with"
run "$attune" score --model "$data/model" --data "$data/records.jsonl"
cp "$dir/out" "$dir/without"
run "$attune" export --model "$data/model" --adapter "$data/adapter" --output "$out"
check "gemma: is written" test $code -eq 0 -a ! -s "$dir/out" -a -s "$out/model.safetensors"
check "gemma: is told" grep -q "^wrote $out: float32, adapter merged" "$dir/err"
run "$attune" score --model "$out" --data "$data/records.jsonl"
check "gemma: computes what the adapter does" same "$dir/out" "$dir/with"
differ() { ! same "$1" "$2"; }
check "gemma: and not what the base does" differ "$dir/out" "$dir/without"
for file in config.json generation_config.json tokenizer.json processor_config.json; do
    check "gemma: has $file" test -s "$out/$file"
done
check "gemma: has no tables of another tokenizer" test ! -e "$out/vocab.json"
check "gemma: nothing is left beside it" test "$(ls -A "$dir" | grep -c '^merged')" -eq 1

# -- places ---------------------------------------------------------------------------------------
says "again: replaces its own" "{\"model\":\"$out/\",\"dtype\":\"bfloat16\",\"merged_layers\":0}" \
    "$attune" export --model "$data/model" --output "$out/" --dtype bf16 --json
check "again: config.json says the new dtype" test "$(value "$out/config.json" dtype)" = bfloat16
touch "$out/notes.txt"
expect "a folder that somebody added to" 2 'there is notes.txt, which is not of an earlier export' \
    "$attune" export --model "$data/model" --output "$out"
check "a folder that somebody added to is as it was" test -e "$out/notes.txt" -a \
    "$(value "$out/config.json" dtype)" = bfloat16
expect "the model's own folder" 2 'this is the folder that the model is read from' \
    "$attune" export --model "$out" --output "$dir/../$(basename "$dir")/merged"
expect "the adapter's folder" 2 'which is not of an earlier export' \
    "$attune" export --model "$data/model" --adapter "$data/adapter" --output "$data/adapter"
expect "a file" 2 'this is a file' "$attune" export --model "$data/model" --output "$dir/err"
expect "a bucket" 2 'expected a folder on this machine' \
    "$attune" export --model "$data/model" --output gs://bucket/model
expect "no output" 2 'output' "$attune" export --model "$data/model"
expect "no model" 2 'no such folder' "$attune" export --model "$dir/none" --output "$dir/new"
expect "an adapter of another model" 2 'adapter' \
    "$attune" export --model "$whisper/v2" --adapter "$data/adapter" --output "$dir/new"
check "nothing is left of what failed" sh -c "! ls -d $dir/new* >/dev/null 2>&1"

# -- whisper --------------------------------------------------------------------------------------
base="--model $whisper/v2"
records=$whisper/score/v2.records.jsonl
cat >"$dir/c.yaml" <<END
model: $whisper/v2
train: $records
runs: $dir/runs
name: tuned
steps: 4
batch: 2
learning_rate: 0.05
lora: {rank: 4, towers: [language, audio]}
END
run "$attune" train "$dir/c.yaml"
check "whisper: a short training" test $code -eq 0
adapter=$dir/runs/tuned/adapter
run "$attune" score $base --data "$records"
cp "$dir/out" "$dir/without"
run "$attune" score $base --adapter "$adapter" --data "$records"
cp "$dir/out" "$dir/with"
check "whisper: the adapter changes it" differ "$dir/with" "$dir/without"
run "$attune" export $base --adapter "$adapter" --output "$dir/whisper"
check "whisper: is written" test $code -eq 0
run "$attune" score --model "$dir/whisper" --data "$records"
check "whisper: computes what the adapter does" same "$dir/out" "$dir/with"
for file in config.json generation_config.json preprocessor_config.json tokenizer.json \
    tokenizer_config.json vocab.json merges.txt added_tokens.json; do
    check "whisper: has $file" test -s "$dir/whisper/$file"
done
check "whisper: added tokens" grep -q '^  "<|startoftranscript|>": 395,$' \
    "$dir/whisper/added_tokens.json"
run "$attune" export $base --adapter "$adapter" --output "$dir/half" --dtype f16
check "whisper: f16" test $code -eq 0 -a "$(value "$dir/half/config.json" dtype)" = float16
half=$(wc -c <"$dir/half/model.safetensors")
whole=$(wc -c <"$dir/whisper/model.safetensors")
check "whisper: f16 is smaller" test "$half" -lt $((whole * 6 / 10))
run "$attune" export --model "$dir/half" --output "$dir/again"
check "whisper: by default as it is stored" \
    test "$(value "$dir/again/config.json" dtype)" = float16
check "whisper: the same numbers" cmp -s "$dir/half/model.safetensors" \
    "$dir/again/model.safetensors"
expect "f16 is for export" 2 'f16' "$attune" transcribe $base --dtype f16 "$whisper/clips/voice.wav"

finish
