#!/bin/sh
# run.sh [whisper] - the demo (make demo): a small Gemma 4 meets a speaker whom it does not know, and learns to
# follow; or a small Whisper does.
#
# Speaks the new speaker's clips, measures, fine-tunes by LoRA, measures again on clips that were not trained on.
# Writes demo/out/result.json (demo/out/whisper/result.json). Needs espeak-ng and ./attune (make demo sees to both).
#
# DEMO_BUCKET=1: everything is read out of a bucket, a local emulator's, and at the end the training is done once
# more from the disk: the adapters must have the same bytes. The order of the records is that of the JSONL, the seed
# and nothing else, so it is the same wherever the clips lie.
set -eu
cd "$(dirname "$0")/.."
attune=${ATTUNE:-./attune}
case ${1:-gemma} in
gemma) out=demo/out model=demo/model config=demo/speaker.yaml language= ;;
whisper) out=demo/out/whisper model=demo/whisper config=demo/whisper-speaker.yaml language="--language en" ;;
*)
    echo "run.sh: no demo is called $1; there are gemma and whisper" >&2
    exit 2
    ;;
esac
voice=en-gb-scotland+norbert

[ -e $model/model.safetensors ] || { echo "run.sh: $model has no weights; demo/pretrain.sh makes them" >&2; exit 1; }
mkdir -p $out
rm -rf $out/speaker $out/runs/speaker $out/runs/whisper-speaker $out/runs/disk $out/result.json
clips=$out/speaker
steps=4
[ -z "${DEMO_BUCKET:-}" ] || steps=5

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }
field() { tr ',' '\n' <"$1" | sed -n 's/.*"'"$2"'": *"\{0,1\}\([^",}]*\).*/\1/p' | head -n 1; }   # the first of that name
sum_of() { { sha256sum "$1" 2>/dev/null || shasum -a 256 "$1"; } | cut -d ' ' -f 1; }
percent() { awk -v x="$1" 'BEGIN { printf "%.1f %%", 100 * x }'; }

say "1/$steps  A new speaker: Scottish, a voice that the model never heard"
speak() {                              # speak NAME SEED SENTENCES...
    name=$1 seed=$2
    shift 2
    awk -f demo/sentences.awk -v kind=sentence "$@" |
        awk -f demo/cast.awk -v voices=$voice -v seed="$seed" -v speeds="160 180" -v pitches="45 55" |
        demo/speak.sh $out/speaker "$name"
}
speak train 3 -v part=train -v cover=3 -v n=1000 -v seed=77
speak heldout 4 -v part=heldout -v n=40 -v seed=78
echo "$(wc -l <$out/speaker/train.jsonl) clips to learn from, $(wc -l <$out/speaker/heldout.jsonl) others to measure on"

# The emulator serves demo/out/bucket as gs://demo; attune waits for it to answer.
start_bucket() {
    fake=.deps/bin/fake-gcs-server
    [ -x $fake ] || { echo "run.sh: $fake is missing (scripts/bootstrap gcs)" >&2; exit 1; }
    rm -rf $out/bucket
    mkdir -p $out/bucket/demo
    cp -r $out/speaker $out/bucket/demo
    port=$((20000 + $$ % 10000))
    for try in 1 2 3 4 5; do
        $fake -scheme http -host 127.0.0.1 -port $port -backend memory -data $out/bucket -log-level error \
            >$out/bucket.log 2>&1 &
        bucket_pid=$!
        sleep 1
        if kill -0 $bucket_pid 2>/dev/null; then
            trap 'kill $bucket_pid' EXIT
            trap 'exit 130' INT TERM
            export STORAGE_EMULATOR_HOST=http://127.0.0.1:$port
            clips=gs://demo/speaker
            return
        fi
        port=$((port + 101))
    done
    echo "run.sh: fake-gcs-server does not start, see $out/bucket.log" >&2
    exit 1
}
[ -z "${DEMO_BUCKET:-}" ] || start_bucket

measure() {                            # measure NAME [--adapter DIR]
    name=$1
    shift
    "$attune" eval --model $model $language "$@" --data $clips/heldout.jsonl --eval-batch 20 --max-new-tokens 32 \
        --predictions $out/$name.jsonl --json >$out/$name.json
}

say "2/$steps  What the model understands before"
measure before
before=$(field $out/before.json wer)
echo "word error rate: $(percent "$before")"

say "3/$steps  Fine-tuning by LoRA on the speaker's clips"
"$attune" train $config --train $clips/train.jsonl --json >$out/train.json
adapter=$(field $out/train.json adapter)
seconds=$(field $out/train.json seconds)

say "4/$steps  What it understands now"
measure after --adapter "$adapter"
after=$(field $out/after.json wer)

# A few transcripts side by side: those that were worst.
awk '
    function text(key,    at, s) {
        at = index($0, "\"" key "\":")
        if (!at) return ""
        s = substr($0, at + length(key) + 3)
        sub(/^ *"/, "", s)
        sub(/".*/, "", s)
        return s
    }
    function rate(    at) { at = index($0, "\"wer\":"); return substr($0, at + 6) + 0 }
    FNR == NR { before[FNR] = text("hypothesis"); wer[FNR] = rate(); next }
    { said[FNR] = text("reference"); after[FNR] = text("hypothesis"); n = FNR }
    END {
        printf "%-38s  %-38s  %s\n", "said", "understood before", "understood now"
        for (k = 0; k < 8; k++) {
            worst = 0
            for (i = 1; i <= n; i++) if (!done[i] && (!worst || wer[i] > wer[worst])) worst = i
            if (!worst) break
            done[worst] = 1
            printf "%-38s  %-38s  %s\n", said[worst], before[worst], after[worst]
        }
    }' $out/before.jsonl $out/after.jsonl

if [ -n "${DEMO_BUCKET:-}" ]; then
    say "5/5  The same training from the disk"
    "$attune" train $config --name disk --json >$out/disk.json
    disk=$(field $out/disk.json adapter)
    streamed_sum=$(sum_of "$adapter/adapter_model.safetensors")
    disk_sum=$(sum_of "$disk/adapter_model.safetensors")
    printf 'adapter by clips from %s: %s\nadapter by clips from %s:   %s\n' \
        "$clips" "$streamed_sum" "$out/speaker" "$disk_sum"
    [ "$streamed_sum" = "$disk_sum" ] || { echo "run.sh: the two adapters differ" >&2; exit 1; }
    echo "the same to the byte"
fi

printf '{"wer_before": %s, "wer_after": %s, "train_seconds": %s, "adapter": "%s"}\n' \
    "$before" "$after" "$seconds" "$adapter" >$out/result.json.part
mv $out/result.json.part $out/result.json

say "Word error rate: $(percent "$before") before, $(percent "$after") after"
cat <<END
on clips that were not trained on; learned in $(printf '%.0f' "$seconds") s.

adapter   $adapter
numbers   $out/result.json
try       $attune transcribe --model $model ${language:+$language }--adapter $adapter $out/speaker/heldout/*1.wav
END
