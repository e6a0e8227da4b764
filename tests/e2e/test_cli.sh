#!/bin/sh
# test_cli.sh - commands, flags, help, output and exit codes, as a user meets them.
. "$(dirname "$0")/lib"

# -- help -----------------------------------------------------------------------------------------
says "no arguments: help" "usage: attune COMMAND" "$attune"
says "--help" "usage: attune COMMAND" "$attune" --help
says "--version" "attune 0." "$attune" --version
for verb in train eval score transcribe generate doctor; do
    says "$verb --help" "usage: attune $verb" "$attune" $verb --help
    says "help $verb" "usage: attune $verb" "$attune" help $verb
    says "$verb --help tells the exit codes" "  130  interrupted" "$attune" $verb --help
done
says "help exit-codes" "    7  integrity" "$attune" help exit-codes
says "help config" 'lora.rank' "$attune" help config
check "docs/config.md is what help config prints" cmp -s "$dir/out" docs/config.md
for verb in check plan index stats show import; do
    says "data $verb --help" "usage: attune data $verb" "$attune" data $verb --help
    says "help data $verb" "usage: attune data $verb" "$attune" help data $verb
done
for words in "data" "data --help" "help data"; do
    says "$words: the commands of data" "  data check" "$attune" $words
done
says "help of help" "Topics:" "$attune" help help

# -- usage ----------------------------------------------------------------------------------------
expect "unknown command" 2 'attune: unknown command "trian"' "$attune" trian
check "unknown command: hint" grep -q 'hint: did you mean `attune train`?' "$dir/err"
check "unknown command: nothing on stdout" test ! -s "$dir/out"
expect "unknown command of data" 2 'attune: unknown command "data chekc"' "$attune" data chekc x
check "unknown command of data: hint" grep -q 'hint: did you mean `attune data check`?' "$dir/err"
expect "no command of data" 2 'data: a command is needed' "$attune" data --json
expect "no data for data" 2 'data check: no data is given' "$attune" data check
expect "no number of bytes" 2 '--memory: "much" is not a number of bytes' \
    "$attune" train --model m --train t --memory much
expect "unknown topic" 2 'help: unknown command "xyz"' "$attune" help xyz
expect "flag before the command" 2 'unknown flag "--json"' "$attune" --json
expect "unknown flag" 2 'score: unknown flag "--modle"' "$attune" score --modle x
check "unknown flag: hint" grep -q 'did you mean --model?' "$dir/err"
expect "missing value" 2 '--model needs a value' "$attune" score --model
expect "no model" 2 'transcribe: no model is given' "$attune" transcribe x.wav
expect "no file" 2 'transcribe: no file is given' "$attune" transcribe --model "$data/model"
expect "no data" 2 'score: no data is given' "$attune" score --model "$data/model"
expect "unknown variable" 2 'unknown variable ATTUNE_MODLE' \
    env ATTUNE_MODLE=x "$attune" score --model x
expect "wrong variable" 2 'ATTUNE_DEVICE: "tpu" is unknown' \
    env ATTUNE_DEVICE=tpu "$attune" score --model x --data y

# -- config files ---------------------------------------------------------------------------------
expect "missing config" 2 "$dir/none.yaml" "$attune" train "$dir/none.yaml"
printf 'model: m\nlearing_rate: 1\n' >"$dir/a.yaml"
expect "unknown key" 2 "$dir/a.yaml:2:1: unknown key \"learing_rate\"" "$attune" train "$dir/a.yaml"
check "unknown key: hint" grep -q 'hint: did you mean learning_rate?' "$dir/err"
printf 'model: m\nsteps: soon\n' >"$dir/a.yaml"
expect "wrong value" 2 "$dir/a.yaml:2:8: steps: \"soon\" is not a whole number" \
    "$attune" train "$dir/a.yaml"
printf 'model: m\ntrain: t\nmethod: full\nlora: {rank: 2}\n' >"$dir/a.yaml"
expect "key without effect" 2 'key "lora.rank" has no effect' "$attune" train "$dir/a.yaml"
printf 'model: [\n' >"$dir/a.yaml"
expect "damaged YAML" 2 "$dir/a.yaml:" "$attune" eval "$dir/a.yaml"

# -- output ---------------------------------------------------------------------------------------
score="$attune score --model $data/model --data $data/records.jsonl"
if [ -c /dev/full ]; then
    expect "full disk behind stdout" 5 'stdout: ' sh -c "$score >/dev/full"
    expect "full disk behind help" 5 'stdout: ' sh -c "$attune help config >/dev/full"
fi
expect "closed stdout" 1 'stdout: ' sh -c "$score >&-"
run sh -c "$score 2>\"$dir/err2\" | head -n 1"
check "a reader that leaves: one line" test "$(wc -l <"$dir/out")" -eq 1
check "a reader that leaves: no message" test ! -s "$dir/err2"

finish
