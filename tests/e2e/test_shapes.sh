#!/bin/sh
# test_shapes.sh - a model that knows nothing learns to see, and then to see and hear: captions of
# drawn shapes, and of shapes with sounds, on pictures and sounds that it was not trained on.
. "$(dirname "$0")/lib"
tools=$PWD/${BUILD:-build/release}/tools

# model FOLDER: a small Gemma 4 without weights, with the demo's tokenizer.  Two by two
# patches make a soft token, in place of three by three: pictures of 256 x 256 pixels, not 384 x 384.
model() {
    mkdir -p "$1"
    for file in tokenizer.json tokenizer_config.json chat_template.jinja generation_config.json; do
        cp "demo/model-src/$file" "$1/$file"
    done
    sed 's/"pooling_kernel_size": 3/"pooling_kernel_size": 2/' demo/model-src/processor_config.json \
        >"$1/processor_config.json"
    cat >"$1/config.json" <<END
{"model_type": "gemma4", "architectures": ["Gemma4ForConditionalGeneration"], "dtype": "float32",
 "audio_token_id": 21, "boa_token_id": 20, "eoa_token_index": 22, "image_token_id": 18,
 "boi_token_id": 17, "eoi_token_id": 19, "video_token_id": 23, "eos_token_id": [1, 16],
 "tie_word_embeddings": true,
 "text_config": {"model_type": "gemma4_text", "vocab_size": 768, "vocab_size_per_layer_input": 768,
  "hidden_size": 96, "intermediate_size": 192, "num_hidden_layers": 2,
  "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 24, "global_head_dim": 24,
  "hidden_size_per_layer_input": 0, "num_kv_shared_layers": 0, "sliding_window": 128,
  "final_logit_softcapping": 30.0, "max_position_embeddings": 1024,
  "hidden_activation": "gelu_pytorch_tanh", "bos_token_id": 2, "eos_token_id": 1,
  "pad_token_id": 0},
 "vision_config": {"model_type": "gemma4_vision", "hidden_size": 96, "intermediate_size": 192,
  "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 24,
  "patch_size": 16, "pooling_kernel_size": 2, "position_embedding_size": 256},
 "audio_config": {"model_type": "gemma4_audio", "hidden_size": 48, "num_hidden_layers": 1,
  "num_attention_heads": 2, "output_proj_dims": 48, "subsampling_conv_channels": [128, 8],
  "use_clipped_linears": false}}
END
}

# train_on NAME MODEL STEPS: full training on $dir/NAME-train.jsonl; a MODEL without weights gets
# random ones.
train_on() {
    init=checkpoint
    [ -e "$2/model.safetensors" ] || init=random
    cat >"$dir/$1.yaml" <<END
model: $2
init: $init
method: full
train: $dir/$1-train.jsonl
prompt: What is it?
image_tokens: 70
steps: $3
batch: 8
learning_rate: 2e-3
warmup_steps: 60
schedule: cosine
save_every: 1000
log_every: 100
seed: 1
runs: $dir/runs
END
    run "$attune" train "$dir/$1.yaml"
}

# measure NAME [FLAG...]: the trained model on held-out records.
measure() {
    name=$1
    shift
    run "$attune" eval --model "$dir/runs/$name/model" --data "$dir/$name-dev.jsonl" --image-tokens 70 \
        --prompt "What is it?" --max-new-tokens 24 --eval-batch 40 --json "$@"
}

# exact K: the K-th figure called "exact" in what was printed: whole, ablated, difference.
exact() { grep -o '"exact":-\{0,1\}[0-9.eE-]*' "$dir/out" | sed -n "$1s/.*://p"; }
holds() { awk "BEGIN { exit !($1) }"; }

shapes() { "$tools/make_shapes" "$dir" "$@" || { echo "not ok make_shapes"; exit 1; }; }

# -- seeing ---------------------------------------------------------------------------------------
shapes name=see-train records=1500 seed=1
shapes name=see-dev records=100 seed=99
model "$dir/model"
train_on see "$dir/model" 600
check "training to see" test $code -eq 0
measure see --ablate image
check "captions of pictures that it never saw: $(exact 1) exact, by chance 0.04" holds "$(exact 1) > 0.9"
check "the same, blind: $(exact 2)" holds "$(exact 2) < 0.2"

# -- seeing and hearing: it goes on from there ------------------------------------------------------
shapes name=both-train records=600 seed=2 sound=yes
shapes name=both-dev records=100 seed=98 sound=yes
train_on both "$dir/runs/see/model" 250
check "training to see and hear" test $code -eq 0
measure both --ablate image
whole=$(exact 1) blind=$(exact 2)
measure both --ablate audio
deaf=$(exact 2)
check "captions of picture and sound: $whole exact, by chance 0.01" holds "$whole > 0.9"
check "the same, blind: $blind" holds "$blind < 0.2"
check "the same, deaf: $deaf" holds "$deaf < 0.5"

finish
