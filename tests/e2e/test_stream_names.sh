#!/bin/sh
# test_stream_names.sh - odd names, odd objects, pages of lists, and who pays.
. "$(dirname "$0")/lib"
. tests/e2e/gcs
. tests/e2e/stream

bucket odd
make_shards "$dir/tar" shards=3 records=8 seconds=0.4
config local "$dir/tar/*.tar" "steps: 12"
run train local
check "from the disk" test $code -eq 0

# -- names ----------------------------------------------------------------------------------------
n=0
for file in "$dir"/tar/*.tar; do
    put "$file" odd "a folder/50% ünï+cödé #1?&=/part $n.tar"
    n=$((n + 1))
done
config names "gs://odd/a folder/50% ünï+cödé #1[?]&=/part *.tar" "steps: 12"
trains "spaces, percents, plus signs, unicode: the same bytes" names local
config names2 "gs://odd/a folder/50% ünï+cödé #1[?]&=/part {0..2}.tar" "steps: 12"
trains "the same names by an expansion" names2 local
printf '{"audio": "tö ne%%20 +.wav", "text": "good morning"}\n' >"$dir/odd.jsonl"
put "$dir/odd.jsonl" odd "lists/ä b.jsonl"
put "$data/a.wav" odd "lists/tö ne%20 +.wav"
says "a clip with an odd name" '"logprobs"' "$attune" score --model "$data/model" --data "gs://odd/lists/ä b.jsonl"

# -- kinds of objects -------------------------------------------------------------------------------
gzip -c "$dir/odd.jsonl" >"$dir/odd.gz"
put "$dir/odd.gz" odd "lists/coded.jsonl" contentEncoding=gzip
says "a table stored with Content-Encoding: gzip" '"logprobs"' \
    "$attune" score --model "$data/model" --data "gs://odd/lists/coded.jsonl"
bucket coded
for file in "$dir"/tar/*.tar; do
    gzip -c "$file" >"$dir/coded.tar"
    put "$dir/coded.tar" coded "$(basename "$file")" contentEncoding=gzip
done
config coded "gs://coded/*.tar" "steps: 12"
trains "shards stored with Content-Encoding: gzip: the same bytes" coded local
faults '{"strip_md5": true}'
rm -rf "$dir/runs/names"
trains "objects without an MD5 (composite ones): the same bytes" names local
faults '{}'
: >"$dir/empty"
put "$dir/empty" odd "empty/part-000000.tar"
config empty "gs://odd/empty/*.tar"
expect "an empty shard" 3 "gs://odd/empty/part-000000.tar" train empty
put "$dir/empty" odd "empty.jsonl"
expect "an empty table" 3 "gs://odd/empty.jsonl" "$attune" score --model "$data/model" --data gs://odd/empty.jsonl
put "$dir/empty" odd "marked/"
for file in "$dir"/tar/*.tar; do put "$file" odd "marked/$(basename "$file")"; done
config marked "gs://odd/marked/" "steps: 12"
trains "a folder marker is no shard: the same bytes" marked local

# -- pages ----------------------------------------------------------------------------------------
bucket pages
for file in "$dir"/tar/*.tar; do put "$file" pages "a/$(basename "$file")"; done
i=0
while [ $i -lt 40 ]; do
    put "$dir/empty" pages "b/$i"
    i=$((i + 1))
done
faults '{"page_max": 2, "rules": [{"name": "empty", "kind": "list", "every": 2, "action": "empty_page"}]}'
config pages "gs://pages/**/*.tar" "steps: 12"
trains "a list in pages of two, every other one empty: the same bytes" pages local
check "there were empty pages ($(counter fault:empty))" test "$(counter fault:empty)" -ge 10

# -- requester pays -----------------------------------------------------------------------------------
faults '{"require_user_project": "payer"}'
config pays "gs://odd/marked/*.tar" "steps: 12"
expect "requester pays, nobody named" 2 "gs://odd/marked" train pays
check "it says what to set" grep -q 'user.project' "$dir/err"
before=$(counter no_user_project)
config pays "gs://odd/marked/*.tar" "steps: 12" "user_project: payer"
trains "requester pays: the same bytes" pays local
check "every request names who pays" test "$(counter no_user_project)" -eq "$before"
faults '{}'
finish
