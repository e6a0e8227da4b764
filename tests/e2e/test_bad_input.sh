#!/bin/sh
# test_bad_input.sh - what is damaged, missing or does not fit gets one line that names it, the right
# exit code, and leaves nothing behind.
. "$(dirname "$0")/lib"

cp "$data/a.wav" "$dir"
printf '{"audio":"a.wav","text":"good morning"}\n' >"$dir/good.jsonl"

# A copy of the checkpoint, to be damaged.
fresh() {
    rm -rf "$dir/model" "$dir/adapter"
    cp -r "$data/model" "$data/adapter" "$dir"
    chmod -R u+w "$dir/model" "$dir/adapter"
}

score() { "$attune" score --model "$dir/model" --data "$dir/good.jsonl" "$@"; }
edit() { sed "$2" "$1" >"$1.new" && mv "$1.new" "$1"; }

# -- checkpoints ----------------------------------------------------------------------------------
fresh
says "the copy is good" '"logprobs"' score
expect "no such model" 2 "$dir/none: no such folder" \
    "$attune" score --model "$dir/none" --data "$dir/good.jsonl"
check "no such model: nothing on stdout" test ! -s "$dir/out"

rm "$dir/model/config.json"
expect "no config.json" 2 "$dir/model/config.json" score
fresh
printf '{"model_type":' >"$dir/model/config.json"
expect "damaged config.json" 7 "$dir/model/config.json:1:" score
fresh
edit "$dir/model/config.json" 's/"model_type": "gemma4"/"model_type": "gemma9"/'
expect "unknown model_type" 2 "gemma9" score
fresh
edit "$dir/model/config.json" 's/"hidden_activation": "[a-z_]*"/"hidden_activation": "relu"/'
expect "unknown activation" 2 "hidden_activation" score
fresh
edit "$dir/model/config.json" 's/"intermediate_size": 24/"intermediate_size": 25/'
expect "misshapen tensors" 7 "mlp.gate_proj.weight" score
check "misshapen tensors: both shapes" grep -q '24.*25\|25.*24' "$dir/err"

fresh
rm "$dir/model/tokenizer.json"
expect "no tokenizer.json" 2 "$dir/model/tokenizer.json" score
fresh
head -c 1000 "$data/model/tokenizer.json" >"$dir/model/tokenizer.json"
expect "truncated tokenizer.json" 7 "$dir/model/tokenizer.json:1:" score

fresh
rm "$dir/model/model.safetensors"
expect "no weights" 2 "$dir/model: no model.safetensors" score
fresh
head -c 5000 "$data/model/model.safetensors" >"$dir/model/model.safetensors"
expect "weights cut in the header" 7 "$dir/model/model.safetensors" score
fresh
head -c 200000 "$data/model/model.safetensors" >"$dir/model/model.safetensors"
expect "weights cut in a tensor" 7 "$dir/model/model.safetensors: tensor " score
fresh
: >"$dir/model/model.safetensors"
expect "empty weights" 7 "$dir/model/model.safetensors" score
fresh
LC_ALL=C sed 's/layers.0.input_layernorm.weight/layers.9.input_layernorm.weight/' \
    "$data/model/model.safetensors" >"$dir/model/model.safetensors"
expect "a tensor is missing" 7 "layers.0.input_layernorm.weight" score
check "a tensor is missing: the left-over is named too" \
    grep -q 'layers.9.input_layernorm.weight' "$dir/err"
fresh
LC_ALL=C sed 's/"dtype":"F32"/"dtype":"I32"/' "$data/model/model.safetensors" \
    >"$dir/model/model.safetensors"
expect "weights of a wrong dtype" 7 "int32" score
fresh
edit "$dir/model/processor_config.json" 's/"feature_size": 32/"feature_size": 80/'
expect "features of another model" 2 "80 mel bins" score
fresh
edit "$dir/model/processor_config.json" 's/"sampling_rate": 16000/"sampling_rate": 8000/'
expect "features that cannot be made" 2 "sampling_rate" score

# -- adapters -------------------------------------------------------------------------------------
fresh
expect "no such adapter" 2 "$dir/none" score --adapter "$dir/none"
LC_ALL=C sed 's/layers.0.self_attn.q_proj/layers.7.self_attn.q_proj/g' \
    "$data/adapter/adapter_model.safetensors" >"$dir/adapter/adapter_model.safetensors"
expect "adapter of another model" 2 "layers.7.self_attn.q_proj" score --adapter "$dir/adapter"
fresh
edit "$dir/adapter/adapter_config.json" 's/"r": 3/"r": 4/'
expect "adapter of another rank" 2 "lora_A" score --adapter "$dir/adapter"
fresh
edit "$dir/adapter/adapter_config.json" 's/"lora_bias": false/"lora_bias": true/'
expect "a kind of adapter that is not computed" 2 "lora_bias" score --adapter "$dir/adapter"
fresh
edit "$dir/adapter/adapter_config.json" 's/"use_dora": false/"use_dora": true/'
expect "a DoRA adapter without its magnitudes" 2 "lora_magnitude_vector" score --adapter "$dir/adapter"
fresh
head -c 9000 "$data/adapter/adapter_model.safetensors" >"$dir/adapter/adapter_model.safetensors"
expect "damaged adapter" 7 "$dir/adapter/adapter_model.safetensors" score --adapter "$dir/adapter"

# -- records --------------------------------------------------------------------------------------
# The second record is bad, the first and third are good.
fresh
with_record() {
    { cat "$dir/good.jsonl"; printf '%s\n' "$1"; cat "$dir/good.jsonl"; } >"$dir/mixed.jsonl"
    expect "$2" 3 "error: $dir/mixed.jsonl:2:" \
        "$attune" score --model "$dir/model" --data "$dir/mixed.jsonl"
    check "$2: is named" grep -q "^error: $dir/mixed.jsonl:2:.*$3" "$dir/err"
    check "$2: the others are scored" test "$(wc -l <"$dir/out")" -eq 2
}
with_record '{"audio":"none.wav","text":"x"}' "missing clip" "none.wav"
: >"$dir/empty.wav"
with_record '{"audio":"empty.wav","text":"x"}' "empty clip" "empty.wav"
printf 'RIFF nonsense' >"$dir/noise.wav"
with_record '{"audio":"noise.wav","text":"x"}' "clip that is no sound" "noise.wav"
head -c 2000 "$data/b.wav" >"$dir/cut.wav"
with_record '{"audio":"cut.wav","text":"x"}' "truncated clip" "cut.wav"
{ head -c 44 "$data/a.wav"; head -c 14400 /dev/zero; } >"$dir/silent.wav"
with_record '{"audio":"silent.wav","text":"x"}' "silent clip" "silent.wav"
with_record '{"audio":"a.wav","text":"x"' "record that is no JSON" "27: "
with_record '[1,2]' "record that is no object" "object"
with_record '{"messages":[{"role":"user","content":"hello"}]}' "nothing supervised" "no supervised"
with_record '{"messages":[{"role":"usr","content":"hello"}]}' "unknown role" "usr"
with_record '{"audoi":"a.wav","text":"x"}' "misspelt key" "audoi"
with_record '{"audio":"a.wav","text":"a <|turn> b"}' "special token in the text" "<|turn>"
with_record "$(printf '{"text":"\377\376"}')" "text that is not UTF-8" "0xff"
with_record '{"image":"a.png","text":"x"}' "image without a tower" "a.png: the model sees nothing"
expect "record that is too long" 3 "good.jsonl:1: " "$attune" eval --model "$dir/model" \
    --data "$dir/good.jsonl" --max-tokens 10 --bad-min 0
check "record that is too long: both numbers" grep -q "32 .*10" "$dir/err"
expect "no such data" 3 "$dir/none.jsonl" \
    "$attune" score --model "$dir/model" --data "$dir/none.jsonl"
: >"$dir/empty.jsonl"
expect "data without a record" 3 "$dir/empty.jsonl" \
    "$attune" score --model "$dir/model" --data "$dir/empty.jsonl"
expect "a folder in place of data" 3 "$dir" "$attune" score --model "$dir/model" --data "$dir"

# -- too many bad records stop eval and train ------------------------------------------------------
i=0
while [ $i -lt 20 ]; do cat "$dir/good.jsonl"; i=$((i + 1)); done >"$dir/many.jsonl"
i=0
while [ $i -lt 12 ]; do echo '{"audio":"none.wav","text":"x"}'; i=$((i + 1)); done >>"$dir/many.jsonl"
expect "eval: too many bad records" 3 "$dir/many.jsonl:21" \
    "$attune" eval --model "$dir/model" --data "$dir/many.jsonl" --no-eval-generate
says "eval: as many as allowed" "and 12 bad" \
    "$attune" eval --model "$dir/model" --data "$dir/many.jsonl" --no-eval-generate --bad-min 12

# -- train ----------------------------------------------------------------------------------------
train() { (cd "$dir" && "$attune" train --runs "$dir/runs" --name r --model "$dir/model" "$@"); }
expect "train: a pattern that matches nothing" 2 "q_prj" \
    train --train "$dir/good.jsonl" --lora-targets q_prj --steps 1
check "train: then there is no adapter" test ! -e "$dir/runs/r/adapter"
expect "train: a tower that is not there" 2 "vision" \
    train --train "$dir/good.jsonl" --lora-towers vision --steps 1
expect "train: no such data" 3 "$dir/none.jsonl" train --train "$dir/none.jsonl" --steps 1
expect "train: adapter of another model" 2 "adapter" sh -c "
    LC_ALL=C sed 's/layers.0.self_attn.q_proj/layers.7.self_attn.q_proj/g' \
        '$data/adapter/adapter_model.safetensors' >'$dir/adapter/adapter_model.safetensors'
    '$attune' train --runs '$dir/runs' --name a --model '$dir/model' --adapter '$dir/adapter' \
        --train '$dir/good.jsonl' --steps 1"
expect "train: too many bad records" 3 "many.jsonl:" \
    train --train "$dir/many.jsonl" --steps 40 --batch 4
check "train: then there is no adapter, either" test ! -e "$dir/runs/r/adapter"

finish
