#!/bin/sh
# test_stream.sh - training out of a bucket gives the very bytes that training from the disk gives: in
# every layout, with any number of connections, over delays, and killed at any time.
. "$(dirname "$0")/lib"
. tests/e2e/gcs
. tests/e2e/stream

bucket speech

# -- shards ---------------------------------------------------------------------------------------
make_shards "$dir/tar" shards=6 records=8 seconds=0.4
put_all "$dir/tar" speech train/
config local "$dir/tar/*.tar"
run train local
check "from the disk" test $code -eq 0
config cloud "gs://speech/train/part-{000000..000005}.tar"
trains "out of a bucket: the same bytes" cloud local
check "every shard was fetched once an epoch at most" \
    sh -c "test \$(grep -c 'GET 20[06] .*alt=media' $dir/proxy.log) -le 24"
config glob "gs://speech/tr*/*.tar"
trains "by a glob: the same bytes" glob local
config folder "gs://speech/train/"
trains "a whole folder: the same bytes" folder local
check "the lock pins what was read" grep -q '"train": "[0-9a-f]\{64\}"' "$dir/runs/cloud/attune.lock"

faults '{"rules": [{"kind": "media", "action": "delay", "seconds": 0.2, "probability": 0.4},
                   {"kind": "media", "action": "slow", "bytes_per_s": 2e6, "probability": 0.4}]}'
config one "gs://speech/train/*.tar" "connections: 1" "prefetch: 1"
trains "one connection, random delays: the same bytes" one local
config many "gs://speech/train/*.tar" "connections: 32" "prefetch: 16" "memory: 2GiB"
trains "32 connections: the same bytes" many local
faults '{}'

# -- killed ---------------------------------------------------------------------------------------
config killed "gs://speech/train/*.tar"
for step in 1 3 6 9 12 14 16; do cut_short killed $step KILL 2>/dev/null; done
trains "killed seven times, then done: the same bytes" killed local

# -- resuming reads nothing that is behind ----------------------------------------------------------
# 48 records, 4 a step: step 12 ends the epoch.  What is left of a window is read again, no more.
config late "gs://speech/train/*.tar" "steps: 12" "schedule: constant" "save_every: 1"
run train late
check "an epoch" test $code -eq 0
rm -rf "$dir/runs/late"
cut_short late 10 KILL 2>/dev/null
before=$(counter media)
run train late
check "resumed near the end of an epoch" test $code -eq 0
after=$(counter media)
check "it fetches the last windows only ($((after - before)) of 6 shards)" test $((after - before)) -le 4

check "what the killed ones fetched is gone by now" \
    test "$(du -sk "$dir/cache" 2>/dev/null | awk '{ n += $1 } END { print n + 0 }')" -lt 200

# -- tables ---------------------------------------------------------------------------------------
make_shards "$dir/table" layout=jsonl shards=2 records=24 seconds=0.4
put_all "$dir/table" speech table/
config lines "$dir/table/part*.jsonl"
run train lines
check "JSONL from the disk" test $code -eq 0
config cloudlines "gs://speech/table/part*.jsonl"
trains "JSONL with clips beside it in the bucket: the same bytes" cloudlines lines
sed 's/, "duration": [0-9.]*//' "$dir/table/part-000000.jsonl" >"$dir/table/bare.jsonl"
put "$dir/table/bare.jsonl" speech table/bare.jsonl
config bare "$dir/table/bare.jsonl"
run train bare
config cloudbare "gs://speech/table/bare.jsonl"
trains "JSONL that does not say how long the clips are: the same bytes" cloudbare bare
make_shards "$dir/far" layout=jsonl shards=2 records=24 seconds=0.4 media=gs://speech/table/
config farlines "$dir/far/*.jsonl"
trains "JSONL on the disk, clips in the bucket: the same bytes" farlines lines
make_shards "$dir/csv" layout=csv shards=2 records=24 seconds=0.4
put_all "$dir/csv" speech csv/
config cloudcsv "gs://speech/csv/*.csv"
trains "CSV: the same bytes" cloudcsv lines
make_shards "$dir/tsv" layout=tsv shards=2 records=24 seconds=0.4
for file in "$dir"/tsv/*.tsv; do
    sed '1s/text/transcript/' "$file" >"$file.new" && mv "$file.new" "$file"
done
put_all "$dir/tsv" speech tsv/
config cloudtsv "gs://speech/tsv/*.tsv" "columns: [text=transcript]"
trains "TSV with columns by another name: the same bytes" cloudtsv lines
gzip -k "$dir"/table/part*.jsonl
mkdir "$dir/zip"
mv "$dir"/table/*.gz "$dir/zip"
put_all "$dir/zip" speech table/
config cloudgz "gs://speech/table/part*.jsonl.gz"
trains "JSONL, packed: the same bytes" cloudgz lines

# -- packed shards ----------------------------------------------------------------------------------
gzip -k "$dir"/tar/*.tar
mkdir "$dir/gz"
mv "$dir"/tar/*.gz "$dir/gz"
put_all "$dir/gz" speech gz/
config shardgz "gs://speech/gz/*.tar.gz"
trains ".tar.gz: the same bytes" shardgz local
if command -v zstd >/dev/null; then
    mkdir "$dir/zst"
    for file in "$dir"/tar/*.tar; do zstd -q "$file" -o "$dir/zst/$(basename "$file").zst"; done
    put_all "$dir/zst" speech zst/
    config shardzst "gs://speech/zst/*.tar.zst"
    trains ".tar.zst: the same bytes" shardzst local
fi
finish
