#!/bin/sh
# speak.sh DIR NAME < CAST: speaks what cast.awk wrote, into DIR/NAME/*.wav, and writes DIR/NAME.jsonl.
# Needs espeak-ng. One process a core; the clips do not depend on their number.
set -eu
dir=$1 name=$2
command -v espeak-ng >/dev/null || { echo "speak.sh: espeak-ng is not installed (scripts/bootstrap does it)" >&2; exit 1; }
cores=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
mkdir -p "$dir/$name"
cast=$dir/$name.tsv
cat >"$cast.part"
tab=$(printf '\t')
pids=
i=0
while [ $i -lt "$cores" ]; do
    awk -v n="$cores" -v i=$i 'NR % n == i' "$cast.part" | while IFS=$tab read -r clip voice speed pitch text; do
        espeak-ng -z -v "$voice" -s "$speed" -p "$pitch" -w "$dir/$name/$clip.wav" "$text" </dev/null ||
            { echo "speak.sh: espeak-ng cannot speak as $voice" >&2; exit 1; }
    done &
    pids="$pids $!"
    i=$((i + 1))
done
for pid in $pids; do wait "$pid"; done
# espeak-ng writes 22,050 samples of 16 bits a second behind 44 bytes.
(cd "$dir" && find "$name" -name '*.wav' -exec wc -c {} +) | awk -v name="$name" '
    FNR == NR { bytes[$2] = $1; next }
    {
        split($0, f, "\t")
        clip = name "/" f[1] ".wav"
        printf "{\"audio\": \"%s\", \"text\": \"%s\", \"duration\": %.3f}\n", clip, f[5], (bytes[clip] - 44) / 44100
    }' - "$cast.part" >"$dir/$name.jsonl.part"
mv "$cast.part" "$cast"
mv "$dir/$name.jsonl.part" "$dir/$name.jsonl"
