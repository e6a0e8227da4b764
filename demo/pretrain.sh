#!/bin/sh
# pretrain.sh [gemma|whisper|data] - makes demo/model or demo/whisper from nothing: speech by espeak-ng, then runs of
# attune; data: the speech alone.
#
# Some 17,000 clips (1.5 GB in demo/out/pretrain). Gemma takes 1,900 steps: minutes on a GPU, hours on a CPU; Whisper
# is trained on two CPU cores in less than half an hour. Why these lessons in this order: demo/README.md. The same
# command again goes on where it stopped.
set -eu
cd "$(dirname "$0")/.."
attune=${ATTUNE:-./attune}
out=demo/out/pretrain
kind=${1:-gemma}
case $kind in gemma | whisper | data) ;; *)
    echo "pretrain.sh: no model is called $kind; there are gemma and whisper" >&2
    exit 2
    ;;
esac
voices="en-us en-us+f2 en-us+m3 en-us+f4 en-gb en-gb+m7 en-gb+f3 en-us+m5"

sentences() { awk -f demo/sentences.awk "$@"; }
cast() { awk -f demo/cast.awk -v voices="$voices" "$@"; }
set_of() {                             # set_of NAME: speaks stdin, if that was not done
    [ -e "$out/$1.jsonl" ] && { cat >/dev/null; return; }
    echo "pretrain.sh: speaking $1" >&2
    demo/speak.sh "$out" "$1"
}

sentences -v kind=core | cast -v takes='each*4' -v seed=1 | set_of core
sentences -v kind=core | cast -v takes=2 -v seed=11 | set_of core-dev
sentences -v kind=word | cast -v takes='each*4' -v seed=3 | set_of word
sentences -v kind=word | cast -v takes=1 -v seed=13 | set_of word-dev
sentences -v kind=sentence -v n=12000 -v part=train -v seed=6 | cast -v seed=6 | set_of sentence
sentences -v kind=sentence -v n=200 -v part=heldout -v seed=9 | cast -v seed=2 | set_of dev
case $kind in
data) exit 0 ;;
gemma) lessons="1-few-words 2-all-words 3-sentences" model=demo/model language= ;;
whisper) lessons="whisper-1-few-words whisper-2-words whisper-3-sentences whisper-4-windows" \
    model=demo/whisper language="--language en" ;;
esac
for lesson in $lessons; do
    "$attune" train demo/pretrain/$lesson.yaml
done

made=demo/out/runs/$lesson/model
"$attune" eval --model $made $language --data "$out/dev.jsonl" --eval-batch 50 --max-new-tokens 48 --json >"$out/$kind.json"
wer=$(tr ',' '\n' <"$out/$kind.json" | sed -n 's/.*"wer": *//p' | head -n 1)
echo "pretrain.sh: word error rate $wer on 200 sentences that were not trained on" >&2
echo "pretrain.sh: the model is in $made; to ship it: rm -rf $model && cp -R $made $model" >&2
