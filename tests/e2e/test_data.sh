#!/bin/sh
# test_data.sh - attune data on this machine: check, stats, show, index, plan; on sound data, on broken
# data, and used wrongly.  test_stream_data.sh has the same over a bucket.
. "$(dirname "$0")/lib"
tools=$PWD/${BUILD:-build/release}/tools
make_shards() { "$tools/make_shards" "$@" || { echo "not ok make_shards"; exit 1; }; }
# finds NAME TEXT: in what the last command printed
finds() { check "$1" grep -q -F -e "$2" "$dir/out"; }
model=$data/model

make_shards "$dir/jsonl" layout=jsonl shards=2 records=6 seconds=0.5
make_shards "$dir/csv" layout=csv shards=1 records=5 seconds=0.5
make_shards "$dir/tar" shards=3 records=8 seconds=0.5
table=$dir/jsonl/part-000000.jsonl

# -- check ----------------------------------------------------------------------------------------
says "check: JSONL" "records    12 in 2 files" "$attune" data check "$dir"/jsonl/*.jsonl
finds "check: sound" "sound      12 clips, "
finds "check: nothing bad" "bad        0"
check "check: nothing on stderr" test ! -s "$dir/err"
says "check: CSV" "records    5 in 1 file" "$attune" data check "$dir/csv/part-000000.csv"
says "check: shards" "records    24 in 3 files" "$attune" data check "$dir/tar/*.tar"
says "check: a model counts tokens" "tokens in all, " "$attune" data check "$table" --model "$model"
says "check: --limit" '"records":7,' "$attune" data check "$dir/tar/*.tar" --limit 7 --json
cat >"$dir/c.yaml" <<END
train: ["$dir/tar/part-000000.tar", "$table"]
weights: [1, 2]
END
says "check: a config file stands for its train key" "records    14 in 2 files" \
    "$attune" data check "$dir/c.yaml"

# Broken in every way.
cp -r "$dir/jsonl" "$dir/broken"
clips=$dir/broken/clips
head -c 30 "$clips/clip-000001.wav" >"$dir/x" && mv "$dir/x" "$clips/clip-000001.wav"
(head -c 44 "$clips/clip-000002.wav"
 head -c $(($(wc -c <"$clips/clip-000002.wav") - 44)) /dev/zero) >"$dir/x" && mv "$dir/x" "$clips/clip-000002.wav"
rm "$clips/clip-000003.wav"
cp "$clips/clip-000004.wav" "$clips/clip-000005.wav"
broken=$dir/broken/all.jsonl
cat "$dir"/broken/part-*.jsonl >"$broken"
cat >>"$broken" <<END
{"id": "clip-000000", "audio": "clips/clip-000006.wav", "text": "again", "duration": 44.0}
{"id": "no-json", "audio":
{"id": "no-text", "audio": "clips/clip-000007.wav"}
{"id": "misspelt", "audio": "clips/clip-000008.wav", "txet": "abc"}
END
expect "check: broken data" 3 "6 of 16 records cannot be used" \
    "$attune" data check "$broken" --output "$dir/patches/delete/bad.csv"
finds "check: a cut clip" "all.jsonl:2: clips/clip-000001.wav: "
finds "check: a silent clip" "all.jsonl:3: clips/clip-000002.wav: the clip is silent"
finds "check: a missing clip" "all.jsonl:4: $clips/clip-000003.wav: No such file"
finds "check: a line that is no JSON" "all.jsonl:14: column "
finds "check: no text" "all.jsonl:15: no text to learn"
finds "check: a misspelt key" 'all.jsonl:16: unknown key "txet" looks like "text"'
finds "check: a wrong duration" "durations  1 say another one"
finds "check: an id twice" "$broken:1  and  $broken:13"
finds "check: a clip twice" "$broken:5  and  $broken:6"
sed -n 's/^  [^:]*all.jsonl:\([0-9]*\): .*/\1/p' "$dir/out" | tr '\n' ' ' >"$dir/order"
check "check: in the order of the data" test "$(cat "$dir/order")" = "2 3 4 14 15 16 "
check "check: those without id are counted" grep -q '1 bad records have no id' "$dir/err"
check "check: --output" test "$(cut -d , -f 1 "$dir/patches/delete/bad.csv" | tr '\n' ' ')" = \
    "id clip-000001 clip-000002 clip-000003 no-text misspelt "
expect "check: the table leaves them out" 3 "1 of 11 records cannot be used" \
    "$attune" data check "$broken" --patches "$dir/patches"
run "$attune" data check "$broken" --json
check "check: --json has exit code 3, too" test $code -eq 3
finds "check: --json" '"bad_records":6,"lost_shards":0,"bad":[{"where":'
expect "check: with a model the same" 3 "6 of 16 records" \
    "$attune" data check "$broken" --model "$model"

# A shard that is cut, packed or not.
mkdir "$dir/cut"
cp "$dir"/tar/*.tar "$dir/cut"
head -c 20000 "$dir/tar/part-000001.tar" >"$dir/cut/part-000001.tar"
expect "check: a cut shard" 3 "1 shard cannot be read; of 16 records in the others 0 cannot be used" \
    "$attune" data check "$dir/cut/*.tar"
finds "check: it is named" "cut/part-000001.tar: "
if command -v zstd >/dev/null; then
    mkdir "$dir/zst"
    for i in 0 1; do zstd -q "$dir/tar/part-00000$i.tar" -o "$dir/zst/p$i.tar.zst"; done
    says "check: .tar.zst" "records    16 in 2 files" "$attune" data check "$dir/zst/*.zst"
    head -c 3000 "$dir/zst/p0.tar.zst" >"$dir/zst/p2.tar.zst"
    expect "check: a cut .tar.zst" 3 "1 shard cannot be read" "$attune" data check "$dir/zst/*.zst"
    says "plan: .tar.zst" "records" "$attune" data plan "$dir/zst/p0.tar.zst" "$dir/zst/p1.tar.zst"
fi

expect "check: no data" 2 "data check: no data is given" "$attune" data check
expect "check: no such file" 3 "none.jsonl" "$attune" data check "$dir/none.jsonl"
expect "check: an unknown kind" 3 "a file of an unknown kind" "$attune" data check "$clips/clip-000000.wav"
expect "check: no such model" 2 "model $dir/none: no such folder" \
    "$attune" data check "$table" --model "$dir/none"
expect "check: the patches in use are not overwritten" 2 "is there already, and part of --patches" \
    "$attune" data check "$broken" --patches "$dir/patches" --output "$dir/patches/delete/bad.csv"
expect "check: a flag of another command" 2 '--steps' "$attune" data check "$table" --steps 3

# -- stats ----------------------------------------------------------------------------------------
says "stats" "sound in a record (seconds)" "$attune" data stats "$dir"/jsonl/*.jsonl
finds "stats: bars" "█"
says "stats: clips are not opened" "records    16 in 1 file" "$attune" data stats "$broken"
says "stats: shards" "sound      24 clips, " "$attune" data stats "$dir/tar/*.tar"
says "stats: --json" '"duration":{"count":24,"min":' "$attune" data stats "$dir/tar/*.tar" --json
says "stats: tokens" "length of a record (tokens)" "$attune" data stats "$table" --model "$model"
printf '{"audio":"%s","text":"a","language":"de"}\n{"audio":"%s","text":"b","language":"en"}\n' \
    "$clips/clip-000006.wav" "$clips/clip-000007.wav" >"$dir/two.jsonl"
says "stats: languages" "languages  de 1, en 1" "$attune" data stats "$dir/two.jsonl"
finds "stats: lengths that nobody says" "2 of a length that the data do not say"
expect "stats: no data" 2 "data stats: no data is given" "$attune" data stats
expect "stats: an empty table" 3 "holds no record" sh -c ": >'$dir/empty.jsonl'; exec '$attune' data stats '$dir/empty.jsonl'"
expect "stats: a file twice" 3 "given twice" "$attune" data stats "$table" "$table"
expect "stats: --output is not its flag" 2 "--output" "$attune" data stats "$table" --output x.csv
expect "stats: a folder of no data" 3 "$clips" "$attune" data stats "$clips"

# -- show -----------------------------------------------------------------------------------------
says "show" "record 1: $table:1, id clip-000000" "$attune" data show "$table"
check "show: one of them" test "$(grep -c '^record ' "$dir/out")" -eq 1
finds "show: the clip" "pcm_s16le, 16000 Hz, 1 channel, "
says "show: by number" "record 20: " "$attune" data show "$dir/tar/*.tar" --record 20
says "show: by id" "record 20: " "$attune" data show "$dir/tar/*.tar" -r clip-000019
says "show: by place" "record 4: " "$attune" data show "$table" -r "$table:4"
says "show: the tokens, those trained marked" "<turn|>]]" "$attune" data show "$table" --model "$model"
says "show: --json" '"input_ids":[' "$attune" data show "$table" --model "$model" --json
says "show: more of them" "record 9: " "$attune" data show "$dir/tar/*.tar" -r 8 -n 2
check "show: two" test "$(grep -c '^record ' "$dir/out")" -eq 2
expect "show: a record that is no JSON" 3 "1 of 1 records cannot be used" \
    "$attune" data show "$broken" -r 14
finds "show: it is named" "all.jsonl:14"
expect "show: one without its clip" 3 "1 of 1 records cannot be used" "$attune" data show "$broken" -r 4
expect "show: no such id" 3 "there is no record nobody" "$attune" data show "$table" -r nobody
expect "show: no such number" 3 "there is no record 99" "$attune" data show "$table" -r 99
expect "show: no such file" 3 "none.tar" "$attune" data show "$dir/none.tar"
expect "show: a wrong column" 2 "columns" "$attune" data show "$table" --columns words=text
expect "show: a count that is none" 2 "--limit" "$attune" data show "$table" -n many

# -- index ----------------------------------------------------------------------------------------
says "plan without indexes reads the headers" "24 records" "$attune" data plan "$dir/tar/*.tar"
says "index" "3 indexes written, 0 were there; 24 records in 3 shards" "$attune" data index "$dir/tar/*.tar"
check "index: beside the shards" test -s "$dir/tar/part-000002.tar.idx"
says "index: again" '{"written":0,"kept":3,"records":24,"shards":3}' \
    "$attune" data index "$dir/tar/*.tar" --json
make_shards "$dir/other" shards=1 records=9 seconds=0.5 seed=7
cp "$dir/other/part-000000.tar" "$dir/tar/part-000001.tar"
run "$attune" data index "$dir/tar/*.tar" --json
check "index: of another version" grep -q '"written":1,"kept":2,"records":25' "$dir/out"
says "check by itself, not by the index" "records    25 in 3 files" "$attune" data check "$dir/tar/*.tar"
expect "index: a table" 2 "only shards (tar) have an index" "$attune" data index "$table"
expect "index: no data" 2 "data index: no data is given" "$attune" data index
expect "index: a cut shard" 3 "cut/part-000001.tar" "$attune" data index "$dir/cut/part-000001.tar"
expect "index: no such shard" 3 "none.tar" "$attune" data index "$dir/none.tar"
expect "index: no model is needed" 2 "--model" "$attune" data index "$dir/tar/*.tar" --model "$model"
if [ "$(id -u)" -ne 0 ]; then
    mkdir "$dir/read-only" && cp "$dir/other/part-000000.tar" "$dir/read-only" && chmod 555 "$dir/read-only"
    expect "index: a place that cannot be written" 1 "part-000000.tar.idx" \
        "$attune" data index "$dir/read-only/part-000000.tar"
    chmod 755 "$dir/read-only"
fi

# -- plan -----------------------------------------------------------------------------------------
says "plan: by the indexes" "25 records" "$attune" data plan "$dir/tar/*.tar" --batch 4 --steps 70
check "plan: exactly" sh -c "! grep -q 'about 25' '$dir/out'"
finds "plan: padding" "% of sound frames"
finds "plan: all is here" "fetch     nothing"
says "plan: weights" '"records":20,' "$attune" data plan "$dir/c.yaml" --json
finds "plan: shares" '"share":0.6'
says "plan: steps of a table" '"steps":3,' \
    "$attune" data plan "$table" --batch 2 --steps 9 --json
finds "plan: epochs" '"run":{"steps":9,"epochs":3.0}'
expect "plan: no data" 2 "no data is given" "$attune" data plan
expect "plan: too little memory" 2 "memory is " "$attune" data plan "$table" --memory 64MiB
expect "plan: weights that do not fit" 2 "weights" "$attune" data plan --train "$table" --weights 1,2
expect "plan: steps that are none" 2 "--steps" "$attune" data plan "$table" --steps 0
expect "plan: no such file" 3 "none-000000.tar" "$attune" data plan "$dir/none-{000000..000002}.tar"

finish
