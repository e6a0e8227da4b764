#!/bin/sh
# test_train.sh - training as a user sees it: a run from its config, killed and stopped and gone on,
# and what it leaves behind.
. "$(dirname "$0")/lib"

cat >"$dir/speech.yaml" <<END
model: $data/model
train: $data/records.jsonl
eval: $data/records.jsonl
lora: {rank: 4, towers: [language, audio], dropout: 0.1}
steps: 24
batch: 2
learning_rate: 1e-2
eval_every: 8
save_every: 3
log_every: 4
max_new_tokens: 3
END
train() { (cd "$dir" && exec "$attune" train speech.yaml "$@"); }
adapter() { echo "$dir/$1/speech/adapter/adapter_model.safetensors"; }
loss() { sed -n 's/.*"loss":\([0-9.]*\).*/\1/p' "$dir/out" | head -n 1; }

# -- a run ----------------------------------------------------------------------------------------
run train --runs whole
check "train" test $code -eq 0
whole=$dir/whole/speech
check "adapter_config.json is PEFT's" grep -q '"peft_type": *"LORA"' "$whole/adapter/adapter_config.json"
check "one line of metrics a step" test "$(grep -c '"step":.*"grad_norm"' "$whole/metrics.jsonl")" -eq 24
check "three evaluations" test "$(grep -c 'wer' "$whole/metrics.jsonl")" -eq 3
check "no file half-written" test -z "$(find "$dir/whole" -name '*.tmp*')"
run "$attune" eval --model "$data/model" --data "$data/records.jsonl" --no-eval-generate --json
before=$(loss)
run "$attune" eval --model "$data/model" --data "$data/records.jsonl" --no-eval-generate --json \
    --adapter "$whole/adapter"
check "the loss falls ($before to $(loss))" awk "BEGIN { exit !($(loss) < $before - 1) }"
run "$attune" eval "$whole/config.yaml" --no-eval-generate --json
check "the written config reads back" test "$(loss)" = "$before"

# -- the same command again -----------------------------------------------------------------------
cp "$(adapter whole)" "$dir/first"
run train --runs whole
check "again: finished already" test $code -eq 0
check "again: nothing changed" cmp -s "$(adapter whole)" "$dir/first"
run train --runs twice
check "the same seed, the same bytes" cmp -s "$(adapter twice)" "$dir/first"
run train --runs other --seed 5
check "another seed, other bytes" sh -c "! cmp -s $(adapter other) $dir/first"

# -- interrupted ----------------------------------------------------------------------------------
steps_of() { cat "$dir/$1/speech/metrics.jsonl" 2>/dev/null | grep -c grad_norm; }
# Start, wait for N steps in the metrics, send the signal, return the exit code.
cut_short() {
    (cd "$dir" && exec "$attune" train speech.yaml --runs "$1") >"$dir/out" 2>"$dir/err" </dev/null &
    pid=$!
    tries=0
    while [ "$(steps_of "$1")" -lt "$2" ] && [ $tries -lt 1000 ] && kill -0 $pid 2>/dev/null; do
        sleep 0.02
        tries=$((tries + 1))
    done
    kill "-$3" $pid 2>/dev/null
    wait $pid
    code=$?
}
for step in 2 7 11 16 20; do cut_short killed $step KILL 2>/dev/null; done
check "killed: nothing is at the adapter's place" sh -c "[ $code -eq 0 ] || [ ! -e $dir/killed/speech/adapter ]"
run train --runs killed
check "killed five times, then done" test $code -eq 0
check "killed: the same bytes as undisturbed" cmp -s "$(adapter killed)" "$dir/first"
# A shell without job control starts its children with Ctrl-C ignored; SIGTERM is the same path.
# On a busy machine the run may be through before the signal comes: then once more.
for try in 1 2 3; do
    rm -rf "$dir/stopped"
    cut_short stopped 4 TERM
    [ $code -eq 0 ] || break
done
check "stopped: exit code 143" test $code -eq 143
check "stopped: says so" grep -q '^attune: .*progress is saved' "$dir/err"
run train --runs stopped
check "stopped, then done" test $code -eq 0
check "stopped: the same bytes as undisturbed" cmp -s "$(adapter stopped)" "$dir/first"

# -- what does not fit ----------------------------------------------------------------------------
expect "another config under the same name" 2 "learning_rate" train --runs whole --learning-rate 2e-2
check "then the run is as before" cmp -s "$(adapter whole)" "$dir/first"
# A disk that takes no more than this many blocks of 512 bytes a file: the adapter does not fit.
(ulimit -f 8; run train --runs small --eval-generate --steps 2)
check "no room: exit code is not 0" grep -q '^attune: ' "$dir/err"
check "no room: no adapter" test ! -e "$dir/small/speech/adapter"

finish
