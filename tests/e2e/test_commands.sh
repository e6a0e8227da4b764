#!/bin/sh
# test_commands.sh - score, eval, transcribe and generate on the fixture checkpoint.
. "$(dirname "$0")/lib"

model="--model $data/model"

# -- score ----------------------------------------------------------------------------------------
says "score" '"id":"clip"' "$attune" score $model --data "$data/records.jsonl"
check "score: a line for each record" test "$(wc -l <"$dir/out")" -eq 6
check "score: nothing on stderr" test ! -s "$dir/err"
check "score: no ids unless asked" sh -c "! grep -q input_ids $dir/out"
cp "$dir/out" "$dir/first"
run "$attune" score $model --data "$data/records.jsonl"
check "score: the same twice" cmp -s "$dir/out" "$dir/first"
says "score: --ids" '"input_ids":[2,' "$attune" score $model --data "$data/*s.jsonl" --ids
run "$attune" score $model --adapter "$data/adapter" --data "$data/records.jsonl"
check "score: an adapter changes it" sh -c "! cmp -s $dir/out $dir/first"
cp "$data/a.wav" "$dir"
printf '{"audio":"a.wav","text":"one"}\n' >"$dir/one.jsonl"
says "score: a record without id has file:line" "\"id\":\"$dir/one.jsonl:1\"" \
    "$attune" score $model --data "$dir/one.jsonl"

# -- eval -----------------------------------------------------------------------------------------
printf '{"id":"x","audio":"%s/a.wav","text":"good morning"}\n' "$data" >"$dir/dev.jsonl"
loss=$(sed -n 's/.*"id": "clip".*"loss": \([0-9.]*\),.*/\1/p' "$data/expected.jsonl")
loss=$(printf 'loss        %.4f' "$loss")
says "eval: loss" "$loss" \
    "$attune" eval $model --data "$dir/dev.jsonl" --max-new-tokens 5
check "eval: WER" grep -q '^WER  *[0-9.]* %  (of 2 words: ' "$dir/out"
check "eval: normaliser" grep -q 'normaliser: basic' "$dir/out"
check "eval: reference" grep -q 'reference   good morning' "$dir/out"
says "eval: --json" '"records":1,"bad_records":0,"supervised_tokens":6' \
    "$attune" eval $model --data "$dir/dev.jsonl" --max-new-tokens 5 --json \
    --predictions "$dir/predictions.jsonl"
check "eval: --json is one line" test "$(wc -l <"$dir/out")" -eq 1
check "eval: predictions" grep -q '^{"id":"x","reference":"good morning","hypothesis":' \
    "$dir/predictions.jsonl"
says "eval: without transcripts" 'perplexity' \
    "$attune" eval $model --data "$dir/dev.jsonl" --no-eval-generate
check "eval: then no WER" sh -c "! grep -q WER $dir/out"
printf 'model: %s/model\ntrain: t.jsonl\neval: %s\nsteps: 3\neval_generate: no\n' \
    "$data" "$dir/dev.jsonl" >"$dir/c.yaml"
says "eval: from a config" "$loss" "$attune" eval "$dir/c.yaml"
(ulimit -f 0; run "$attune" eval $model --data "$dir/dev.jsonl" --max-new-tokens 5 \
    --predictions "$dir/big.jsonl")
check "eval: predictions that do not fit leave no file" test ! -e "$dir/big.jsonl"

# -- transcribe -----------------------------------------------------------------------------------
run "$attune" transcribe $model "$data/a.wav" --max-new-tokens 8
check "transcribe: one file, one line" test $code -eq 0 -a "$(wc -l <"$dir/out")" -eq 1
check "transcribe: no path for one file" sh -c "! grep -q a.wav $dir/out"
cp "$dir/out" "$dir/alone"
run "$attune" transcribe $model "$data/a.wav" "$data/b.wav" --max-new-tokens 8
check "transcribe: two files, two lines" test $code -eq 0 -a "$(wc -l <"$dir/out")" -eq 2
check "transcribe: path, tab, text" test "$(head -n 1 "$dir/out")" = \
    "$data/a.wav	$(cat "$dir/alone")"
says "transcribe: --json" "{\"file\":\"$data/a.wav\",\"text\":" \
    "$attune" transcribe $model "$data/a.wav" --max-new-tokens 3 --json
printf 'no sound' >"$dir/bad.wav"
expect "transcribe: goes on over bad files" 3 'transcribe: 2 of 3 files could not be used' \
    "$attune" transcribe $model "$dir/none.wav" "$data/a.wav" "$dir/bad.wav" --max-new-tokens 8
check "transcribe: the good one is there" test "$(cat "$dir/out")" = \
    "$data/a.wav	$(cat "$dir/alone")"
check "transcribe: the missing one is named" grep -q "^error: $dir/none.wav: " "$dir/err"
check "transcribe: the damaged one is named" grep -q "^error: $dir/bad.wav: " "$dir/err"

# A sound file of raw 16-bit samples: 44 bytes of header, then $1.
byte() { printf "\\$(printf %03o $(($1 & 255)))"; }
le32() { byte "$1"; byte $(($1 >> 8)); byte $(($1 >> 16)); byte $(($1 >> 24)); }
wav_of() {
    size=$(wc -c <"$1")
    printf RIFF; le32 $((size + 36)); printf 'WAVEfmt '
    le32 16; printf '\001\000\001\000'; le32 16000; le32 32000; printf '\002\000\020\000data'
    le32 "$size"; cat "$1"
}
# 63 seconds: more than the model listens at once.
tail -c +45 "$data/a.wav" >"$dir/piece"
i=0
while [ $i -lt 140 ]; do cat "$dir/piece"; i=$((i + 1)); done >"$dir/long.raw"
wav_of "$dir/long.raw" >"$dir/long.wav"
run "$attune" transcribe $model "$dir/long.wav" --max-new-tokens 5
check "transcribe: a long file" test $code -eq 0 -a "$(wc -l <"$dir/out")" -eq 1
check "transcribe: in three pieces" awk '{ n += NF } END { exit n < 3 }' "$dir/out"
head -c 2016000 /dev/zero >"$dir/silent.raw"
wav_of "$dir/silent.raw" >"$dir/silent.wav"
expect "transcribe: a long silent file" 3 "silent.wav" \
    "$attune" transcribe $model "$dir/silent.wav"

# -- generate -------------------------------------------------------------------------------------
run "$attune" generate $model "turn on" --max-new-tokens 4
check "generate: answers" test $code -eq 0
cp "$dir/out" "$dir/answer"
printf 'turn on' | "$attune" generate $model --max-new-tokens 4 >"$dir/out" 2>"$dir/err"
check "generate: prompt on stdin" cmp -s "$dir/out" "$dir/answer"
says "generate: --json" '"prompt_tokens":' \
    "$attune" generate $model --audio "$data/a.wav" "what" --max-new-tokens 4 --json
expect "generate: no such clip" 3 'none.wav' \
    "$attune" generate $model --audio "$dir/none.wav" "what"
expect "generate: a special token in the prompt" 3 '<|turn>' "$attune" generate $model 'a <|turn> b'

finish
