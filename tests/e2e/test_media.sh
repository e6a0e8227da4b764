#!/bin/sh
# test_media.sh - pictures, videos and sound as a user types them: looking at a record, training on a
# mixture, generating, and what is said of media that cannot be used.
. "$(dirname "$0")/lib"
tools=$PWD/${BUILD:-build/release}/tools
model=$PWD/tests/data/score_media/towers

tool() {
    what=$1
    shift
    "$tools/$what" "$@" || { echo "not ok $what"; exit 1; }
}
tool make_shapes "$dir" name=s records=4 seed=5 sound=yes
tool make_shapes "$dir" name=p records=4 seed=5 sound=yes ppm=yes
cd "$dir" || exit 1
tool make_video door.mp4 2 s/00000.wav p/00000.ppm p/00000.ppm p/00000.ppm p/00000.ppm
tool make_video mute.mp4 2 - p/00001.ppm p/00001.ppm

# -- one record -----------------------------------------------------------------------------------
cat >mixed.jsonl <<'END'
{"id":"caption","image":"s/00000.png","text":"a light"}
{"id":"asked","images":["s/00001.png","s/00002.png"],"prompt":"what is it","completion":"a light"}
{"id":"heard","audio":"s/00003.wav","text":"good morning"}
{"id":"both","image":"s/00003.png","audio":"s/00003.wav","text":"good morning"}
{"id":"door","video":"door.mp4","sound":true,"text":"the light"}
{"id":"apart","video":"mute.mp4","audio":"s/00001.wav","text":"the light"}
{"id":"turns","messages":[{"role":"user","content":[{"type":"image","image":"s/00000.png"},"what is it"]},{"role":"assistant","content":"a light"},{"role":"user","content":[{"type":"audio","audio":"s/00002.wav"},"and this"]},{"role":"assistant","content":"good morning"}]}
{"id":"plain","prompt":"turn on","completion":"the light"}
END
show() { "$attune" data show --model "$model" mixed.jsonl "$@"; }
says "a picture: its span and size" "(image 1: 63 soft tokens at 7, 56 x 72 pixels)" show
says "what is trained is marked" "[[a light<turn|>]]" show
says "colours when asked for" "$(printf '\033[1;32m')a light" show --color yes
says "a video: frames with their times" "(video 1 frame 3: 63 soft tokens" show -r door --video-frames 3
says "... and its sound" "(clip 2: 13 soft tokens" show -r door
says "fewer frames" "tokens     105," show -r door --video-frames 1
says "media in two turns" "(clip 2: 13 soft tokens" show -r turns
tool make_shards long layout=jsonl shards=1 records=1 huge=40
run "$attune" data show --model "$model" long/part-000000.jsonl
check "a long clip is refused, and what to do" grep -q "hint: .long_audio: split" out
says "or cut, and said" "(clip 1 piece 2: 281 soft tokens" \
    "$attune" data show --model "$model" long/part-000000.jsonl --long-audio split
run show -r asked --pictures pictures
check "pictures as the model sees them" test -s pictures/2-1.png -a -s pictures/2-2.png
run show --json -r both
check "spans in JSON" grep -q '"kind":"clip","media":1,"block":0,' out
says "all of it can be used" "bad        0" "$attune" data check --model "$model" mixed.jsonl

# -- training and generating ----------------------------------------------------------------------
cat >mixed.yaml <<END
model: $model
train: mixed.jsonl
lora: {rank: 2, towers: [language, vision, audio, projector], ranks: {audio: 1}, dora: yes}
learning_rates: {vision: 1e-3}
batch: 4
steps: 4
image_tokens: 70
END
run "$attune" train mixed.yaml
check "a mixture of everything trains" test $code -eq 0
check "the table names every tower" sh -c "grep -q ' vision ' err && grep -q ' audio ' err && grep -q ' projector ' err"
check "the plan is printed before step 1" grep -q "^memory: weights" err
cp runs/mixed/adapter/adapter_model.safetensors first
run "$attune" train mixed.yaml --runs packed --pack-tokens 512
check "packed: trains, too" test $code -eq 0
run "$attune" train mixed.yaml --runs again
check "again: the same bytes" cmp -s first again/mixed/adapter/adapter_model.safetensors
run "$attune" train mixed.yaml --runs frozen --set lora.towers=language --set lora.ranks= --set learning_rates=
check "frozen towers are remembered" grep -q "tower" err
run "$attune" train mixed.yaml --runs four --quantize 4bit --quantize-group 32
check "on four bits" test $code -eq 0
run "$attune" generate --model "$model" --adapter runs/mixed/adapter --image s/00000.png --video door.mp4 \
    --audio door.mp4 --max-new-tokens 3 "what is it"
check "generate from picture, video and its sound" test $code -eq 0
run "$attune" eval --model "$model" --data mixed.jsonl --max-new-tokens 3 --ablate audio --json
check "ablated: every record counts" grep -q '"ablated":{"records":8' out

# -- what cannot be used --------------------------------------------------------------------------
head -c 2000 s/00000.png >cut.png
head -c 4000 door.mp4 >cut.mp4
# A PNG of 60,000 x 60,000 pixels in 57 bytes.
printf '\211PNG\r\n\032\n\0\0\0\rIHDR\0\0\352\140\0\0\352\140\010\002\0\0\0' >bomb.png
printf '\0\0\0\0\0\0\0\0IDAT\0\0\0\0\0\0\0\0IEND\256\102\140\202' >>bomb.png
bad() {
    name=$1 text=$2
    shift 2
    printf '%s\n' "$1" >bad.jsonl
    shift
    expect "$name" 3 "$text" "$attune" eval --model "$model" --data bad.jsonl --bad-min 0 "$@"
}
bad "a truncated picture" "cut.png: truncated" '{"image":"cut.png","text":"x"}'
bad "a picture that would fill the memory" "bomb.png: " '{"image":"bomb.png","text":"x"}'
bad "a truncated video" "cut.mp4: " '{"video":"cut.mp4","text":"x"}'
bad "a video without sound" "mute.mp4: no audio stream; it has video" \
    '{"video":"mute.mp4","sound":true,"text":"x"}'
bad "sound that is no video" "s/00000.wav: not a video file" '{"video":"s/00000.wav","text":"x"}'
bad "more pictures than the context holds" "video_frames" '{"video":"door.mp4","text":"x"}' \
    --max-tokens 100
bad "a misspelt key" "unknown key \"imagee\" looks like \"image\"" '{"imagee":"s/00000.png","text":"x"}'
expect "a budget that the model does not know" 2 "image_tokens is 100" "$attune" train mixed.yaml \
    --image-tokens 100
expect "too little memory" 5 "too little memory: a step needs" "$attune" train mixed.yaml --runs small \
    --device-memory 1MiB
mkdir odd
cp "$model"/* odd
sed 's/"rope_type": "axial"/"rope_type": "spiral"/' "$model/config.json" >odd/config.json
expect "an unknown value in the config" 2 "spiral" "$attune" eval --model odd --data mixed.jsonl

finish
