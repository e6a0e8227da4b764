#!/bin/sh
# test_demo.sh - the program's main job, on real sound: the shipped model learns a new speaker.
. "$(dirname "$0")/lib"

number() { sed -n 's/.*"'"$1"'": *\([0-9.]*\).*/\1/p' demo/out/result.json; }

check "the shipped checkpoint is at most 12 MB" \
    test "$(du -sk demo/model | cut -f 1)" -le 12000
run env ATTUNE="$attune" demo/run.sh
check "the demo runs to its end" test $code -eq 0
before=$(number wer_before)
after=$(number wer_after)
check "the speaker is new ($before)" awk "BEGIN { exit !($before > 0.4) }"
check "word error falls to a third or less ($after)" awk "BEGIN { exit !($after <= $before / 3) }"
check "and below 15 %" awk "BEGIN { exit !($after < 0.15) }"
adapter=$(sed -n 's/.*"adapter": *"\([^"]*\)".*/\1/p' demo/out/result.json)
check "the adapter is where the result says" test -s "$adapter/adapter_model.safetensors"
check "transcripts are shown side by side" grep -q "understood now" "$dir/out"
finish
