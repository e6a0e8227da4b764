#!/bin/sh
# test_stream_data.sh - attune data over a bucket: check, plan, index, stats, show.
. "$(dirname "$0")/lib"
. tests/e2e/gcs
. tests/e2e/stream

bucket speech
make_shards "$dir/tar" shards=3 records=8 seconds=0.4
put_all "$dir/tar" speech train/
pattern="gs://speech/train/*.tar"

# -- check ----------------------------------------------------------------------------------------
says "data check" "24" "$attune" data check "$pattern"
says "data check --json" '"records":24' "$attune" data check "$pattern" --json
check "it fetched every shard" test "$(grep -c 'GET 20[06] .*alt=media' "$dir/proxy.log")" -ge 3
# A clip cut short, a text that is missing, twice the same.
make_shards "$dir/bad" layout=jsonl shards=1 records=6 seconds=0.4
sed '2s/"text": "[^"]*", //' "$dir/bad/part-000000.jsonl" >"$dir/bad/list.jsonl"
sed -n 4p "$dir/bad/part-000000.jsonl" >>"$dir/bad/list.jsonl"
head -c 30 "$dir/bad/clips/clip-000002.wav" >"$dir/bad/short"
mv "$dir/bad/short" "$dir/bad/clips/clip-000002.wav"
rm "$dir/bad/clips/clip-000004.wav"
put_all "$dir/bad" speech bad/
run "$attune" data check gs://speech/bad/list.jsonl
check "data check: bad records have exit code 3" test $code -eq 3
for line in 2 3 5; do
    check "data check names line $line" grep -q "list.jsonl:$line" "$dir/out" "$dir/err"
done

# -- plan -----------------------------------------------------------------------------------------
before=$(counter media)
says "data plan" "gs://" "$attune" data plan "$pattern" --batch 4 --steps 30
run "$attune" data plan "$pattern" --batch 4 --steps 30 --json
check "data plan --json" test $code -eq 0
bytes=$(cat "$dir"/tar/*.tar | wc -c | tr -d ' ')
check "it knows the bytes ($bytes)" grep -q "$bytes" "$dir/out"
check "it fetches no shard" test $(($(counter media) - before)) -le 6

# -- index ----------------------------------------------------------------------------------------
run "$attune" data index "$pattern"
check "data index" test $code -eq 0
check "the indexes lie beside the shards" test "$(curl -s "$origin/storage/v1/b/speech/o?prefix=train/" |
    grep -o '"name":"[^"]*\.tar\.idx"' | wc -l)" -eq 3
config local "$dir/tar/*.tar"
run train local
config indexed "$pattern"
trains "training by the indexes: the same bytes" indexed local
make_shards "$dir/other" shards=3 records=8 seconds=0.4 seed=5
put "$dir/other/part-000001.tar" speech train/part-000001.tar
config stale "$pattern"
cp "$dir/other/part-000001.tar" "$dir/tar/part-000001.tar"
rm -rf "$dir/runs/local"
run train local
trains "an index of another version of its shard is not used" stale local
check "and named" grep -q 'gs://speech/train/part-000001.tar.idx' "$dir/err"

# -- stats, show ----------------------------------------------------------------------------------
says "data stats" "24" "$attune" data stats "$pattern"
says "data show" "clip-000003" "$attune" data show "$pattern" --limit 5
faults '{"rules": [{"kind": "media", "per_path": true, "nth": 1, "action": "flip"}]}'
says "data check over a bad line: as before" '"records":24' "$attune" data check "$pattern" --json
faults '{"outage": true}'
expect "data check without a network" 75 "gs://speech" "$attune" data check "$pattern" --retry-for 2
finish
