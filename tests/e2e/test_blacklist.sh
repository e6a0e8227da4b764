#!/bin/sh
# test_blacklist.sh - the loop of finding records whose text is wrong: eval lists them, patches leave them
# out or correct them, and what comes next knows.
. "$(dirname "$0")/lib"

eval_with() {
    run "$attune" eval --model "$data/model" --data "$data/records.jsonl" --max-new-tokens 3 "$@"
}
ids() { cut -d , -f 1 "$1" | sed 1d; }
bad=$dir/patches/delete/far-off.csv
mkdir -p "$dir/patches/delete" "$dir/patches/do_not_blacklist" "$dir/patches/override_text"

eval_with --json
all=$(sed -n 's/.*"records":\([0-9]*\).*/\1/p' "$dir/out")
transcripts=$(sed -n 's/.*"transcripts":\([0-9]*\).*/\1/p' "$dir/out")
check "there are records and transcripts ($all, $transcripts)" test "${transcripts:-0}" -gt 1

# -- the list --------------------------------------------------------------------------------------
eval_with --blacklist "$bad"
listed=$(ids "$bad" | wc -l)
check "a random model is far off" test "$listed" -eq "$transcripts"
check "the first line names the columns" \
    test "$(head -n 1 "$bad")" = "id,text,predicted,wer,cer,reason"
check "says how many" grep -q "far-off.csv: $listed records with a word error rate" "$dir/err"
check "says what to do" grep -q 'patches/override_text/' "$dir/err"
eval_with --blacklist "$dir/none.csv" --blacklist-wer 900
check "nothing is that far off" test "$(wc -l <"$dir/none.csv")" -eq 1

# -- protected records ------------------------------------------------------------------------------
echo id >"$dir/patches/do_not_blacklist/keep.csv"
echo clip >>"$dir/patches/do_not_blacklist/keep.csv"
rm "$bad"
eval_with --blacklist "$bad" --patches "$dir/patches"
check "protected: not listed" sh -c "! grep -q '^clip,' '$bad'"
check "protected: counted" grep -q '1 more are protected by do_not_blacklist' "$dir/err"
kept=$((all - $(ids "$bad" | grep -vc ':')))

# -- the loop closes --------------------------------------------------------------------------------
eval_with --patches "$dir/patches" --json
check "deleted records are left out" grep -q "\"records\":$kept[,}]" "$dir/out"
cat >"$dir/speech.yaml" <<END
model: $data/model
train: $data/records.jsonl
steps: 2
batch: $all
warmup_steps: 0
runs: $dir/runs
END
run "$attune" train "$dir/speech.yaml"
tokens_all=$(sed -n 's/.*"supervised_tokens":\([0-9]*\).*/\1/p' "$dir/runs/speech/metrics.jsonl" | head -n 1)
run "$attune" train "$dir/speech.yaml" --patches "$dir/patches" --name patched
check "training takes patches" test $code -eq 0
tokens=$(sed -n 's/.*"supervised_tokens":\([0-9]*\).*/\1/p' "$dir/runs/patched/metrics.jsonl" | head -n 1)
check "training leaves them out ($tokens of $tokens_all tokens)" test "$tokens" -lt "$tokens_all"
run "$attune" score --model "$data/model" --data "$data/records.jsonl" --patches "$dir/patches"
check "so does score" test "$(wc -l <"$dir/out")" -eq "$kept"
run "$attune" data check "$data/records.jsonl" --patches "$dir/patches" --json
check "so does data check" grep -q "\"records\": *$kept[,}]" "$dir/out"
expect "other patches, another run" 2 'patches (its files are others)' \
    sh -c "echo id >'$dir/patches/delete/more.csv'; echo text >>'$dir/patches/delete/more.csv';
           exec '$attune' train '$dir/speech.yaml' --patches '$dir/patches' --name patched --steps 3 --schedule constant"

# -- corrected texts ---------------------------------------------------------------------------------
mv "$bad" "$dir/patches/override_text/"
rm "$dir/patches/delete/more.csv"
sed 's/^\([^,]*\),[^,]*,/\1,a corrected text,/' "$dir/patches/override_text/far-off.csv" >"$dir/mended"
mv "$dir/mended" "$dir/patches/override_text/far-off.csv"
eval_with --patches "$dir/patches" --predictions "$dir/out.jsonl" --json
check "corrected records are back" grep -q "\"records\":$all[,}]" "$dir/out"
check "... with their new text" grep -q '"reference":"a corrected text"' "$dir/out.jsonl"

# -- wrong use ---------------------------------------------------------------------------------------
expect "no transcripts, no blacklist" 2 '--blacklist: has no effect: eval_generate is no' \
    "$attune" eval --model "$data/model" --data "$data/records.jsonl" --no-eval-generate --blacklist x.csv
expect "a folder that is none of patches" 2 'patches: ' \
    "$attune" eval --model "$data/model" --data "$data/records.jsonl" --patches "$dir/runs"

finish
