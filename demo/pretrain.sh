#!/bin/sh
# pretrain.sh [DATA-ONLY] - makes demo/model from nothing: speech by espeak-ng, then three runs of attune.
#
# Some 17,000 clips (1.5 GB in demo/out/pretrain) and 1,900 steps: minutes on a GPU, hours on a CPU. Why these lessons
# in this order: demo/README.md. The same command again goes on where it stopped.
set -eu
cd "$(dirname "$0")/.."
attune=${ATTUNE:-./attune}
out=demo/out/pretrain
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
[ $# -eq 0 ] || exit 0

for lesson in 1-few-words 2-all-words 3-sentences; do
    "$attune" train demo/pretrain/$lesson.yaml
done

model=demo/out/runs/3-sentences/model
"$attune" eval --model $model --data "$out/dev.jsonl" --eval-batch 50 --max-new-tokens 48
echo "pretrain.sh: the model is in $model; to ship it: rm -rf demo/model && cp -R $model demo/model" >&2
