#!/bin/sh
# test_train_whisper.sh - training Whisper as a user sees it: every way of training, frozen encoders, a run
# that is cut short with everything random, and records that cannot be learnt from.
. "$(dirname "$0")/lib"

whisper=$PWD/tests/data/whisper
clips=$whisper/clips
voice="\"audio\":\"$clips/voice.wav\",\"text\":\" The boat left the harbour.\""
sweep="\"audio\":\"$clips/sweep.wav\",\"text\":\" Turn left.\""
for i in 1 2 3 4; do
    echo "{\"id\":\"v$i\",$voice}"
    echo "{\"id\":\"s$i\",$sweep,\"language\":\"german\"}"
done >"$dir/train.jsonl"
cat >"$dir/speech.yaml" <<END
model: $whisper/v2
train: train.jsonl
language: en
lora: {rank: 4, towers: [language, audio]}
steps: 12
batch: 4
learning_rate: 1e-2
save_every: 3
log_every: 4
END
grep -v lora "$dir/speech.yaml" >"$dir/full.yaml"
train() { (cd "$dir" && exec "$attune" train speech.yaml "$@"); }
adapter() { echo "$dir/$1/speech/adapter/adapter_model.safetensors"; }
# The loss of a step's line in a run's metrics.
loss_at() { sed -n "$2p" "$dir/$1/speech/metrics.jsonl" | sed 's/.*"loss":\([0-9.]*\).*/\1/'; }
falls() { awk "BEGIN { exit !($(loss_at "$1" 12) < 0.8 * $(loss_at "$1" 1)) }"; }
trains() {
    name=$1 runs=$2
    shift 2
    run train --runs "$runs" "$@"
    check "$name: trains" test $code -eq 0
    check "$name: the loss falls" falls "$runs"
}

# -- ways of training -----------------------------------------------------------------------------
trains "lora" lora
check "lora: the table names both towers" grep -q "k_proj .* audio" "$dir/err"
check "lora: the line says windows" grep -q "windows/s" "$dir/err"
check "lora: the metrics count windows" test "$(grep -c '"windows":4' "$dir/lora/speech/metrics.jsonl")" -eq 12
check "lora: and so does the result" grep -q windows_per_s "$dir/lora/speech/result.json"
check "lora: what comes next is transcribe" grep -q "attune transcribe" "$dir/err"
says "lora: is scored" '"supervised_tokens"' "$attune" score --model "$whisper/v2" \
    --adapter "$dir/lora/speech/adapter" --data "$dir/train.jsonl" --language en
run sh -c "cd '$dir' && exec '$attune' train full.yaml --name speech --runs full --method full \
    --learning-rate 3e-3 --label-smoothing 0.1 --checkpointing"
check "full: trains" test $code -eq 0
check "full: the loss falls" falls full
says "full: the model is whole" '"supervised_tokens"' "$attune" score \
    --model "$dir/full/speech/model" --data "$dir/train.jsonl" --language en
trains "dora, in parts" dora --lora-dora --lora-rslora --accumulate 2
trains "4bit" four --quantize 4bit --quantize-group 32
trains "joined" joined --join-audio timestamps
check "joined: fewer windows than clips" \
    awk 'BEGIN { RS = "\"windows\":" } NR > 1 { n += $1 } END { exit !(n > 0 && n < 48) }' \
    FS=, "$dir/joined/speech/metrics.jsonl"
trains "detected languages, short windows" detect --language detect --audio-length clip

# -- a frozen encoder -----------------------------------------------------------------------------
trains "frozen encoder" frozen --lora-towers language
check "frozen: outputs are kept" grep -q '"tower_cache"' "$dir/frozen/speech/result.json"
run train --runs again --lora-towers language --tower-cache 0
check "frozen: none are kept without room" sh -c "! grep -q tower_cache.: '$dir/again/speech/result.json'"
check "frozen: the loss is the same" \
    awk "BEGIN { d = $(loss_at frozen 12) - $(loss_at again 12); exit !(d < 1e-3 && d > -1e-3) }"

# -- cut short ------------------------------------------------------------------------------------
random="--lora-dropout 0.1 --dropout 0.1 --label-smoothing 0.1 --mask-time-prob 0.1
        --mask-feature-prob 0.1 --join-audio plain"
# shellcheck disable=SC2086
run train --runs whole $random
check "random: trains" test $code -eq 0
# shellcheck disable=SC2086
(cd "$dir" && exec "$attune" train speech.yaml --runs cut $random) >"$dir/out" 2>"$dir/err" </dev/null &
pid=$!
tries=0
while ! grep -q '"step":4,' "$dir/cut/speech/metrics.jsonl" 2>/dev/null && [ $tries -lt 1000 ] &&
    kill -0 $pid 2>/dev/null; do
    sleep 0.01
    tries=$((tries + 1))
done
kill -KILL $pid 2>/dev/null
wait $pid 2>/dev/null
# shellcheck disable=SC2086
run train --runs cut $random
check "random: goes on" test $code -eq 0
check "random: to the same bytes" cmp -s "$(adapter whole)" "$(adapter cut)"

# -- bad input ------------------------------------------------------------------------------------
# A bad record behind a good one, which is scored.
refused() {
    name=$1 text=$2
    shift 2
    { echo "{$voice,\"language\":\"en\"}"; cat; } >"$dir/bad.jsonl"
    run "$attune" score --model "$whisper/v2" --data "$dir/bad.jsonl" "$@"
    if [ $code -ne 3 ]; then
        fail "$name" "exit code $code, expected 3"
    elif ! grep -q -F -e "$text" "$dir/err" || ! grep -q -F "1 of 2 records" "$dir/err"; then
        fail "$name" "expected '$text', once"
    elif [ "$(wc -l <"$dir/out")" -ne 1 ]; then
        fail "$name" "expected one line"
    else
        pass "$name"
    fi
}
record() { echo "{\"audio\":\"$clips/$1.wav\",\"language\":\"en\",$2}"; }
many=$(printf ' boat%.0s' $(seq 200))
echo "{$voice,\"language\":\"germn\"}" | refused "a wrong language" "language"
echo "{$voice}" | refused "no language" "no language"
echo "{$voice,\"language\":\"en\",\"task\":\"sing\"}" | refused "a wrong task" "task"
record voice "\"text\":\"$many\"" | refused "a label that is too long" "96"
record long '"text":"a"' | refused "long sound without segments" "long.wav"
record voice '"segments":[{"start":0.5,"end":0.9,"text":" a"},{"start":0.2,"end":0.4,"text":" b"}]' |
    refused "times out of order" "segments[1]" --timestamps
record voice '"segments":[{"start":0.5,"end":3.9,"text":" a"}]' |
    refused "times beyond the clip" "segments[0]" --timestamps
record voice '"text":"a <|endoftext|> b"' | refused "a special token in the text" "<|endoftext|>"
head -c 44 "$clips/voice.wav" >"$dir/silence.wav"
head -c 51200 /dev/zero >>"$dir/silence.wav"
echo "{\"audio\":\"silence.wav\",\"text\":\"a\",\"language\":\"en\"}" | refused "silence" "silen"
echo '{"text":"a"}' >"$dir/mute.jsonl"
expect "no sound at all" 2 "no record has a clip" train --train mute.jsonl --name mute
expect "a wrong language for all" 2 "language" train --name tongue --language germn
expect "a setting of another family" 2 "pack_tokens" train --name packed --pack-tokens 64
expect "a tower that is not there" 2 "vision" train --name blind --lora-towers vision
expect "generate" 2 "answers no prompts" "$attune" generate --model "$whisper/v2" hello
expect "English only" 2 "English only" train --name english --model "$whisper/en" --language de
finish
