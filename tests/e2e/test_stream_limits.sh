#!/bin/sh
# test_stream_limits.sh - disk and memory stay within their limits, what does not fit is refused at the
# start, and files of others survive.
. "$(dirname "$0")/lib"
. tests/e2e/gcs
. tests/e2e/stream

# 24 shards of 4 MiB: clips of half a second, padded with members that nobody asks for.
bucket big
make_shards "$dir/tar" shards=24 records=4 seconds=0.4 pad=1040000 huge=25
put_all "$dir/tar" big

# -- disk -----------------------------------------------------------------------------------------
config local "$dir/tar/*.tar" "steps: 24" "window_shards: 1"
run train local
check "from the disk" test $code -eq 0
config tight "gs://big/*.tar" "steps: 24" "window_shards: 1" "disk: 12MiB" "cache_dir: $dir/spool"
mkdir -p "$dir/spool/attune"
echo mine >"$dir/spool/letter.txt"
echo mine >"$dir/spool/part-000001.tar"
echo mine >"$dir/spool/attune/part-000001.tar.part"
faults '{"bytes_per_s": 20e6}'
(
    most=0
    while [ ! -e "$dir/stop" ]; do
        now=$(du -sk "$dir/spool" 2>/dev/null | cut -f 1)
        [ "${now:-0}" -le "$most" ] || most=$now
        echo "$most" >"$dir/most"
        sleep 0.05
    done
) &
watcher=$!
trains "a disk budget of three shards: the same bytes" tight local
: >"$dir/stop"
wait $watcher
# Folders take some blocks of their own.
check "the spool stayed within it ($(cat "$dir/most") of 12288 KB)" test "$(cat "$dir/most")" -le $((12288 + 64))
check "files of others are still there" test "$(cat "$dir/spool/letter.txt" \
    "$dir/spool/part-000001.tar" "$dir/spool/attune/part-000001.tar.part")" = "mine
mine
mine"
check "and nothing but them" test "$(find "$dir/spool" -type f | wc -l)" -eq 3
cut_short tight 100 KILL 2>/dev/null
rm -rf "$dir/runs/tight"
cut_short tight 8 KILL 2>/dev/null
trains "killed with a full spool, then done: the same bytes" tight local
check "what the killed one left is gone" test "$(find "$dir/spool" -type f | wc -l)" -eq 3
config narrow "gs://big/*.tar" "disk: 6MiB"
expect "a disk budget below two shards" 2 "disk" train narrow
check "it names what is needed" grep -q '[0-9] *MiB' "$dir/err"

# -- a cache for later runs -------------------------------------------------------------------------
config keeps "gs://big/*.tar" "steps: 24" "window_shards: 1" "cache: yes" "disk: 200MiB" "cache_dir: $dir/kept"
faults '{}'
trains "a cache: the same bytes" keeps local
before=$(counter media)
rm -rf "$dir/runs/keeps"
trains "a second run out of the cache: the same bytes" keeps local
check "nothing was fetched again" test "$(counter media)" -eq "$before"
file=$(find "$dir/kept" -type f -size +2000k | head -n 1)
check "the cache has files" test -n "$file"
printf X | dd of="${file:-$dir/none}" bs=1 seek=5000 conv=notrunc 2>/dev/null
rm -rf "$dir/runs/keeps"
trains "a cached file that was damaged: found out, the same bytes" keeps local

# -- memory ---------------------------------------------------------------------------------------
config small "gs://big/*.tar" "steps: 24" "window_shards: 1" "memory: 80MiB" "connections: 2"
config large "gs://big/*.tar" "steps: 24" "window_shards: 1" "memory: 2GiB"
peak_of "$attune" train "$dir/small.yaml" --runs "$dir/runs"
check "80 MiB of memory" test $code -eq 0
small_kb=$peak_kb
same "80 MiB of memory: the same bytes" small local
peak_of "$attune" train "$dir/local.yaml" --runs "$dir/runs-again"
check "beside the model it takes at most 110 % of them ($small_kb KB, local $peak_kb KB)" \
    test $small_kb -le $((peak_kb + 81920 * 11 / 10))
config none "gs://big/*.tar" "memory: 64MiB" "connections: 8"
expect "too little memory for the connections" 2 "memory" train none
finish
