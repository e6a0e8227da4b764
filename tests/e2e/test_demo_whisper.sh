#!/bin/sh
# test_demo_whisper.sh - the shipped Whisper learns a new speaker.
. "$(dirname "$0")/lib"

number() { sed -n 's/.*"'"$1"'": *\([0-9.]*\).*/\1/p' demo/out/whisper/result.json; }

check "the shipped checkpoint is at most 5 MB" \
    test "$(du -sk demo/whisper | cut -f 1)" -le 5000
run env ATTUNE="$attune" demo/run.sh whisper
check "the demo runs to its end" test $code -eq 0
before=$(number wer_before)
after=$(number wer_after)
check "the speaker is new ($before)" awk "BEGIN { exit !($before > 0.3) }"
check "word error falls to a third or less ($after)" awk "BEGIN { exit !($after <= $before / 3) }"
check "and below 15 %" awk "BEGIN { exit !($after < 0.15) }"
adapter=$(sed -n 's/.*"adapter": *"\([^"]*\)".*/\1/p' demo/out/whisper/result.json)
check "the adapter is where the result says" test -s "$adapter/adapter_model.safetensors"
finish
